/** Envelope v0 (KIP-590): a client's request that another node could not decide. */
import { envelope } from "kafka-protocol-ts/messages/58-envelope";
import { unwrap } from "../peers/envelope-handler.ts";
import type { NodeServices } from "../services.ts";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

export const envelopeHandler: Handler<NodeServices> = handler(
  envelope,
  ({ handlersOf, logger }: NodeServices, request, context) =>
    unwrap(request, { handlers: handlersOf("controller"), logger, context }),
);
