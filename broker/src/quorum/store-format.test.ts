import { Packr } from "msgpackr";
import { describe, expect, test } from "vitest";
import { silentLogger } from "@millrace/base/logger";
import type { LogFields } from "@millrace/base/logger";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import {
  data,
  failureOf,
  formatted,
  indexesOf,
  openStore,
  point,
  reopened,
  storeDirectory,
  storePath,
  told,
  withFlippedBit,
  withoutMark,
} from "../../test/quorum-store.ts";
import { encodeFrame } from "../metadata/frames.ts";
import { encodeBatch, logFileName } from "./store-format.ts";

const firstLog = storePath(logFileName(0));
const secondLog = storePath(logFileName(1));
const snapshotPath = storePath("quorum-snapshot");

// --- Bytes that are not what was written ------------------------------------------------------------------------------

/** Snapshot, a log that began with an entry, and three persists. */
async function full(): Promise<{ disk: SimulatedDisk; beginBytes: number; ends: number[]; states: string[] }> {
  const disk = new SimulatedDisk();
  const store = await formatted(disk);
  await store.persist({ term: 4, votedFor: "b" }, [data(11, 4), data(12, 4)]);
  const newFrames = [Buffer.from("new")];
  await store.replaceBySnapshot(point(11, 4), newFrames);
  const beginBytes = withoutMark(await disk.readFile(secondLog)).length;
  const ends = [beginBytes];
  const states = [told({ ...store.state, frames: newFrames })];
  for (const [index, term] of [
    [13, 4],
    [13, 5],
    [14, 5],
  ] as const) {
    await store.persist({ term, votedFor: "b" }, [data(index, term)]);
    ends.push(withoutMark(await disk.readFile(secondLog)).length);
    states.push(told({ ...store.state, frames: newFrames }));
  }
  await store.close();
  return { disk, beginBytes, ends, states };
}

test("a bit that turns over in the log is named, in the last persist, too; in the mark behind that it is nothing", async () => {
  const { disk, ends, states } = await full();
  const bytes = await disk.readFile(secondLog);
  const markBegins = ends.at(-1) ?? 0;
  expect(bytes.length).toBeGreaterThan(markBegins);
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const rotten = disk.afterProcessDeath();
    rotten.flipBit({ path: secondLog, bit });
    const found = await failureOf(rotten);
    if (bit >= markBegins * 8) expect(found, `bit ${bit}`).toBe(states.at(-1));
    else {
      expect(found, `bit ${bit}`).toMatchObject({
        failure: "corrupt",
        message: expect.stringContaining(`${secondLog} is damaged at position `) as string,
      });
      expect((await rotten.readFile(secondLog)).equals(withFlippedBit(bytes, bit)), "nothing was changed").toBe(true);
    }
  }
});

test("a bit that turns over in a log without a mark: it is named, or it was in the last persist, which is cut", async () => {
  const { disk, ends, states } = await full();
  const bytes = withoutMark(await disk.readFile(secondLog));
  await disk.writeFile(secondLog, bytes);
  const lastBegins = ends.at(-2) ?? 0;
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const rotten = disk.afterProcessDeath();
    rotten.flipBit({ path: secondLog, bit });
    const found = await failureOf(rotten);
    if (bit >= lastBegins * 8) expect(found, `bit ${bit}`).toBe(states.at(-2));
    else {
      expect(found, `bit ${bit}`).toMatchObject({
        failure: "corrupt",
        message: expect.stringContaining(`${secondLog} is damaged at position `) as string,
      });
      expect((await rotten.readFile(secondLog)).equals(withFlippedBit(bytes, bit)), "nothing was changed").toBe(true);
    }
  }
});

test("a bit that turns over in the snapshot is named", async () => {
  const { disk } = await full();
  const { length } = await disk.readFile(snapshotPath);
  for (let bit = 0; bit < length * 8; bit++) {
    const rotten = disk.afterProcessDeath();
    rotten.flipBit({ path: snapshotPath, bit });
    expect(await failureOf(rotten), `bit ${bit}`).toMatchObject({
      failure: "corrupt",
      message: expect.stringContaining(`${snapshotPath} is damaged at position `) as string,
    });
  }
});

