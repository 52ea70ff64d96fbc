/**
 * JoinGroup v0–v9, the classic protocol: from v4 on a new dynamic member is first given its member id (KIP-394), v5
 * knows static members (KIP-345), v9 lets a static leader skip the assignment (KIP-814). Answered when everyone has joined.
 */
import { joinGroup } from "kafka-protocol-ts/messages/11-join-group";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

export const joinGroupHandler: Handler = handler(joinGroup, ({ groups }, request, context) =>
  groups.joinGroup(request, context),
);
