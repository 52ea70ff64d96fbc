/** OffsetDelete v0 (KIP-496): forgets offsets, but not of a topic that a member of the group reads. Never flexible. */
import { offsetDelete } from "kafka-protocol-ts/messages/47-offset-delete";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

export const offsetDeleteHandler: Handler = handler(offsetDelete, ({ groups }, request) =>
  groups.offsetDelete(request),
);
