import { Packr } from "msgpackr";
import { describe, expect, test } from "vitest";
import { Prng } from "@millrace/base/prng";
import type { Disk } from "@millrace/base/world";
import { RecordingDisk } from "@millrace/simulator/recording-disk";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import type { SnapshotChunk } from "raft-ts-lite";
import {
  chunksOf,
  data,
  failureOf,
  fileNames,
  formatted,
  indexesOf,
  openStore,
  point,
  reopened,
  storeDirectory,
  storePath,
  takeAll,
  withFlippedBit,
  withoutMark,
} from "../../test/quorum-store.ts";
import { encodeFrame } from "../metadata/frames.ts";
import { encodeSnapshot, logFileName } from "./store-format.ts";
import { hardStateLeft, markerName, setAside } from "./store-recovery.ts";

const logPath = storePath(logFileName(1));
const snapshotPath = storePath("quorum-snapshot");
const voters = ["a", "b", "c"];
const last = { term: 6, votedFor: "c" };

/** Snapshot 11, a log that began with an entry behind it, and persists up to entry 14 of term 6. Gives where each of them begins. */
async function full(disk: Disk = new SimulatedDisk()): Promise<readonly number[]> {
  const store = await formatted(disk);
  await store.persist({ term: 4, votedFor: "b" }, [data(11, 4), data(12, 4)]);
  await store.replaceBySnapshot(point(11, 4), [Buffer.from("at 11")]);
  const begins: number[] = [];
  for (const [hardState, entries] of [
    [null, [data(13, 4)]],
    [{ term: 5, votedFor: null }, [data(13, 5)]],
    [last, []],
    [null, [data(14, 6)]],
  ] as const) {
    begins.push(withoutMark(await disk.readFile(logPath)).length);
    await store.persist(hardState, entries);
  }
  await store.close();
  return begins;
}

function left(disk: Disk) {
  return hardStateLeft(disk, storeDirectory);
}

describe("the term and the vote of a store that is damaged", () => {
  test("are known whichever bit of the snapshot has turned over", async () => {
    const disk = new SimulatedDisk();
    await full(disk);
    const { length } = await disk.readFile(snapshotPath);
    for (let bit = 0; bit < length * 8; bit++) {
      const rotten = disk.afterProcessDeath();
      rotten.flipBit({ path: snapshotPath, bit });
      expect(await left(rotten), `bit ${bit}`).toEqual(last);
    }
    await disk.removeFile(snapshotPath);
    expect(await left(disk), "the snapshot is missing").toEqual(last);
  });

  test("are known whichever bit of the log has turned over, in the last persist, too", async () => {
    const disk = new SimulatedDisk();
    await full(disk);
    const ends = withoutMark(await disk.readFile(logPath)).length;
    for (let bit = 0; bit < ends * 8; bit++) {
      const rotten = disk.afterProcessDeath();
      rotten.flipBit({ path: logPath, bit });
      expect(await failureOf(rotten)).toMatchObject({ failure: "corrupt" });
      expect(await left(rotten), `bit ${bit}`).toEqual(last);
    }
  });

  test("are known where the mark is damaged, too, or did not come, as long as the last persist is whole", async () => {
    const disk = new SimulatedDisk();
    await full(disk);
    const marked = await disk.readFile(logPath);
    const bytes = withoutMark(marked);
    const zeros = Buffer.alloc(marked.length - bytes.length);
    for (const tail of [Buffer.alloc(0), zeros, zeros.subarray(1)]) {
      await disk.writeFile(logPath, withFlippedBit(Buffer.concat([bytes, tail]), 9));
      expect(await failureOf(disk)).toMatchObject({ failure: "corrupt" });
      expect(await left(disk)).toEqual(last);
    }
    await disk.writeFile(logPath, withFlippedBit(Buffer.concat([bytes, zeros, Buffer.alloc(1)]), 9));
    expect(await left(disk), "something longer did not come").toBeNull();
  });

  test("are not where the last persist is damaged, too, and has no mark", async () => {
    const disk = new SimulatedDisk();
    const begins = await full(disk);
    await disk.writeFile(logPath, withoutMark(await disk.readFile(logPath)));
    const { length } = await disk.readFile(logPath);
    disk.flipBit({ path: logPath, bit: 9 });
    for (let bit = (begins.at(-1) ?? 0) * 8; bit < length * 8; bit++) {
      const rotten = disk.afterProcessDeath();
      rotten.flipBit({ path: logPath, bit });
      expect(await left(rotten), `bit ${bit}`).toBeNull();
    }
    await disk.writeFile(logPath, (await disk.readFile(logPath)).subarray(0, -1));
    expect(await left(disk), "it is short").toBeNull();
  });

  test("are not where what follows the damage was written without them, as earlier versions did", async () => {
    const disk = new SimulatedDisk();
    await full(disk);
    const without = encodeFrame(new Packr({ useRecords: false }).pack([null, [[15, 6, "empty"]]]));
    const bytes = withoutMark(await disk.readFile(logPath));
    await disk.writeFile(logPath, Buffer.concat([bytes, ...without]));
    expect(await left(disk)).toEqual(last);
    disk.flipBit({ path: logPath, bit: (bytes.length - 1) * 8 });
    expect(await left(disk)).toBeNull();
  });

  test("are not where there is no log, or one that was there before the snapshot's", async () => {
    const disk = new SimulatedDisk();
    await full(disk);
    const former = new SimulatedDisk();
    await formatted(former);
    await disk.writeFile(storePath(logFileName(0)), await former.readFile(storePath(logFileName(0))));
    await disk.removeFile(logPath);
    expect(await failureOf(disk)).toMatchObject({ failure: "corrupt" });
    expect(await left(disk)).toBeNull();
    await disk.removeFile(storePath(logFileName(0)));
    expect(await left(disk)).toBeNull();
  });
});