test("a log of any length: whole persists are there, what is behind them is cut, and the log goes on", async () => {
  const { disk, beginBytes, ends, states } = await full();
  const bytes = withoutMark(await disk.readFile(secondLog));
  for (let sizeBytes = 0; sizeBytes < bytes.length; sizeBytes++) {
    for (const tail of [Buffer.alloc(0), Buffer.alloc(20), Buffer.alloc(20, 0x92)]) {
      const torn = disk.afterProcessDeath();
      await torn.writeFile(secondLog, Buffer.concat([bytes.subarray(0, sizeBytes), tail]));
      if (sizeBytes < beginBytes) {
        expect(await failureOf(torn), `${sizeBytes} bytes`).toMatchObject({ failure: "corrupt" });
        continue;
      }
      const { store, state } = await openStore(torn);
      expect(told(state), `${sizeBytes} bytes`).toBe(states[ends.filter((end) => end <= sizeBytes).length - 1]);
      await store.persist({ term: 9, votedFor: null }, []);
      expect((await reopened(torn))?.hardState).toEqual({ term: 9, votedFor: null });
    }
  }
});

test("a cut tail is told in the log", async () => {
  const { disk } = await full();
  const bytes = withoutMark(await disk.readFile(secondLog));
  await disk.writeFile(secondLog, Buffer.concat([bytes, Buffer.alloc(5)]));
  const lines: (LogFields | undefined)[] = [];
  await openStore(disk, { ...silentLogger, warn: (_, fields) => void lines.push(fields) });
  expect(lines).toEqual([{ path: secondLog, position: bytes.length, bytes: 5 }]);
});

describe("files that do not belong together stop the start", () => {
  test("a snapshot without its log, and an older snapshot than the log's", async () => {
    const { disk } = await full();
    const older = new SimulatedDisk();
    await formatted(older);
    const noLog = disk.afterProcessDeath();
    await noLog.removeFile(secondLog);
    expect(await failureOf(noLog)).toEqual({
      failure: "corrupt",
      message: `no log begins behind entry 11 of term 4, where ${snapshotPath} ends; nothing was changed`,
    });
    const olderSnapshot = disk.afterProcessDeath();
    await olderSnapshot.writeFile(snapshotPath, await older.readFile(snapshotPath));
    expect(await failureOf(olderSnapshot)).toEqual({
      failure: "corrupt",
      message: `${snapshotPath} ends at entry 10, and ${secondLog} begins behind entry 11 of term 4; nothing was changed`,
    });
  });

  test("a log without its snapshot", async () => {
    const { disk } = await full();
    await disk.removeFile(snapshotPath);
    expect(await failureOf(disk)).toEqual({
      failure: "corrupt",
      message: `${snapshotPath} is missing, and ${secondLog} begins behind entry 11 of term 4; nothing was changed`,
    });
    const first = new SimulatedDisk();
    await (await formatted(first)).persist(null, [data(11, 3)]);
    await first.removeFile(snapshotPath);
    expect(await failureOf(first)).toMatchObject({ failure: "corrupt" });
  });
});

// --- The bytes --------------------------------------------------------------------------------------------------------

/** Of what the next test writes. Never changed: directories with these bytes are out there. */
const goldenSnapshot =
  "0000002272c2123396a8736e617073686f7401cb4200000000000000ce0001117091a66e6f64652d310200000005449b602c6672616d65000000025c" +
  "1c248300ff";
const formerLog =
  "00000015a575c52e95a36c6f6701cb4200000000000000ce000111700100000009dfc59b709292ce00011170c0900000002418f0edec9292ce000111" +
  "71a66e6f64652d319193cb4200000000080000ce00011171a5656d707479000000489a3876cb92c09294cb4200000000100000ce00011171a4646174" +
  "61c40301020394cb4200000000180000ce00011171ad636f6e66696775726174696f6e92a66e6f64652d31a66e6f64652d320000000990aac97d9292" +
  "ce00011172c090";
/** The same, with the state in each frame, and a mark behind the last one. */
const goldenLog =
  "00000015a575c52e95a36c6f6701cb4200000000000000ce000111700100000009dfc59b709292ce00011170c0900000002418f0edec9292ce000111" +
  "71a66e6f64652d319193cb4200000000080000ce00011171a5656d707479000000547c3ae4eb9292ce00011171a66e6f64652d319294cb4200000000" +
  "100000ce00011171a464617461c40301020394cb4200000000180000ce00011171ad636f6e66696775726174696f6e92a66e6f64652d31a66e6f6465" +
  "2d320000000990aac97d9292ce00011172c09000000008841419c89192ce00011172c0";

