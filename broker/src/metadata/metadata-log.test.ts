import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { silentLogger } from "@millrace/base/logger";
import type { LogFields } from "@millrace/base/logger";
import { Prng } from "@millrace/base/prng";
import { must } from "@millrace/base/assert";
import type { Disk } from "@millrace/base/world";
import { RecordingDisk } from "@millrace/simulator/recording-disk";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { MetadataLog } from "./metadata-log.ts";
import type { Recovery, Snapshot } from "./metadata-log.ts";
import type { MetadataRecord, RecordBatch } from "./records.ts";
import { Packr } from "msgpackr";
import { encodeFrame } from "./frames.ts";

const directory = "data/metadata";
const firstLog = `${directory}/00000000000000000000.log`;

class Recovered implements Recovery {
  readonly batches: RecordBatch[] = [];
  snapshot: Snapshot | null = null;
  restore(snapshot: Snapshot): void {
    this.snapshot = snapshot;
  }
  replay(batch: RecordBatch): void {
    this.batches.push(batch);
  }
  get names(): string[] {
    const records = [...(this.snapshot?.records ?? []), ...this.batches.flatMap((batch) => batch.records)];
    return records.map((record) => (record.type === "feature" ? record.name : "?"));
  }
}

async function open(disk: Disk, logger = silentLogger) {
  const recovery = new Recovered();
  const result = await MetadataLog.open({ disk, directory, logger, recovery });
  return { result, recovery };
}

async function opened(disk: Disk): Promise<{ log: MetadataLog; recovery: Recovered }> {
  const { result, recovery } = await open(disk);
  if (!result.ok) throw new Error(result.message);
  return { log: result.value, recovery };
}

function record(name: string): MetadataRecord {
  return { type: "feature", name, level: 1 };
}

async function write(disk: Disk, ...batches: readonly (readonly string[])[]): Promise<void> {
  const { log } = await opened(disk);
  for (const names of batches) expect(await log.append(names.map(record), 1)).toMatchObject({ ok: true });
  await log.close();
}

async function overwrite(disk: Disk, path: string, change: (bytes: Buffer) => Buffer | Uint8Array): Promise<void> {
  await disk.writeFile(path, change(await disk.readFile(path)));
}

test("what was appended is read again, batch by batch", async () => {
  const disk = new SimulatedDisk();
  await write(disk, ["a", "b"], ["c"]);
  await write(disk, ["d"]);
  const { log, recovery } = await opened(disk);
  expect(recovery.batches.map(({ offset, records }) => [offset, records.length])).toEqual([
    [0, 2],
    [2, 1],
    [3, 1],
  ]);
  expect(recovery.names).toEqual(["a", "b", "c", "d"]);
  expect(log.nextOffset).toBe(4);
});

test("whatever a torn tail looks like, what was acknowledged is there and the log goes on", async () => {
  const disk = new SimulatedDisk();
  await write(disk, ["a", "b"], ["c"]);
  const whole = await disk.readFile(firstLog);
  const ends = [0, ...frameEnds(whole)];
  const keptAt = (sizeBytes: number): number => ends.filter((end) => end <= sizeBytes).length - 1;
  for (let sizeBytes = 0; sizeBytes < whole.length; sizeBytes++) {
    const torn = new SimulatedDisk();
    await write(torn);
    await torn.writeFile(firstLog, whole.subarray(0, sizeBytes));
    const { log, recovery } = await opened(torn);
    expect(recovery.batches, `cut at ${sizeBytes}`).toHaveLength(keptAt(sizeBytes));
    expect(await log.append([record("z")], 2)).toMatchObject({ ok: true });
    await log.close();
    expect((await opened(torn)).recovery.names.at(-1)).toBe("z");
  }
});

test("zeros and noise behind the last whole frame are cut", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        fc.uint8Array({ minLength: 1, maxLength: 300 }),
        fc.nat({ max: 9000 }).map((size) => new Uint8Array(size + 1)),
      ),
      async (tail) => {
        const disk = new SimulatedDisk();
        await write(disk, ["a"], ["b"]);
        const { length } = await disk.readFile(firstLog);
        await overwrite(disk, firstLog, (bytes) => Buffer.concat([bytes, tail]));
        expect((await opened(disk)).recovery.names).toEqual(["a", "b"]);
        expect((await disk.readFile(firstLog)).length).toBe(length);
      },
    ),
    { numRuns: 100 },
  );
});

