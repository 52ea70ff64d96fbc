import { expect, test } from "vitest";
import { silentLogger } from "@millrace/base/logger";
import type { LogFields } from "@millrace/base/logger";
import type { Disk } from "@millrace/base/world";
import { RecordingDisk } from "@millrace/simulator/recording-disk";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { Packr } from "msgpackr";
import { encodeFrame } from "./frames.ts";
import { hasFormerLog, readFormerLog, removeFormerLog } from "./former-log.ts";
import type { FormerLog } from "./former-log.ts";
import { ReplayedImage } from "./image.ts";
import { encodeBatch } from "./records.ts";
import type { MetadataRecord } from "./records.ts";

const directory = "data/metadata";
const firstLog = `${directory}/00000000000000000000.log`;
const secondLog = `${directory}/00000000000000000006.log`;
const snapshotPath = `${directory}/snapshot`;

/**
 * A directory as version 0.1.0 left it: a broker, the topic "orders" and one that was deleted, a snapshot of that, and behind it a
 * change of the partition, two settings and a block of producer ids.
 */
const golden: Readonly<Record<string, string>> = {
  [snapshotPath]:
    "AAAABHY8EVOTBQSQAAAAwdSL0auTAACUlKdmZWF0dXJlALBtZXRhZGF0YS52ZXJzaW9uGZimYnJva2VyAAEBtkFBQUFBQUFBQUFBQUFBQUFBQUFBQXfAkYOobGlz" +
    "dGVuZXKpUExBSU5URVhUpGhvc3SpbG9jYWxob3N0pHBvcnTNI4TClKV0b3BpYwCmb3JkZXJztkFBQUFBQUFBQUFBQUFBQUFBQUFBQVGZqXBhcnRpdGlvbgC2QUFB" +
    "QUFBQUFBQUFBQUFBQUFBQUFBUQCRAZEBAQAA",
  [secondLog]:
    "AAAAPF4Gu9CTBstCeLz+VoAgAJGYsHBhcnRpdGlvbi1jaGFuZ2UAtkFBQUFBQUFBQUFBQUFBQUFBQUFBQVEAkQEBAQEAAABjLT9gPJMHy0J4vP5WgDAAk5amY29u" +
    "ZmlnAAKmb3JkZXJzrHJldGVudGlvbi5tc6QxMDAwlqZjb25maWcAAqZvcmRlcnOuY2xlYW51cC5wb2xpY3nAlKxwcm9kdWNlci1pZHMAAc0D6A==",
};

async function directoryOf(files: Readonly<Record<string, Buffer>>): Promise<SimulatedDisk> {
  const disk = new SimulatedDisk();
  await disk.makeDirectory(directory);
  for (const [path, bytes] of Object.entries(files)) await disk.writeFile(path, bytes);
  return disk;
}

async function goldenDirectory(): Promise<SimulatedDisk> {
  const files = Object.entries(golden).map(([path, text]) => [path, Buffer.from(text, "base64")] as const);
  return directoryOf(Object.fromEntries(files));
}

const read = (disk: Disk, logger = silentLogger) => readFormerLog({ disk, directory, logger });

async function found(disk: Disk, logger = silentLogger): Promise<FormerLog> {
  const result = await read(disk, logger);
  if (!result.ok) throw new Error(result.message);
  return result.value;
}

function feature(name: string): MetadataRecord {
  return { type: "feature", name, level: 1 };
}

function frames(offset: number, ...batches: readonly (readonly string[])[]): Buffer[] {
  let next = offset;
  return batches.map((names) => {
    const payload = encodeBatch({ offset: next, timeMs: 1, records: names.map(feature) });
    next += names.length;
    return Buffer.concat(encodeFrame(payload));
  });
}

/** As a broker wrote it: how many records, then records. */
function snapshotOf(offset: number, names: readonly string[]): Buffer {
  const head = encodeBatch({ offset, timeMs: names.length, records: [] });
  const records = encodeBatch({ offset: 0, timeMs: 0, records: names.map(feature) });
  return Buffer.concat([head, ...(names.length > 0 ? [records] : [])].flatMap((payload) => encodeFrame(payload)));
}

const namesOf = ({ snapshot, batches }: FormerLog): string =>
  [...(snapshot?.records ?? []), ...batches.flatMap(({ records }) => records)]
    .map((record) => (record.type === "feature" ? record.name : "?"))
    .join(" ");

