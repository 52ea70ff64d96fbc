import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { expect, test } from "vitest";
import { encodeEndTransactionMarker } from "kafka-protocol-ts/records/control";
import { append, Bench, durable } from "../test/support.ts";
import { encodeAborted } from "./transaction-index.ts";
import type { LeaderEpoch, Offset } from "./types.ts";
import { trustBatch } from "./validation.ts";
import { verifyDirectory } from "./verify.ts";

const segment = "/data/orders-0/00000000000000000000";

async function stopped(): Promise<SimulatedDisk> {
  const disk = new SimulatedDisk();
  const bench = await Bench.open({ disk });
  const log = await bench.create("orders", { "segment.bytes": 4000, "index.interval.bytes": 500 });
  for (let batch = 0; batch < 12; batch++) {
    append(log, { sizeBytes: 800, timestamp: 1e12 + batch, producerId: 3, producerEpoch: 0, baseSequence: batch });
  }
  await durable(log);
  await bench.directory.close();
  return disk;
}

async function contents(disk: SimulatedDisk, path = "/data"): Promise<string[]> {
  const found: string[] = [];
  for (const { name, kind } of await disk.list(path)) {
    const child = `${path}/${name}`;
    if (kind === "directory") found.push(...(await contents(disk, child)));
    else found.push(`${child} ${(await disk.readFile(child)).toString("base64")}`);
  }
  return found.sort();
}

test("a directory in order has no problem, and is not changed by being looked at", async () => {
  const disk = await stopped();
  await disk.makeDirectory("/data/notes");
  const before = await contents(disk);
  const verified = await verifyDirectory(disk, "/data");
  expect(verified.problems).toEqual([]);
  expect(verified.unknown).toEqual(["notes"]);
  expect(verified.logs).toMatchObject([
    { topic: "orders", partition: 0, batches: 12, firstOffset: 0, endOffset: 12, segments: 3 },
  ]);
  expect(await contents(disk)).toEqual(before);
});

test.for<[string, string, (bytes: Buffer) => Buffer, { kind: string; message: RegExp }]>([
  ["a flipped bit", `${segment}.log`, (bytes) => bytes.fill(1, 1000, 1001), { kind: "corrupt", message: /bad-crc/ }],
  ["a lost end", `${segment}.log`, (bytes) => bytes.subarray(0, -10), { kind: "corrupt", message: /truncated/ }],
  [
    "a wrong index entry",
    `${segment}.index`,
    (bytes) => bytes.fill(9, 7, 8),
    { kind: "repairable", message: /a batch ending with/ },
  ],
  [
    "a wrong time",
    `${segment}.timeindex`,
    (bytes) => bytes.fill(1, 0, 1),
    { kind: "repairable", message: /has the time/ },
  ],
  [
    "a torn snapshot",
    "/data/orders-0/00000000000000000012.snapshot",
    (bytes) => bytes.subarray(0, 40),
    { kind: "repairable", message: /snapshot|checksum/ },
  ],
  [
    "a garbled checkpoint",
    "/data/recovery-point-offset-checkpoint",
    () => Buffer.from("what"),
    { kind: "repairable", message: /version/ },
  ],
  ["garbled properties", "/data/meta.properties", () => Buffer.from("what"), { kind: "corrupt", message: /version/ }],
  [
    "garbled epochs",
    "/data/orders-0/leader-epoch-checkpoint",
    () => Buffer.from("0\n1\nx y\n"),
    { kind: "repairable", message: /x y/ },
  ],
])("%s is named, with its file", async ([, path, damage, expected]) => {
  const disk = await stopped();
  await disk.writeFile(path, damage(await disk.readFile(path)));
  const { problems } = await verifyDirectory(disk, "/data");
  expect(problems).toMatchObject([{ path, kind: expected.kind, message: expect.stringMatching(expected.message) }]);
});

test("a torn tail behind the recovery point is told apart from corruption", async () => {
  const disk = new SimulatedDisk();
  const bench = await Bench.open({ disk });
  const log = await bench.create("orders");
  append(log, { sizeBytes: 500 });
  await durable(log);
  const image = disk.afterProcessDeath();
  const file = await image.open(`${segment}.log`, "write");
  await file.truncate(300);
  const { problems } = await verifyDirectory(image, "/data");
  expect(problems).toMatchObject([{ kind: "tail", position: 0, offset: 0 }]);
});

test.for<[string, (bytes: Buffer) => Buffer | null, number, RegExp]>([
  ["in order", (bytes) => bytes, -1, /./],
  ["missing", () => null, 2, /lacks the transaction of producer 1, which was aborted/],
  [
    "of another producer",
    () => entry(2, 0, 2),
    2,
    /does not cover the aborted transaction of producer 1 from offset 0/,
  ],
  [
    "that begins too late",
    () => entry(1, 1, 2),
    2,
    /does not cover the aborted transaction of producer 1 from offset 0/,
  ],
  [
    "with a committed one",
    (bytes) => Buffer.concat([bytes, entry(2, 1, 4)]),
    4,
    /names the transaction of producer 2, which was committed/,
  ],
])("an index of aborted transactions %s", async ([, damage, offset, message]) => {
  const disk = new SimulatedDisk();
  const bench = await Bench.open({ disk });
  const log = await bench.create("orders");
  const data = (producerId: number, baseSequence: number) =>
    append(log, { producerId, producerEpoch: 0, baseSequence, isTransactional: true });
  const mark = (producerId: number, isCommit: boolean) => {
    const marker = { isCommit, coordinatorEpoch: 0, producerId, producerEpoch: 0, timestamp: 1e12 };
    const options = { leaderEpoch: 0 as LeaderEpoch, origin: "coordinator", nowMs: 1e12 as never } as const;
    expect(log.append(trustBatch(encodeEndTransactionMarker(marker)), options).ok).toBe(true);
  };
  data(1, 0); // 0
  data(2, 0); // 1
  mark(1, false); // 2
  data(2, 1); // 3
  mark(2, true); // 4
  // Of a transaction that left nothing in this partition.
  mark(5, false); // 5
  await durable(log);
  await bench.directory.close();
  const path = `${segment}.txnindex`;
  const damaged = damage(await disk.readFile(path));
  if (damaged === null) await disk.removeFile(path);
  else await disk.writeFile(path, damaged);
  const { problems } = await verifyDirectory(disk, "/data");
  const expected = { path, offset, kind: "corrupt", message: expect.stringMatching(message) };
  expect(problems).toMatchObject(offset === -1 ? [] : [expected]);
});

function entry(producerId: number, firstOffset: number, lastOffset: number): Buffer {
  const offsets = { firstOffset: firstOffset as Offset, lastOffset: lastOffset as Offset };
  return encodeAborted({ producerId, ...offsets, lastStableOffset: firstOffset as Offset });
}
