/**
 * ConsumerGroupHeartbeat v0–v1 (KIP-848): a member joins, reports, learns its assignment and leaves. v0 lets the
 * coordinator make the member id; v1 wants the client's own (KIP-1082), and has regular expressions in RE2 syntax.
 */
import { consumerGroupHeartbeat } from "kafka-protocol-ts/messages/68-consumer-group-heartbeat";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

export const consumerGroupHeartbeatHandler: Handler = handler(consumerGroupHeartbeat, ({ groups }, request, context) =>
  groups.consumerGroupHeartbeat(request, context),
);
