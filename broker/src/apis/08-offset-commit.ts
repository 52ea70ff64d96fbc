/**
 * OffsetCommit v2–v10, for classic groups and from outside of any group; v10 names topics by id. An unknown topic or
 * partition is refused by itself. Answered when the offsets are committed to the log.
 */
import { offsetCommit } from "kafka-protocol-ts/messages/08-offset-commit";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

export const offsetCommitHandler: Handler = handler(offsetCommit, ({ groups }, request, context) =>
  groups.offsetCommit(request, context),
);
