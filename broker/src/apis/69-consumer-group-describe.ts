/** ConsumerGroupDescribe v0–v1: groups of the consumer protocol, with what each member has and is to have. v1 tells classic members apart. */
import { consumerGroupDescribe } from "kafka-protocol-ts/messages/69-consumer-group-describe";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

export const consumerGroupDescribeHandler: Handler = handler(consumerGroupDescribe, ({ groups }, request) =>
  groups.consumerGroupDescribe(request),
);
