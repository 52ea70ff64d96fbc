import { expect, test } from "vitest";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { incrementalAlterConfigs } from "kafka-protocol-ts/messages/44-incremental-alter-configs";
import { createTopic, produceTo } from "./calls.ts";
import { batchOf } from "./fixture.ts";
import { simulated } from "./simulated.ts";

test("producer.id.expiration.ms counts from the moment it is set", async () => {
  await using it = await simulated();
  await using client = await it.client();
  await createTopic(client, "orders");
  const from = (producerId: number, baseSequence: number) =>
    batchOf([], {
      records: [{ key: null, value: Buffer.from("x"), timestamp: it.clock.now() }],
      ...{ producerId, producerEpoch: 0, baseSequence },
    });
  const orders = async (batch: Buffer) => (await produceTo(client, batch)).errorCode;
  expect(await orders(from(7, 0))).toBe(ErrorCode.NONE);
  await it.clock.advance(120_000);
  expect(await orders(from(7, 5))).toBe(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER);
  await client.request(incrementalAlterConfigs, 1, {
    resources: [
      {
        resourceType: 4,
        resourceName: "",
        configs: [{ name: "producer.id.expiration.ms", configOperation: 0, value: "1000" }],
      },
    ],
    validateOnly: false,
  });
  await it.clock.advance(120_000);
  expect(await orders(from(7, 5))).toBe(ErrorCode.NONE);
});
