/** Heartbeat v0–v4 of a classic member. Never waits for a log or for another member. */
import { heartbeat } from "kafka-protocol-ts/messages/12-heartbeat";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

export const heartbeatHandler: Handler = handler(heartbeat, ({ groups }, request) => groups.heartbeat(request));
