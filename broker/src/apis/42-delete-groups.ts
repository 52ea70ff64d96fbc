/** DeleteGroups v0–v2: groups without members go, with their offsets. */
import { deleteGroups } from "kafka-protocol-ts/messages/42-delete-groups";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

export const deleteGroupsHandler: Handler = handler(deleteGroups, ({ groups }, request) =>
  groups.deleteGroups(request),
);