test("after a power cut at any moment every acknowledged batch is there, whole, and in order", async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(), fc.array(fc.nat({ max: 400 }), { maxLength: 12, size: "max" }), async (seed, sizes) => {
      const prng = new Prng(seed);
      const disk = new SimulatedDisk();
      const { log } = await opened(disk);
      const names: string[] = [];
      let acknowledged = 0;
      let crashed: SimulatedDisk | null = null;
      for (const [index, size] of sizes.entries()) {
        const batch = Array.from(
          { length: 1 + (size % 3) },
          (_, place) => `${index}.${place}.${"x".repeat(size * 20)}`,
        );
        const isLast = index === sizes.length - 1;
        const append = log.append(batch.map(record), 1);
        if (isLast) crashed = disk.afterPowerLoss(prng); // The write may be with the disk, in part; its sync is not.
        names.push(...batch);
        await append;
        if (!isLast) acknowledged = names.length;
        if (prng.chance(0.2) && !isLast) await log.replaceBySnapshot(names.map(record));
      }
      crashed ??= disk.afterPowerLoss(prng);
      const { recovery } = await opened(crashed);
      expect(recovery.names.slice(0, acknowledged)).toEqual(names.slice(0, acknowledged));
      expect([acknowledged, names.length]).toContain(recovery.names.length);
    }),
    { numRuns: 150 },
  );
});

test.for([0, 1])("a power cut during a snapshot loses nothing, with %i snapshots before it", async (before) => {
  for (let seed = 0; seed < 40; seed++) {
    const disk = new SimulatedDisk();
    const { log } = await opened(disk);
    const names: string[] = [];
    const append = async (name: string): Promise<void> => {
      names.push(name);
      await log.append([record(name)], 1);
    };
    for (let taken = 0; taken < before; taken++) {
      await append(`before ${taken}`);
      await log.replaceBySnapshot(names.map(record));
    }
    for (const name of ["a", "b", "c"]) await append(name);
    const snapshot = log.replaceBySnapshot(names.map(record));
    for (let turn = 0; turn < seed; turn++) await Promise.resolve();
    const crashed = disk.afterPowerLoss(new Prng(seed));
    await snapshot;
    const once = await opened(crashed);
    expect(once.recovery.names, `turn ${seed}`).toEqual(names);
    await once.log.close();
    expect((await opened(crashed)).recovery.names, `opened again, turn ${seed}`).toEqual(names);
  }
});

describe("damage that was told of before stops the start, names the place and changes nothing", () => {
  test.for([0, 9, 20])("a byte flipped at position %i of three frames", async (position) => {
    const disk = new SimulatedDisk();
    await write(disk, ["a"], ["b"], ["c"]);
    await overwrite(disk, firstLog, (bytes) => {
      bytes.writeUInt8(bytes.readUInt8(position) ^ 0x40, position);
      return bytes;
    });
    const before = await disk.readFile(firstLog);
    const [end] = frameEnds(Buffer.concat(framesOf(["a"])));
    const { result } = await open(disk);
    expect(result).toEqual({
      ok: false,
      failure: "corrupt",
      message: `${firstLog} is damaged at position 0 while a whole record follows at ${end}; nothing was changed`,
    });
    expect((await disk.readFile(firstLog)).equals(before)).toBe(true);
  });

  test("a file is missing", async () => {
    const disk = new SimulatedDisk();
    await write(disk, ["a"], ["b"]);
    await disk.rename(firstLog, `${directory}/00000000000000000007.log`);
    expect((await open(disk)).result).toMatchObject({
      failure: "corrupt",
      message: `${directory}/00000000000000000007.log begins at record 7, but record 0 is missing`,
    });
  });

  test("a snapshot is damaged or short", async () => {
    for (const change of [
      (bytes: Buffer) => bytes.subarray(0, bytes.length - 1),
      (bytes: Buffer) => bytes.fill(1, bytes.length - 2),
      (bytes: Buffer) => bytes.fill(1, 9, 10),
    ]) {
      const disk = new SimulatedDisk();
      const { log } = await opened(disk);
      await log.append([record("a")], 1);
      await log.replaceBySnapshot([record("a")]);
      await overwrite(disk, `${directory}/snapshot`, change);
      expect((await open(disk)).result).toMatchObject({
        failure: "corrupt",
        message: expect.stringContaining(`${directory}/snapshot is damaged at position`) as string,
      });
    }
  });

  test("a record of a newer version", async () => {
    const disk = new SimulatedDisk();
    await write(disk, ["a"]);
    const payload = new Packr({ useRecords: false }).pack([1, 0, [["quota", 0, "x"]]]);
    await overwrite(disk, firstLog, (bytes) => Buffer.concat([bytes, ...encodeFrame(payload)]));
    expect((await open(disk)).result).toMatchObject({
      failure: "unknown-record",
      message: 'metadata record "quota" is unknown to this version of Millrace',
    });
  });
});

