import { describe, expect, test } from "vitest";
import { Prng } from "@millrace/base/prng";
import { Raft } from "raft-ts-lite";
import type { Entry, SnapshotChunk } from "raft-ts-lite";
import type { Disk } from "@millrace/base/world";
import { RecordingDisk } from "@millrace/simulator/recording-disk";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import {
  carryOut,
  chunksOf,
  data,
  failureOf,
  fileNames,
  firstFrames,
  formatted,
  indexesOf,
  openStore,
  point,
  reopened,
  stateAfter,
  storePath,
  takeAll,
  told,
  withFlippedBit,
  withoutMark,
} from "../../test/quorum-store.ts";
import type { Call } from "../../test/quorum-store.ts";
import { encodeSnapshot, logFileName } from "./store-format.ts";
import type { QuorumStore, StoredState } from "./store.ts";

const firstLog = storePath(logFileName(0));
const snapshotPath = storePath("quorum-snapshot");
const frames = firstFrames;

describe("what was persisted", () => {
  test("is read again: the state, entries of each kind, the snapshot and its frames", async () => {
    const disk = new SimulatedDisk();
    const store = await formatted(disk);
    const entries: Entry[] = [
      { kind: "empty", index: 11, term: 4 },
      data(12, 4),
      data(13, 4, ""),
      { kind: "configuration", index: 14, term: 4, configuration: { voters: ["a", "d"] } },
    ];
    await store.persist({ term: 4, votedFor: "b" }, entries);
    const state = { hardState: { term: 4, votedFor: "b" }, snapshot: point(10, 3), entries, frames };
    expect(store.state).toEqual({ hardState: state.hardState, snapshot: state.snapshot, entries });
    expect(told(await reopened(disk))).toBe(told(state));
  });

  test("of a store that was only formatted: the term of its snapshot, and no vote", async () => {
    const disk = new SimulatedDisk();
    await (await formatted(disk)).close();
    const hardState = { term: 3, votedFor: null };
    expect(await reopened(disk)).toEqual({ hardState, snapshot: point(10, 3), entries: [], frames });
  });

  test("an entry takes the place of that one and of all behind it; a state without entries leaves them", async () => {
    const disk = new SimulatedDisk();
    const store = await formatted(disk);
    await store.persist({ term: 4, votedFor: null }, [data(11, 4), data(12, 4), data(13, 4)]);
    await store.persist({ term: 6, votedFor: "c" }, [data(12, 6)]);
    await store.persist({ term: 7, votedFor: null }, []);
    await store.persist(null, []);
    expect(indexesOf(store.state.entries)).toBe("11/4 12/6");
    const state = await reopened(disk);
    expect(indexesOf(state?.entries)).toBe("11/4 12/6");
    expect(state?.hardState).toEqual({ term: 7, votedFor: null });
  });

  test("is one write and one sync, however much it is", async () => {
    const disk = await RecordingDisk.over(new SimulatedDisk(), ".");
    const store = await formatted(disk);
    const before = disk.position;
    await store.persist({ term: 5, votedFor: "a" }, [data(11, 5), data(12, 5), data(13, 5)]);
    await store.close();
    // The write behind the sync is the mark, for which nobody waits.
    expect(disk.events.slice(before).map(({ kind }) => kind)).toEqual(["write", "sync", "write"]);
  });

  test("calls that do not wait for each other are done in their order", async () => {
    const disk = new SimulatedDisk();
    const store = await formatted(disk);
    const results = await Promise.all([
      store.persist({ term: 4, votedFor: null }, [data(11, 4), data(12, 4)]),
      store.replaceBySnapshot(point(11, 4), [Buffer.from("at 11")]),
      store.persist({ term: 5, votedFor: null }, [data(12, 5)]),
      store.readChunk({ index: 11, offset: 0, bytesMax: 1000 }),
      store.close(),
    ]);
    expect(results[3]).toMatchObject({ index: 11, offset: 0, isLast: true });
    const state = await reopened(disk);
    expect(state?.snapshot.index).toBe(11);
    expect(indexesOf(state?.entries)).toBe("12/5");
  });

  test("what only a bug can ask for is not written", async () => {
    const disk = new SimulatedDisk();
    const store = await formatted(disk);
    await store.persist({ term: 4, votedFor: "a" }, [data(11, 4)]);
    for (const [hardState, entries, reason] of [
      [{ term: 3, votedFor: null }, [], "term 3 after 4"],
      [{ term: 4, votedFor: "b" }, [], "a vote for b after one for a"],
      [null, [data(13, 4)], "entries from 13 on do not follow"],
      [null, [data(10, 4)], "entries from 10 on do not follow"],
      [null, [data(12, 4), data(14, 4)], "entries from 12 on do not follow"],
      [null, [data(12, 3)], "entries from 12 on do not follow"],
      [null, [data(12, 5)], "an entry of term 5 in term 4"],
    ] as const) {
      await expect(store.persist(hardState, entries)).rejects.toThrow(reason);
    }
    expect(indexesOf((await reopened(disk))?.entries)).toBe("11/4");
  });
});