test("the golden directory: an image is made of it, and nothing is changed", async () => {
  const disk = await goldenDirectory();
  expect(await hasFormerLog({ disk, directory })).toBe(true);
  const log = await found(disk);
  expect(log.offset).toBe(9);
  expect(log.snapshot?.offset).toBe(5);
  expect(log.batches.map(({ offset, timeMs, records }) => [offset, timeMs, records.length])).toEqual([
    [6, 1_700_000_000_002, 1],
    [7, 1_700_000_000_003, 3],
  ]);
  const image = new ReplayedImage();
  if (log.snapshot !== null) image.restore(log.snapshot.records, log.snapshot.offset);
  for (const batch of log.batches) image.replay(batch);
  expect(image.offset).toBe(log.offset);
  const topicId = "AAAAAAAAAAAAAAAAAAAAAQ";
  const endpoints = [{ listener: "PLAINTEXT", host: "localhost", port: 9092 }];
  const led = { topicId, index: 0, isr: [1], leader: 1 };
  const config = { type: "config", resourceType: 2, resourceName: "orders" };
  expect([...(log.snapshot?.records ?? []), ...log.batches.flatMap(({ records }) => records)]).toMatchObject([
    { type: "feature", name: "metadata.version", level: 25 },
    {
      type: "broker",
      id: 1,
      epoch: 1,
      incarnationId: "AAAAAAAAAAAAAAAAAAAAAw",
      rack: null,
      endpoints,
      isFenced: false,
    },
    { type: "topic", name: "orders", id: topicId },
    { type: "partition", ...led, replicas: [1], leaderEpoch: 0, partitionEpoch: 0 },
    { type: "partition-change", ...led, leaderEpoch: 1, partitionEpoch: 1 },
    { ...config, name: "retention.ms", value: "1000" },
    { ...config, name: "cleanup.policy", value: null },
    { type: "producer-ids", brokerId: 1, nextId: 1000 },
  ]);
  for (const [path, text] of Object.entries(golden)) {
    expect((await disk.readFile(path)).toString("base64")).toBe(text);
  }
});

test("nothing there: an empty log; a broker that has begun and written nothing: the same", async () => {
  const none = { snapshot: null, batches: [], offset: -1 };
  const disk = new SimulatedDisk();
  expect(await hasFormerLog({ disk, directory })).toBe(false);
  expect(await found(disk)).toEqual(none);
  await removeFormerLog({ disk, directory });
  const begun = await directoryOf({ [firstLog]: Buffer.alloc(0) });
  expect(await hasFormerLog({ disk: begun, directory })).toBe(true);
  expect(await found(begun)).toEqual(none);
});

test("files that a snapshot stands for are passed over, also where a crash came between the next log and its snapshot", async () => {
  const old = Buffer.concat(frames(0, ["a", "b"], ["c"], ["d", "e", "f"]));
  const kept = await directoryOf({
    [firstLog]: old,
    [snapshotPath]: snapshotOf(5, ["short"]),
    [secondLog]: Buffer.concat(frames(6, ["g"])),
  });
  expect(namesOf(await found(kept))).toBe("short g");
  const between = await directoryOf({ [firstLog]: old, [secondLog]: Buffer.concat(frames(6, ["g"])) });
  expect(namesOf(await found(between))).toBe("a b c d e f g");
  const inside = await directoryOf({ [firstLog]: old, [snapshotPath]: snapshotOf(2, ["short"]) });
  expect(namesOf(await found(inside))).toBe("short d e f");
});

test("a torn tail, whatever it looks like, is passed over and stays", async () => {
  const whole = frames(0, ["a", "b"], ["c"]);
  const bytes = Buffer.concat(whole);
  const firstBytes = whole[0]?.length ?? 0;
  for (let sizeBytes = 0; sizeBytes < bytes.length; sizeBytes++) {
    for (const tail of [Buffer.alloc(0), Buffer.alloc(30)]) {
      const torn = Buffer.concat([bytes.subarray(0, sizeBytes), tail]);
      const disk = await directoryOf({ [firstLog]: torn });
      expect(namesOf(await found(disk)), `${sizeBytes} bytes`).toBe(sizeBytes < firstBytes ? "" : "a b");
      expect((await disk.readFile(firstLog)).equals(torn)).toBe(true);
    }
  }
  const lines: (LogFields | undefined)[] = [];
  const disk = await directoryOf({ [firstLog]: Buffer.concat([bytes, Buffer.alloc(5)]) });
  await found(disk, { ...silentLogger, warn: (_, fields) => void lines.push(fields) });
  expect(lines).toEqual([{ path: firstLog, position: bytes.length, bytes: 5 }]);
});