test("a snapshot takes the place of what was before it", async () => {
  const disk = new SimulatedDisk();
  const { log } = await opened(disk);
  const names = Array.from({ length: 2500 }, (_, index) => `n${index}`);
  await log.append(names.map(record), 1);
  const { bytesSinceSnapshot } = log;
  await log.replaceBySnapshot(names.map(record));
  expect(log.bytesSinceSnapshot).toBe(0);
  expect((await disk.readFile(`${directory}/snapshot`)).length).toBeGreaterThan(bytesSinceSnapshot / 2);
  await log.append([record("later")], 1);
  await log.replaceBySnapshot([...names, "later"].map(record));
  await log.replaceBySnapshot([...names, "later"].map(record)); // Nothing came between: the same file goes on.
  await log.append([record("last")], 1);
  await log.close();
  expect((await disk.list(directory)).map(({ name }) => name).sort()).toEqual(["00000000000000002501.log", "snapshot"]);
  const again = await opened(disk);
  expect(again.recovery.snapshot?.offset).toBe(2500);
  expect(again.recovery.names).toEqual([...names, "later", "last"]);
  expect(again.log.nextOffset).toBe(2502);
});

test("a full disk refuses a change and takes the next one", async () => {
  const disk = await RecordingDisk.over(new SimulatedDisk(), ".");
  const { log } = await opened(disk);
  await log.append([record("a")], 1);
  disk.faults.failNextWrite({ code: "ENOSPC" });
  expect(await log.append([record("b")], 1)).toMatchObject({ ok: false, failure: "not-written" });
  expect(log.nextOffset).toBe(1);
  expect(await log.append([record("c")], 1)).toMatchObject({ ok: true, value: { offset: 1 } });
  await log.close();
  expect((await opened(disk)).recovery.names).toEqual(["a", "c"]);
});

test("after a failed sync nothing more is taken: nobody knows what the disk holds", async () => {
  const disk = await RecordingDisk.over(new SimulatedDisk(), ".");
  const { log } = await opened(disk);
  disk.faults.failNextSync();
  expect(await log.append([record("a")], 1)).toMatchObject({ ok: false, failure: "log-failed" });
  expect(await log.append([record("b")], 1)).toMatchObject({ ok: false, failure: "log-failed" });
  expect(log.hasFailed).toBe(true);
});

test("an unreadable file is named", async () => {
  const disk = await RecordingDisk.over(new SimulatedDisk(), ".");
  await write(disk, ["a"]);
  disk.faults.makeUnreadable(firstLog, "EACCES");
  const { result } = await open(disk);
  expect(result).toMatchObject({ failure: "disk-failed", message: expect.stringContaining(firstLog) as string });
});

test("a cut tail is told in the log", async () => {
  const disk = new SimulatedDisk();
  await write(disk, ["a"]);
  const { length } = await disk.readFile(firstLog);
  await overwrite(disk, firstLog, (bytes) => Buffer.concat([bytes, Buffer.alloc(5)]));
  const lines: (LogFields | undefined)[] = [];
  await open(disk, { ...silentLogger, warn: (_, fields) => void lines.push(fields) });
  expect(lines).toEqual([{ path: firstLog, position: length, bytes: 5 }]);
});

function framesOf(names: readonly string[], offset = 0): readonly Buffer[] {
  const packr = new Packr({ useRecords: false });
  return encodeFrame(packr.pack([offset, 1, names.map((name) => ["feature", 0, name, 1])]));
}

function frameEnds(bytes: Buffer): number[] {
  const ends: number[] = [];
  for (let position = 0; position < bytes.length;) {
    position += 8 + bytes.readUInt32BE(position);
    ends.push(position);
  }
  return must(ends, "ends");
}
