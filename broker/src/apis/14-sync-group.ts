/** SyncGroup v0–v5: members wait for the leader's assignment, which passes through untouched. v5 must say the protocol (KIP-559). */
import { syncGroup } from "kafka-protocol-ts/messages/14-sync-group";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

export const syncGroupHandler: Handler = handler(syncGroup, ({ groups }, request, context) =>
  groups.syncGroup(request, context),
);
