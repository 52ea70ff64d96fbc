/**
 * OffsetFetch v1–v10: one group up to v7, many from v8 on, topics by id at v10; null topics are all of the group's.
 * A group or partition without an offset is no error: offset −1. Answered from what is committed to the log.
 */
import { offsetFetch } from "kafka-protocol-ts/messages/09-offset-fetch";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

export const offsetFetchHandler: Handler = handler(offsetFetch, ({ groups }, request, context) =>
  groups.offsetFetch(request, context),
);