test("the format: bytes of version 1 are read, and written again to the same bytes", async () => {
  const written = new SimulatedDisk();
  const { store } = await openStore(written);
  await store.format(point(2 ** 33, 70_000, ["node-1"]), [Buffer.from("frame"), Buffer.from([0, 255])]);
  await store.persist({ term: 70_001, votedFor: "node-1" }, [{ kind: "empty", index: 2 ** 33 + 1, term: 70_001 }]);
  await store.persist(null, [
    data(2 ** 33 + 2, 70_001, Buffer.from([1, 2, 3])),
    { kind: "configuration", index: 2 ** 33 + 3, term: 70_001, configuration: { voters: ["node-1", "node-2"] } },
  ]);
  await store.persist({ term: 70_002, votedFor: null }, []);
  await store.close();
  expect((await written.readFile(snapshotPath)).toString("hex")).toBe(goldenSnapshot);
  expect((await written.readFile(firstLog)).toString("hex")).toBe(goldenLog);

  for (const log of [formerLog, goldenLog]) {
    const golden = new SimulatedDisk();
    await golden.makeDirectory(storeDirectory);
    await golden.writeFile(snapshotPath, Buffer.from(goldenSnapshot, "hex"));
    await golden.writeFile(firstLog, Buffer.from(log, "hex"));
    expect(told(await reopened(golden))).toBe(told(await reopened(written)));
  }
});

test("what a newer version wrote is named", async () => {
  const disk = new SimulatedDisk();
  await (await formatted(disk)).close();
  const frame = (payload: unknown): Buffer =>
    Buffer.concat(encodeFrame(new Packr({ useRecords: false }).pack(payload)));
  const log = withoutMark(await disk.readFile(firstLog));
  for (const [path, bytes, position] of [
    [snapshotPath, frame(["snapshot", 2, 10, 3, ["a"], 0]), 0],
    [snapshotPath, frame("?"), 0],
    [firstLog, frame(["log", 2, 10, 3, 0]), 0],
    [firstLog, Buffer.concat([log, frame([null, [[11, 3, "barrier"]]])]), log.length],
    [firstLog, Buffer.concat([log, frame([null, [], "more"])]), log.length],
    [firstLog, Buffer.concat([log, frame([[3], []])]), log.length],
    [firstLog, Buffer.concat([log, frame([[3]])]), log.length],
  ] as const) {
    const newer = disk.afterProcessDeath();
    await newer.writeFile(path, bytes);
    expect(await failureOf(newer)).toEqual({
      failure: "unknown-format",
      message: `${path} holds at position ${position} what this version of Millrace does not know`,
    });
  }
});

test("entries that do not follow each other are no truth", async () => {
  const disk = new SimulatedDisk();
  await (await formatted(disk)).close();
  const log = withoutMark(await disk.readFile(firstLog));
  for (const [entries, message] of [
    [
      [data(12, 3)],
      `${firstLog} holds entry 12 at position ${log.length}, which does not follow 10; nothing was changed`,
    ],
    [[data(11, 9)], `${firstLog} holds entries of term 9 and no such term; nothing was changed`],
  ] as const) {
    const wrong = disk.afterProcessDeath();
    await wrong.writeFile(firstLog, Buffer.concat([log, ...encodeFrame(encodeBatch({ hardState: null, entries }))]));
    expect(await failureOf(wrong)).toEqual({ failure: "corrupt", message });
  }
});

test("a log that begins with more than fits a frame well begins with several", async () => {
  const disk = new SimulatedDisk();
  const store = await formatted(disk);
  const large = Buffer.alloc(9 * 1024 * 1024, 1);
  const entries = [11, 12, 13, 14, 15].map((index) => data(index, 3, large));
  await store.persist({ term: 4, votedFor: "c" }, entries);
  await store.replaceBySnapshot(point(11, 3), []);
  const begun = await disk.readFile(secondLog);
  await store.persist({ term: 5, votedFor: null }, []);
  const state = await reopened(disk);
  expect(indexesOf(state?.entries)).toBe("12/3 13/3 14/3 15/3");
  expect(state?.entries.every((entry) => entry.kind === "data" && large.equals(entry.data))).toBe(true);
  expect(state?.hardState).toEqual({ term: 5, votedFor: null });
  // What was there before the file had its name is no tail.
  await disk.writeFile(secondLog, withoutMark(begun).subarray(0, -1));
  expect(await failureOf(disk)).toMatchObject({ failure: "corrupt" });
});