describe("a store that is put aside", () => {
  test("keeps what is damaged under other names, and begins with its term and its vote", async () => {
    const disk = new SimulatedDisk();
    await full(disk);
    disk.flipBit({ path: snapshotPath, bit: 77 });
    const before = [await disk.readFile(snapshotPath), await disk.readFile(logPath)];
    const kept = await setAside(disk, storeDirectory, { hardState: last, voters });
    expect(kept).toEqual([`${snapshotPath}.spoilt-2`, `${logPath}.spoilt-2`]);
    for (const [at, path] of kept.entries()) expect(await disk.readFile(path)).toEqual(before[at]);
    const { store, state } = await openStore(disk);
    expect(state).toEqual({ hardState: last, snapshot: point(0, 0), entries: [], frames: [] });
    expect(store.isRecovering).toBe(true);
    await store.close();
    expect(await fileNames(disk)).toEqual([
      ...[`${logFileName(1)}.spoilt-2`, logFileName(2), markerName],
      ...["quorum-snapshot", "quorum-snapshot.spoilt-2"],
    ]);
  });

  test("takes entries and a snapshot, is recovering after each start, and no more when that is over", async () => {
    const disk = new SimulatedDisk();
    await full(disk);
    disk.flipBit({ path: logPath, bit: 9 });
    await setAside(disk, storeDirectory, { hardState: last, voters });
    const { store } = await openStore(disk);
    await store.persist(null, [data(1, 2)]);
    await store.close();
    const second = (await openStore(disk)).store;
    expect(second.isRecovering).toBe(true);
    expect(indexesOf(second.state.entries)).toBe("1/2");
    const at = point(12, 4);
    const chunks: readonly SnapshotChunk[] = chunksOf(at, encodeSnapshot(at, [Buffer.from("x")]), () => 9);
    expect(await takeAll(second, chunks)).toHaveProperty("installed");
    await second.persist({ term: 7, votedFor: null }, [data(13, 6)]);
    await second.close();
    const third = (await openStore(disk)).store;
    expect(third.isRecovering).toBe(true);
    await third.endRecovery();
    await third.endRecovery();
    await third.close();
    const { store: fourth, state } = await openStore(disk);
    expect(fourth.isRecovering).toBe(false);
    expect(state).toMatchObject({ hardState: { term: 7, votedFor: null }, snapshot: at });
    expect(indexesOf(state?.entries)).toBe("13/6");
  });

  test("may be damaged again before all is there, and again later: nothing that was kept is written over", async () => {
    const disk = new SimulatedDisk();
    await full(disk);
    for (const round of [2, 3, 4]) {
      disk.flipBit({ path: snapshotPath, bit: 77 });
      expect(await failureOf(disk)).toMatchObject({ failure: "corrupt" });
      expect(await left(disk)).toEqual(last);
      await setAside(disk, storeDirectory, { hardState: last, voters });
      expect((await fileNames(disk)).filter((name) => name.includes("spoilt"))).toHaveLength(2 * (round - 1));
      const { store } = await openStore(disk);
      if (round === 3) await store.endRecovery();
      await store.close();
    }
  });

  test("with a mark that is damaged stops the start", async () => {
    const disk = new SimulatedDisk();
    await full(disk);
    disk.flipBit({ path: snapshotPath, bit: 77 });
    await setAside(disk, storeDirectory, { hardState: last, voters });
    const path = storePath(markerName);
    const { length } = await disk.readFile(path);
    for (let bit = 0; bit < length * 8; bit++) {
      const rotten = disk.afterProcessDeath();
      rotten.flipBit({ path, bit });
      const message = `${path} is damaged; nothing was changed`;
      expect(await failureOf(rotten), `bit ${bit}`).toEqual({ failure: "corrupt", message });
    }
  });

  test("is damaged or recovering after a loss of power at any moment, and never anything else", async () => {
    const found = new Set<string>();
    for (let seed = 1; seed <= 5; seed++) {
      const prng = new Prng(seed);
      const platter = new SimulatedDisk();
      await full(platter);
      platter.flipBit({ path: snapshotPath, bit: 77 });
      const disk = await RecordingDisk.over(platter.afterPowerLoss(prng), ".");
      await setAside(disk, storeDirectory, { hardState: last, voters });
      const positions = Array(disk.position + 1).keys();
      for (const { position, disk: image } of disk.powerLosses(positions, prng)) {
        const where = `seed ${seed}, event ${position}`;
        const state = await failureOf(image);
        if (typeof state === "object") {
          expect(state, where).toMatchObject({ failure: "corrupt" });
          expect(await left(image), where).toEqual(last);
          found.add("damaged");
          continue;
        }
        const { store, state: begun } = await openStore(image);
        expect(begun, where).toEqual({ hardState: last, snapshot: point(0, 0), entries: [], frames: [] });
        expect(store.isRecovering, where).toBe(true);
        await store.persist({ term: 9, votedFor: null }, []);
        await store.close();
        const names = await fileNames(image);
        expect(names, where).toEqual(
          expect.arrayContaining([`${logFileName(1)}.spoilt-2`, "quorum-snapshot.spoilt-2"]),
        );
        expect((await reopened(image.afterPowerLoss(prng)))?.hardState, where).toEqual({ term: 9, votedFor: null });
        found.add("recovering");
      }
    }
    expect(found).toEqual(new Set(["damaged", "recovering"]));
  });
});
