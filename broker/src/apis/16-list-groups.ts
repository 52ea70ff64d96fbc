/** ListGroups v0–v5: the groups that this broker coordinates, by state (v4) and type (v5). While any of them is being loaded, an error. */
import { listGroups } from "kafka-protocol-ts/messages/16-list-groups";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

export const listGroupsHandler: Handler = handler(listGroups, ({ groups }, request) => groups.listGroups(request));
