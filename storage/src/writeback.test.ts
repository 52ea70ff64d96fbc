import type { DiskFile } from "@millrace/base/world";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import { beforeEach, expect, test } from "vitest";
import { Segment } from "./segment.ts";
import type { Offset } from "./types.ts";
import { Writeback } from "./writeback.ts";

const KiB = 1024;
const pieceBytes = 512 * KiB;

let clock: VirtualClock;
let writeback: Writeback;
/** What the disk was told to begin, in pieces. */
let begun: string[];

beforeEach(() => {
  clock = new VirtualClock();
  writeback = new Writeback(clock);
  begun = [];
});

function openSegment(name: string): Segment {
  const segment = new Segment(`/data/${name}-0`, 0 as Offset, { sizeBytes: 0, isNew: false });
  const startWriteback = (position: number, sizeBytes: number): void => {
    begun.push(`${name} ${position / pieceBytes}+${sizeBytes / pieceBytes}`);
  };
  Object.defineProperties(segment, {
    isOpen: { value: true, writable: true },
    log: { value: { startWriteback } as Partial<DiskFile> },
  });
  return segment;
}

function write(segment: Segment, pieces: number): void {
  for (let count = 0; count < pieces; count++) {
    segment.sizeBytes += pieceBytes;
    writeback.noteWritten(segment);
  }
}

test("a burst waits, and is begun evenly when it is over", async () => {
  writeback.lagBytes = 40 * pieceBytes;
  let idleCount = 0;
  writeback.onIdle = () => (idleCount += 1);
  const [a, b] = [openSegment("a"), openSegment("b")];
  write(a, 10);
  await clock.advance(400);
  write(b, 15);
  await clock.advance(400);
  expect(begun).toEqual([]);
  let isCaughtUp = false;
  void writeback.caughtUp().then(() => (isCaughtUp = true));
  await clock.advance(200);
  // 4 MiB at first, and so much more each 10 ms.
  expect([begun.length, isCaughtUp]).toEqual([8, false]);
  await clock.advance(100);
  expect([begun.length, isCaughtUp, idleCount]).toEqual([25, true, 1]);
  expect(begun.slice(9, 11)).toEqual(["a 9+1", "b 0+1"]);
});

test("a load that goes on for longer is caught up with, and then written as it comes", async () => {
  writeback.lagBytes = 20 * pieceBytes;
  const segment = openSegment("a");
  write(segment, 20);
  expect(begun).toEqual([]);
  const caughtUp = writeback.caughtUp();
  write(segment, 7);
  expect(begun).toHaveLength(27);
  await caughtUp;
  write(segment, 3);
  expect(begun).toHaveLength(30);
  // Until it is over.
  await clock.advance(1000);
  write(segment, 20);
  expect(begun).toHaveLength(30);
});

test("who is in no hurry waits for a burst to be over, but not for ever", async () => {
  writeback.lagBytes = 1000 * pieceBytes;
  const segment = openSegment("a");
  write(segment, 3);
  let isSpread = false;
  void writeback.spreadAfterBurst().then(() => (isSpread = true));
  for (let count = 0; count < 24; count++) {
    await clock.advance(400);
    write(segment, 1);
  }
  expect([begun.length, isSpread, writeback.isBusy]).toEqual([0, false, true]);
  await clock.advance(400);
  write(segment, 1);
  await clock.advance(100);
  // All but the last, which came after that.
  expect([begun.length, isSpread]).toEqual([27, true]);
  await clock.advance(600);
  expect(writeback.isBusy).toBe(false);
  await writeback.spreadAfterBurst();
});

test("less than a piece is left to the sync; what is closed is passed over", async () => {
  const [open, closed] = [openSegment("open"), openSegment("closed")];
  open.sizeBytes = pieceBytes - 1;
  writeback.noteWritten(open);
  expect(begun).toEqual([]);
  writeback.lagBytes = 4 * pieceBytes;
  write(closed, 4);
  Object.assign(closed, { isOpen: false });
  write(open, 1);
  expect(begun).toHaveLength(1);
});

test("who hurries, or stops, syncs what waits: nobody waits for it any more, and it is not begun", async () => {
  writeback.lagBytes = 10 * pieceBytes;
  const segment = openSegment("a");
  write(segment, 3);
  const first = writeback.caughtUp();
  writeback.hurry();
  await first;
  write(segment, 3);
  const second = writeback.caughtUp();
  writeback.stop();
  await second;
  write(segment, 30);
  await clock.advance(2000);
  expect(begun).toEqual([]);
});

test("what is written besides gives way to a load, and to nothing else", async () => {
  let turns = 0;
  const takeTurn = async (): Promise<void> => {
    await writeback.giveWay();
    turns += 1;
  };
  await takeTurn();
  write(openSegment("a"), 1);
  void takeTurn();
  await clock.advance(9);
  expect(turns).toBe(1);
  await clock.advance(1);
  expect(turns).toBe(2);
  writeback.stop();
  await takeTurn();
  expect(turns).toBe(3);
});
