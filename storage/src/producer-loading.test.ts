import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { encodeEndTransactionMarker } from "kafka-protocol-ts/records/control";
import { expect, test } from "vitest";
import { append, Bench, durable } from "../test/support.ts";
import { TRANSACTION_ENTRY_BYTES } from "./transaction-index.ts";

test("zeros that a loss of power left of an index of aborted transactions are made anew, however many entries there were", async () => {
  const disk = new SimulatedDisk();
  const bench = await Bench.open({ disk });
  const log = await bench.create("orders", { "segment.bytes": 2048 });
  append(log, { sizeBytes: 2000 });
  append(log, { producerId: 7, producerEpoch: 0, baseSequence: 0, isTransactional: true });
  const marker = { isCommit: false, coordinatorEpoch: 0, producerId: 7, producerEpoch: 0, timestamp: 0 };
  append(log, encodeEndTransactionMarker(marker), { origin: "coordinator" });
  await durable(log);
  await bench.clock.settle();
  const path = "/data/orders-0/00000000000000000001.txnindex";
  const after = disk.afterProcessDeath();
  await after.writeFile(path, Buffer.alloc(TRANSACTION_ENTRY_BYTES));
  const again = await Bench.open({ disk: after, clock: bench.clock });
  await again.directory.close();
  const entry = await after.readFile(path);
  expect(entry.length).toBe(TRANSACTION_ENTRY_BYTES);
  expect([2, 10, 18, 26].map((at) => Number(entry.readBigInt64BE(at)))).toEqual([7, 1, 2, 3]);
});