describe("a snapshot", () => {
  test("takes the place of what is before it; what is behind it and the state stay, and old files go", async () => {
    const disk = new SimulatedDisk();
    const store = await formatted(disk);
    await store.persist({ term: 4, votedFor: "b" }, [data(11, 4), data(12, 4), data(13, 4)]);
    expect(store.bytesSinceSnapshot).toBeGreaterThan(0);
    await store.replaceBySnapshot(point(12, 4, ["a"]), [Buffer.from("new")]);
    expect(store.bytesSinceSnapshot).toBe(0);
    await store.persist(null, [data(14, 4)]);
    expect(await fileNames(disk)).toEqual([logFileName(1), "quorum-snapshot"]);
    const state = await reopened(disk);
    expect(told(state)).toBe(told({ ...store.state, frames: [Buffer.from("new")] }));
    expect(indexesOf(state?.entries)).toBe("13/4 14/4");
    expect(state?.snapshot).toEqual(point(12, 4, ["a"]));
    expect(state?.hardState).toEqual({ term: 4, votedFor: "b" });
  });

  test("of the same entry is not made again, and the log's numbers go on after a start", async () => {
    const disk = new SimulatedDisk();
    const store = await formatted(disk);
    await store.replaceBySnapshot(point(10, 3), [Buffer.from("again")]);
    await store.close();
    const { store: again, state } = await openStore(disk);
    expect(state?.frames).toEqual(frames);
    await again.persist(null, [data(11, 3)]);
    await again.replaceBySnapshot(point(11, 3), []);
    expect(await fileNames(disk)).toEqual([logFileName(1), "quorum-snapshot"]);
  });

  test("is read in parts as the file it is; another one, and bytes that are not there, from the beginning", async () => {
    const disk = new SimulatedDisk();
    const store = await formatted(disk);
    const bytes = await disk.readFile(snapshotPath);
    const parts: Buffer[] = [];
    for (let offset = 0; ;) {
      const chunk = await store.readChunk({ index: 10, offset, bytesMax: 7 });
      expect(chunk).toMatchObject({ ...point(10, 3), offset });
      parts.push(Buffer.from(chunk.data));
      offset += chunk.data.length;
      if (chunk.isLast) break;
    }
    expect(Buffer.concat(parts).equals(bytes)).toBe(true);
    expect(parts.length).toBe(Math.ceil(bytes.length / 7));
    for (const wanted of [
      { index: 9, offset: 7 },
      { index: 10, offset: bytes.length },
    ]) {
      expect(await store.readChunk({ ...wanted, bytesMax: 3 })).toEqual({
        ...point(10, 3),
        offset: 0,
        data: bytes.subarray(0, 3),
        isLast: false,
      });
    }
  });

  test("the point of one has the voters that were in force there", async () => {
    const store = await formatted(new SimulatedDisk());
    const entries: readonly Entry[] = [
      data(11, 4),
      { kind: "configuration", index: 12, term: 4, configuration: { voters: ["a"] } },
      data(13, 5),
      { kind: "configuration", index: 14, term: 6, configuration: { voters: ["a", "b"] } },
    ];
    await store.persist({ term: 6, votedFor: null }, entries);
    expect(store.pointAt(10)).toEqual(point(10, 3));
    expect(store.pointAt(11)).toEqual(point(11, 4));
    expect(store.pointAt(12)).toEqual(point(12, 4, ["a"]));
    expect(store.pointAt(13)).toEqual(point(13, 5, ["a"]));
    expect(store.pointAt(14)).toEqual(point(14, 6, ["a", "b"]));
    expect(() => store.pointAt(15)).toThrow("entry 15 is missing");
  });

  test("the point of one is what Raft drops its entries to", async () => {
    const disk = new SimulatedDisk();
    const { store } = await openStore(disk);
    await store.format(point(0, 0, ["a"]), []);
    const raft = new Raft({ id: "a", ...store.state, random: () => 0.5 });
    raft.stand();
    const applied = await drive(raft, store);
    raft.propose([Buffer.from("x"), Buffer.from("y")]);
    applied.push(...(await drive(raft, store)));
    raft.change({ kind: "add", node: "b" });
    await drive(raft, store);
    raft.propose([Buffer.from("z")]);
    await drive(raft, store);
    expect(applied.map(({ kind }) => kind)).toEqual(["empty", "data", "data"]);
    expect(store.pointAt(0)).toEqual(point(0, 0, ["a"]));
    const at = store.pointAt(applied.length);
    await store.replaceBySnapshot(at, [Buffer.from("xy")]);
    expect(raft.compact(at.index)).toEqual(at);
    // A Raft that is made from the disk goes on where this one was.
    const { term, lastIndex } = raft.status;
    await store.close();
    const { state } = await openStore(disk);
    if (state === null) throw new Error("nothing is there");
    expect(new Raft({ id: "a", ...state, random: () => 0.5 }).status).toMatchObject({ term, lastIndex });
  });
});

