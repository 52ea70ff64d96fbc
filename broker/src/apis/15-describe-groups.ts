/** DescribeGroups v0–v6: a group that does not exist is Dead, and from v6 on also GROUP_ID_NOT_FOUND (KIP-1043). */
import { describeGroups } from "kafka-protocol-ts/messages/15-describe-groups";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

export const describeGroupsHandler: Handler = handler(describeGroups, ({ groups }, request, context) =>
  groups.describeGroups(request, context),
);