test("a bit that turns over is named, or it was in the last batch, which nobody was told of for all one can see", async () => {
  const whole = await goldenDirectory();
  const log = await whole.readFile(secondLog);
  const lastBegins = 8 + log.readUInt32BE(0);
  for (const path of [snapshotPath, secondLog]) {
    const { length } = await whole.readFile(path);
    for (let bit = 0; bit < length * 8; bit++) {
      const disk = whole.afterProcessDeath();
      disk.flipBit({ path, bit });
      const result = await read(disk);
      const isTail = path === secondLog && bit >= lastBegins * 8;
      if (isTail) expect(result, `bit ${bit} of ${path}`).toMatchObject({ ok: true, value: { offset: 6 } });
      else {
        expect(result, `bit ${bit} of ${path}`).toMatchObject({
          failure: "corrupt",
          message: expect.stringContaining(`${path} is damaged at position `) as string,
        });
      }
    }
  }
});

test("damage that was told of before is refused by name", async () => {
  const bytes = Buffer.concat(frames(0, ["a"], ["b"]));
  const seventh = `${directory}/00000000000000000007.log`;
  for (const [files, message] of [
    [{ [seventh]: bytes }, `${seventh} begins at record 7, but record 0 is missing`],
    [
      { [firstLog]: Buffer.concat(frames(0, ["a"])), [secondLog]: Buffer.concat(frames(6, ["b"])) },
      `${secondLog} begins at record 6, but record 1 is missing`,
    ],
    [
      { [firstLog]: bytes.subarray(0, -1), [`${directory}/00000000000000000001.log`]: Buffer.concat(frames(1, ["b"])) },
      `${firstLog} is damaged at position ${bytes.length / 2} but is not the last file; nothing was changed`,
    ],
    [
      { [firstLog]: Buffer.concat([...frames(0, ["a"]), ...frames(5, ["b"])]) },
      `${firstLog} holds record 5 where 1 belongs`,
    ],
    [
      { [snapshotPath]: snapshotOf(3, ["a"]).subarray(0, 10) },
      `${snapshotPath} is damaged at position 0; nothing was changed`,
    ],
  ] as const) {
    expect(await read(await directoryOf(files))).toEqual({ ok: false, failure: "corrupt", message });
  }
});

test("a record of a newer version, and a file that cannot be read", async () => {
  const payload = new Packr({ useRecords: false }).pack([0, 0, [["quota", 0, "x"]]]);
  const newer = await directoryOf({ [firstLog]: Buffer.concat(encodeFrame(payload)) });
  expect(await read(newer)).toMatchObject({ failure: "unknown-record" });
  const disk = await RecordingDisk.over(await goldenDirectory(), ".");
  disk.faults.makeUnreadable(secondLog, "EACCES");
  expect(await read(disk)).toMatchObject({
    failure: "disk-failed",
    message: expect.stringContaining(secondLog) as string,
  });
});

test("a removal takes its own files and no others, is durable, and can be done again where it was cut off", async () => {
  const inner = await goldenDirectory();
  await inner.writeFile(`${directory}/snapshot.tmp`, Buffer.from("half"));
  await inner.writeFile(`${directory}/quorum-snapshot`, Buffer.from("new"));
  const disk = await RecordingDisk.over(inner, ".");
  await removeFormerLog({ disk, directory });
  expect(await disk.list(directory)).toEqual([{ name: "quorum-snapshot", kind: "file" }]);
  expect(await hasFormerLog({ disk, directory })).toBe(false);
  expect(disk.events.at(-1)?.kind).toBe("sync-directory");
  const cutOff = await goldenDirectory();
  await cutOff.removeFile(snapshotPath);
  expect(await hasFormerLog({ disk: cutOff, directory })).toBe(true);
  await removeFormerLog({ disk: cutOff, directory });
  expect(await hasFormerLog({ disk: cutOff, directory })).toBe(false);
});