/** A host with nobody to send to. */
async function drive(raft: Raft, store: QuorumStore): Promise<Entry[]> {
  const applied: Entry[] = [];
  for (let ready = raft.ready(); ready !== null; ready = raft.ready()) {
    expect(await store.persist(ready.hardState, ready.entries)).toMatchObject({ ok: true });
    applied.push(...ready.committed);
    raft.advance();
  }
  return applied;
}

describe("a snapshot from the leader", () => {
  const at = point(12, 4, ["a", "e"]);
  const bytes = encodeSnapshot(at, [Buffer.from("from"), Buffer.from("afar")]);

  async function behind(disk: Disk): Promise<QuorumStore> {
    const store = await formatted(disk);
    await store.persist({ term: 4, votedFor: "b" }, [data(11, 4), data(12, 4), data(13, 4)]);
    return store;
  }

  test.for([
    [point(12, 4), "13/4", "belong to it"],
    [point(12, 3), "", "do not"],
    [point(20, 4), "", "are before it"],
  ] as const)("%o takes the place of all; entries behind it: '%s', since they %s", async ([at, rest]) => {
    const disk = new SimulatedDisk();
    const store = await behind(disk);
    const installed = [Buffer.from("from"), Buffer.from("afar")];
    const chunks = chunksOf(at, encodeSnapshot(at, installed), () => 9);
    for (const chunk of chunks.slice(0, -1)) expect(await store.takeChunk(chunk)).toBe("written");
    const [last] = chunks.slice(-1) as [SnapshotChunk];
    expect(await store.takeChunk(last)).toEqual({ installed });
    expect(await fileNames(disk)).toEqual([logFileName(1), "quorum-snapshot"]);
    expect(indexesOf(store.state.entries)).toBe(rest);
    expect(told(await reopened(disk))).toBe(told({ ...store.state, frames: installed }));
    expect(store.state).toMatchObject({ snapshot: at, hardState: { term: 4, votedFor: "b" } });
    expect((await store.readChunk({ index: at.index, offset: 0, bytesMax: 1000 })).isLast).toBe(true);
  });

  test("a bit that turned over on its way: it is refused, wherever that was, and can come again", async () => {
    const disk = new SimulatedDisk();
    const store = await behind(disk);
    const before = told({ ...store.state, frames });
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const bad = withFlippedBit(bytes, bit);
      expect(
        await takeAll(
          store,
          chunksOf(at, bad, () => 40),
        ),
        `bit ${bit}`,
      ).toBe("refused");
    }
    for (const short of [bytes.subarray(0, -1), bytes.subarray(0, 30), Buffer.concat([bytes, Buffer.alloc(1)])]) {
      expect(
        await takeAll(
          store,
          chunksOf(at, short, () => 40),
        ),
      ).toBe("refused");
    }
    expect(await fileNames(disk)).toEqual([logFileName(0), "quorum-snapshot"]);
    expect(told({ ...store.state, frames })).toBe(before);
    expect(
      await takeAll(
        store,
        chunksOf(at, bytes, () => 40),
      ),
    ).toHaveProperty("installed");
  });

  test.for([
    ["another entry", point(13, 4, ["a", "e"])],
    ["another term", point(12, 3, ["a", "e"])],
    ["other voters", point(12, 4, ["a"])],
    ["a term that this node has not seen", point(12, 5, ["a", "e"])],
  ] as const)("that is said to be of %s is refused", async ([, said]) => {
    const store = await behind(new SimulatedDisk());
    expect(
      await takeAll(
        store,
        chunksOf(said, bytes, () => 1000),
      ),
    ).toBe("refused");
    const own = encodeSnapshot(point(12, 5, ["a", "e"]), []);
    expect(
      await takeAll(
        store,
        chunksOf(point(12, 5, ["a", "e"]), own, () => 1000),
      ),
    ).toBe("refused");
  });

  test("parts that do not follow each other are refused; one from the beginning begins anew", async () => {
    const store = await behind(new SimulatedDisk());
    const chunks = chunksOf(at, bytes, () => 40);
    const [first, second] = chunks as [SnapshotChunk, SnapshotChunk];
    expect(await store.takeChunk(second)).toBe("refused");
    expect(await store.takeChunk(first)).toBe("written");
    expect(await store.takeChunk({ ...second, offset: 41 })).toBe("refused");
    expect(await store.takeChunk(first)).toBe("written");
    expect(await store.takeChunk({ ...second, ...point(13, 4) })).toBe("refused");
    expect(await store.takeChunk(second)).toBe("refused");
    // A longer one that was not completed leaves nothing behind.
    const longer = chunksOf(point(13, 4), encodeSnapshot(point(13, 4), [Buffer.alloc(500, 1)]), () => 300);
    expect(await store.takeChunk(longer[0] as SnapshotChunk)).toBe("written");
    expect(await takeAll(store, chunks)).toHaveProperty("installed");
  });

  test("does not mind what an older one has left that could not be removed", async () => {
    const disk = new SimulatedDisk();
    const store = await behind(disk);
    await disk.writeFile(storePath("quorum-snapshot.part"), Buffer.alloc(1000, 1));
    expect(
      await takeAll(
        store,
        chunksOf(at, bytes, () => 40),
      ),
    ).toHaveProperty("installed");
  });

  test("that was not completed is gone after a start", async () => {
    const disk = new SimulatedDisk();
    const store = await behind(disk);
    const [first, second] = chunksOf(at, bytes, () => 40) as [SnapshotChunk, SnapshotChunk];
    await store.takeChunk(first);
    expect(await fileNames(disk)).toContain("quorum-snapshot.part");
    const { store: again } = await openStore(disk);
    expect(await fileNames(disk)).not.toContain("quorum-snapshot.part");
    expect(await again.takeChunk(second)).toBe("refused");
  });
});

