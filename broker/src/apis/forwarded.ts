import { must } from "@millrace/base/assert";
import { ErrorCode } from "kafka-protocol-ts/errors";
import type { NodeServices, Services } from "../services.ts";
import { CloseConnection } from "./handler.ts";
import type { Handler } from "./handler.ts";
import { refusals } from "./refusals.ts";

/** As Kafka's request.timeout.ms of a broker that forwards. */
const timeoutMs = 30_000;

/** What only the active controller decides: a broker that is not it takes the request there, in its client's name (KIP-590). */
export function forwarded(decided: Handler<NodeServices>): Handler {
  const { api, versions, phases } = decided;
  return {
    api,
    versions,
    phases,
    async handle(services: Services, request, context) {
      const { controllerLink } = services;
      if (controllerLink.isHere) return decided.handle(services, request, context);
      const answered = await controllerLink.forward(api, request, context, { timeoutMs });
      if (answered.ok) return answered.value;
      const { failure, message = null } = answered;
      // As in Kafka: a client that is cut off asks anew which versions there are.
      if (failure === ErrorCode.UNSUPPORTED_VERSION) throw new CloseConnection(`${api.name}: ${message ?? ""}`);
      const refused = must(refusals.get(api.key), `what ${api.name} answers where no controller does`);
      return refused(request, failure, message, context.version);
    },
  };
}
