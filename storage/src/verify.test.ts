import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { expect, test } from "vitest";
import { append, Bench, durable } from "../test/support.ts";
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