// --- A disk that fails ------------------------------------------------------------------------------------------------

const calls: readonly Call[] = [
  { kind: "persist", hardState: { term: 5, votedFor: null }, entries: [data(12, 5), data(13, 5, "x".repeat(90))] },
  { kind: "snapshot", at: point(11, 4), frames: [Buffer.from("a"), Buffer.alloc(50, 7)] },
  {
    kind: "install",
    at: point(12, 4),
    frames: [Buffer.from("b")],
    chunks: chunksOf(point(12, 4), encodeSnapshot(point(12, 4), [Buffer.from("b")]), () => 20),
    isDamaged: false,
  },
];

async function onRecordedDisk(): Promise<{ disk: RecordingDisk; store: QuorumStore; before: StoredState }> {
  const disk = await RecordingDisk.over(new SimulatedDisk(), ".");
  const store = await formatted(disk);
  await store.persist({ term: 4, votedFor: "b" }, [data(11, 4), data(12, 4)]);
  return { disk, store, before: { ...store.state, frames } };
}

test.for(calls)("a full disk at any byte of $kind: nothing has changed, and the log goes on", async (call) => {
  let refusals = 0;
  for (let spaceBytes = 0; ; spaceBytes++) {
    const { disk, store, before } = await onRecordedDisk();
    const { length } = withoutMark(await disk.readFile(firstLog));
    disk.faults.spaceBytes = spaceBytes;
    const outcome = await carryOut(store, call).catch((error: unknown) => String(error));
    disk.faults.spaceBytes = Infinity;
    const after = stateAfter(before, call);
    if (outcome !== undefined) {
      expect(await fileNames(disk), "what was half written is gone").toEqual([logFileName(0), "quorum-snapshot"]);
      expect(withoutMark(await disk.readFile(firstLog)).length, "the log was cut back").toBe(length);
    }
    expect(told(await reopened(disk)), `${spaceBytes} bytes`).toBe(told(outcome === undefined ? after : before));
    if (outcome === undefined) break;
    refusals++;
    expect(outcome).toContain("ENOSPC");
    expect(store.hasFailed).toBe(false);
    expect(told({ ...store.state, frames })).toBe(told(before));
    await carryOut(store, call);
    expect(told(await reopened(disk)), `${spaceBytes} bytes, and then room`).toBe(told(after));
    expect(told(await reopened(disk.afterPowerLoss(new Prng(spaceBytes))))).toBe(told(after));
  }
  expect(refusals).toBeGreaterThan(30);
});

