/** LeaveGroup v0–v5: one member up to v2; from v3 on several, each answered by itself, static ones also by instance id alone. */
import { leaveGroup } from "kafka-protocol-ts/messages/13-leave-group";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

export const leaveGroupHandler: Handler = handler(leaveGroup, ({ groups }, request, context) =>
  groups.leaveGroup(request, context),
);