test("a full disk is told apart from a log that has failed", async () => {
  const { disk, store } = await onRecordedDisk();
  disk.faults.failNextWrite({ code: "ENOSPC" });
  expect(await store.persist(null, [data(13, 4)])).toMatchObject({ ok: false, failure: "not-written" });
  expect(await store.persist(null, [data(13, 4)])).toMatchObject({ ok: true });
  disk.faults.failNextSync();
  expect(await store.persist(null, [data(14, 4)])).toMatchObject({ ok: false, failure: "log-failed" });
  expect(await store.persist(null, [data(14, 4)])).toMatchObject({ ok: false, failure: "log-failed" });
  await expect(store.replaceBySnapshot(point(11, 4), [])).rejects.toMatchObject({ code: "EIO" });
  await expect(takeAll(store, (calls[2] as Call & { kind: "install" }).chunks)).rejects.toMatchObject({ code: "EIO" });
});

test("what was half written and cannot be cut back is a log that has failed", async () => {
  const { disk, store } = await onRecordedDisk();
  disk.faults.failNextWrite({ code: "ENOSPC" });
  disk.faults.failNextSync();
  expect(await store.persist(null, [data(13, 4)])).toMatchObject({ ok: false, failure: "log-failed" });
  expect(store.hasFailed).toBe(true);
});

test.for(calls)("a sync of $kind that fails, whichever: it is one thing or the other after a start", async (call) => {
  const isUsable: boolean[] = [];
  for (let syncs = 0; ; syncs++) {
    const { disk, store, before } = await onRecordedDisk();
    const after = stateAfter(before, call);
    let seen = 0;
    disk.faults.failNextSync({ matches: () => seen++ === syncs });
    const outcome = await carryOut(store, call).catch((error: unknown) => error);
    if (outcome === undefined) break;
    isUsable.push(!store.hasFailed);
    for (let seed = 0; seed < 20; seed++) {
      const found = told(await reopened(disk.afterPowerLoss(new Prng(seed))));
      expect([told(before), told(after)], `sync ${syncs}, seed ${seed}`).toContain(found);
    }
    if (store.hasFailed) continue;
    expect(told({ ...store.state, frames })).toBe(told(before));
    await carryOut(store, call);
    expect(told(await reopened(disk.afterPowerLoss(new Prng(syncs))))).toBe(told(after));
  }
  // The files, then their names: from the first name on nobody knows.
  expect(isUsable).toEqual(call.kind === "persist" ? [false] : [true, true, false, false]);
});

test("an unreadable file is named", async () => {
  for (const path of [firstLog, snapshotPath]) {
    const { disk } = await onRecordedDisk();
    disk.faults.makeUnreadable(path, "EACCES");
    expect(await failureOf(disk)).toMatchObject({
      failure: "disk-failed",
      message: expect.stringContaining(path) as string,
    });
  }
});
