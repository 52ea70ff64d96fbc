import { describe, expect, test } from "vitest";
import { anomalyKinds } from "./findings.ts";
import type { AnomalyKind } from "./findings.ts";
import { linesOf } from "./script.ts";
import type { Example } from "./script.ts";

const planted: Readonly<Record<AnomalyKind, readonly Example[]>> = {
  "lost write": [
    {
      what: "a reader goes past an acknowledged record",
      history: `
        a: send x to p0 -> 0
        a: send y to p0 -> 1
        a: send z to p0 -> 2
        b: poll p0:0=x p0:2=z`,
      found: "lost write: y at p-0@1 of a was acknowledged, and readers went past it",
    },
    {
      what: "it begins at the start, and the first record is not there",
      history: `
        a: send x to p0 -> 0
        a: send y to p0 -> 1
        b: seek p0:0
        b: poll p0:1=y`,
      found: "lost write: x at p-0@0 of a was acknowledged, and readers went past it",
    },
    {
      what: "of a committed transaction nothing is there",
      history: `
        a: send x to p0 in 7 -> 0
        a: commit 7 -> ok
        c: send y to p0 -> 2
        b: seek p0:0
        b: poll p0:2=y`,
      found: "lost write: x at p-0@0 of transaction 7 of a was acknowledged, and readers went past it",
    },
    {
      what: "only readers of uncommitted records saw it",
      history: `
        a: send x to p0 in 7 -> 0
        a: commit 7 -> ok
        c: send y to p0 -> 2
        u: isolation read_uncommitted
        u: poll p0:0=x p0:2=y
        b: seek p0:0
        b: poll p0:2=y`,
      found: "lost write: x at p-0@0 of transaction 7 of a was acknowledged, and readers went past it",
    },
  ],
  unseen: [
    {
      what: "the last record is never read",
      history: `
        a: send x to p0 -> 0
        a: send y to p0 -> 1
        b: poll p0:0=x`,
      found: "unseen: y at p-0@1 of a was acknowledged and never read",
    },
    {
      what: "an acknowledgement without an offset",
      history: `
        a: send x to p0 -> ok`,
      found: "unseen: x in p-0 of a was acknowledged and never read",
    },
    {
      what: "a committed transaction hangs",
      history: `
        a: send x to p0 in 1 -> 0
        a: commit 1 -> ok
        u: isolation read_uncommitted
        u: poll p0:0=x
        b: poll`,
      found: "unseen: x at p-0@0 of transaction 1 of a was acknowledged and never read",
    },
  ],
  duplicate: [
    {
      what: "a retry is appended once more",
      history: `
        a: send x to p0 -> 0
        b: poll p0:0=x p0:1=x`,
      found: "duplicate: x of a lies at p-0@0, p-0@1",
    },
    {
      what: "it lies elsewhere than where it was acknowledged",
      history: `
        a: send x to p0 -> 0
        b: poll p0:1=x`,
      found: "duplicate: x of a lies at p-0@0, p-0@1",
    },
    {
      what: "a send that timed out is there twice",
      history: `
        a: send x to p0 -> ?
        b: poll p0:0=x p0:1=x`,
      found: "duplicate: x of a lies at p-0@0, p-0@1",
    },
  ],
  "inconsistent offsets": [
    {
      what: "two readers see different values",
      history: `
        a: send x to p0 -> ?
        a: send y to p0 -> ?
        b: poll p0:0=x
        c: poll p0:0=y`,
      found: "inconsistent offsets: p-0@0 holds x, y",
    },
    {
      what: "two producers are told the same offset",
      history: `
        a: send x to p0 -> 0
        b: send y to p0 -> 0
        c: poll p0:0=x
        c: seek p0:0
        c: poll p0:0=y`,
      found: "inconsistent offsets: p-0@0 holds x, y",
    },
  ],
  "phantom read": [
    {
      what: "nobody sent the value",
      history: `
        b: poll p0:0=x`,
      found: "phantom read: b read x at p-0@0: nobody sent it there",
    },
    {
      what: "it was sent to another partition",
      history: `
        a: send x to p0 -> ?
        b: poll p1:0=x`,
      found: "phantom read: b read x at p-1@0: nobody sent it there",
    },
  ],
  "internal poll skip": [
    {
      what: "inside of one poll",
      history: `
        a: send x to p0 -> 0
        a: send y to p0 -> 1
        a: send z to p0 -> 2
        b: poll p0:0=x p0:1=y p0:2=z
        c: poll p0:0=x p0:2=z`,
      found: "internal poll skip: c went from 0 to p-0@2 over 1",
    },
    {
      what: "inside of one transaction",
      history: `
        a: send x to p0 -> 0
        a: send y to p0 -> 1
        a: send z to p0 -> 2
        b: poll p0:0=x p0:1=y p0:2=z
        c: poll in 1 p0:0=x
        c: poll in 1 p0:2=z`,
      found: "internal poll skip: transaction 1 of c went from 0 to p-0@2 over 1",
    },
  ],
  "external poll skip": [
    {
      what: "between two polls",
      history: `
        a: send x to p0 -> 0
        a: send y to p0 -> 1
        a: send z to p0 -> 2
        b: poll p0:0=x p0:1=y p0:2=z
        c: poll p0:0=x
        c: poll p0:2=z`,
      found: "external poll skip: c went from 0 to p-0@2 over 1",
    },
    {
      what: "after the position at which it was to begin",
      history: `
        a: send x to p0 -> 5
        a: send y to p0 -> 6
        b: poll p0:5=x p0:6=y
        c: assigned p0
        c: position p0:0
        c: poll p0:6=y`,
      found: "external poll skip: c went from -1 to p-0@6 over 5",
    },
  ],
  "internal nonmonotonic poll": [
    {
      what: "inside of one poll",
      history: `
        a: send x to p0 -> 0
        a: send y to p0 -> 1
        b: poll p0:1=y p0:0=x`,
      found: "internal nonmonotonic poll: b went from 1 to p-0@0",
    },
  ],
  "external nonmonotonic poll": [
    {
      what: "a record comes again",
      history: `
        a: send x to p0 -> 0
        b: poll p0:0=x
        b: poll p0:0=x`,
      found: "external nonmonotonic poll: b went from 0 to p-0@0",
    },
    {
      what: "before the position at which it was to begin",
      history: `
        a: send x to p0 -> 0
        b: seek p0:1
        b: poll p0:0=x`,
      found: "external nonmonotonic poll: b went from position 1 to p-0@0",
    },
  ],
  "nonmonotonic send": [
    {
      what: "the second lies before the first",
      history: `
        a: send x to p0 -> 1
        a: send y to p0 -> 0
        b: poll p0:0=y p0:1=x`,
      found: "nonmonotonic send: a sent x and then y to p-0: they lie at 1 and 0",
    },
    {
      what: "inside of one transaction",
      history: `
        a: send x to p0 in 1 -> 1
        a: send y to p0 in 1 -> 0
        a: commit 1 -> ok
        b: poll p0:0=y p0:1=x`,
      found: "nonmonotonic send: a sent x and then y to p-0: they lie at 1 and 0",
    },
  ],
  "send skip": [
    {
      what: "another's record lies between those of one transaction",
      options: { areWritesIsolated: true },
      history: `
        a: send x to p0 in 1 -> 0
        c: send y to p0 in 1 -> 1
        a: send z to p0 in 1 -> 2
        a: commit 1 -> ok
        c: commit 1 -> ok
        b: poll p0:0=x p0:1=y p0:2=z`,
      found: "send skip: a sent x and then z to p-0: they lie at 0 and 2, with y between them",
    },
  ],
  G1a: [
    {
      what: "a committed reader sees a record of an aborted transaction",
      history: `
        a: send x to p0 in 1 -> 0
        a: abort 1 -> ok
        b: poll p0:0=x`,
      found: "G1a: b read x at p-0@0 of the aborted transaction 1 of a",
    },
    {
      what: "of one whose client died before it asked for a commit",
      history: `
        a: send x to p0 in 1 -> 0
        a: crash
        b: poll p0:0=x`,
      found: "G1a: b read x at p-0@0 of the aborted transaction 1 of a",
    },
    {
      what: "of one whose commit was not answered, and whose abort then was",
      history: `
        a: send x to p0 in 1 -> 0
        a: commit 1 -> ?
        a: abort 1 -> ok
        b: poll p0:0=x`,
      found: "G1a: b read x at p-0@0 of the aborted transaction 1 of a",
    },
    {
      what: "of one whose commit was refused for good",
      history: `
        a: send x to p0 in 1 -> 0
        a: commit 1 -> fail
        b: poll p0:0=x`,
      found: "G1a: b read x at p-0@0 of the aborted transaction 1 of a",
    },
    {
      what: "anybody sees a record whose send failed",
      history: `
        a: send x to p0 -> fail
        u: isolation read_uncommitted
        u: poll p0:0=x`,
      found: "G1a: u read x at p-0@0, whose send by a failed",
    },
  ],
  "precommitted read": [
    {
      what: "a transaction reads its own",
      history: `
        a: send x to p0 in 1 -> 0
        a: poll in 1 p0:0=x
        a: commit 1 -> ok`,
      found:
        "precommitted read: transaction 1 of a read x at p-0@0 before the commit of transaction 1 of a was asked for",
    },
    {
      what: "another reads it too early",
      history: `
        a: send x to p0 in 1 -> 0
        b: poll p0:0=x
        a: commit 1 -> ok`,
      found: "precommitted read: b read x at p-0@0 before the commit of transaction 1 of a was asked for",
    },
  ],
  "torn transaction": [
    {
      what: "a commit without an answer is half there",
      history: `
        a: send x to p0 in 1 -> 0
        a: send y to p1 in 1 -> 0
        a: commit 1 -> ?
        c: send z to p1 -> 2
        b: seek p0:0 p1:0
        b: poll p0:0=x p1:2=z`,
      found: "torn transaction: transaction 1 of a: x is there, y is not",
    },
    {
      what: "the half that is missing is the end of its partition",
      history: `
        a: send x to p0 in 1 -> 0
        a: send y to p1 in 1 -> 0
        a: commit 1 -> ?
        b: poll p0:0=x`,
      found: "torn transaction: transaction 1 of a: x is there, y is not",
    },
  ],
  G0: [
    {
      what: "two transactions lie in opposite order in two partitions",
      options: { areWritesIsolated: true },
      history: `
        a: send w to p0 in 1 -> 0
        a: send x to p1 in 1 -> 1
        c: send y to p0 in 1 -> 1
        c: send z to p1 in 1 -> 0
        a: commit 1 -> ok
        c: commit 1 -> ok
        b: poll p0:0=w p0:1=y p1:0=z p1:1=x`,
      found: "G0: each before the next, and the last before the first: transaction 1 of c -> transaction 1 of a",
    },
  ],
  "G0-process": [
    {
      what: "the order of a client's transactions closes the circle",
      options: { areWritesIsolated: true },
      history: `
        a: send w to p0 in 1 -> 1
        a: commit 1 -> ok
        a: send x to p1 in 2 -> 0
        a: commit 2 -> ok
        c: send y to p0 in 1 -> 0
        c: send z to p1 in 1 -> 1
        c: commit 1 -> ok
        b: poll p0:0=y p0:1=w p1:0=x p1:1=z`,
      found:
        "G0-process: each before the next, and the last before the first: transaction 2 of a -> transaction 1 of c -> transaction 1 of a",
    },
  ],
  G1c: [
    {
      what: "two transactions read from one another",
      history: `
        a: send x to p0 in 1 -> ?
        c: send y to p1 in 1 -> ?
        a: commit 1 -> ?
        c: commit 1 -> ?
        a: poll in 1 p1:0=y
        c: poll in 1 p0:0=x`,
      found: "G1c: each before the next, and the last before the first: transaction 1 of a -> transaction 1 of c",
    },
  ],
  "G1c-process": [
    {
      what: "a client read what follows from what it sent later",
      history: `
        a: poll p1:0=y
        a: send x to p0 -> 0
        c: poll p0:0=x
        c: send y to p1 -> 0`,
      found:
        "G1c-process: each before the next, and the last before the first: poll by a (event 1) -> send of x by a -> poll by c (event 6) -> send of y by c",
    },
  ],
};

describe("each class is found by its name, and no other with it", () => {
  for (const kind of anomalyKinds) {
    test.for(planted[kind])(`${kind}: $what`, (example) => {
      const lines = linesOf(example);
      expect(lines).toEqual([example.found]);
      expect(example.found?.startsWith(`${kind}: `)).toBe(true);
    });
  }
});

const clean: readonly Example[] = [
  { what: "nothing happened", history: "" },
  {
    what: "a send without an answer is there, and another is not",
    history: `
      a: send x to p0 -> ?
      a: send y to p0 -> ?
      a: send z to p0 -> 1
      b: seek p0:0
      b: poll p0:0=y p0:1=z`,
  },
  {
    what: "a commit without an answer has happened, and another has not",
    history: `
      a: send x to p0 in 1 -> 0
      a: send y to p1 in 1 -> 0
      a: commit 1 -> ?
      c: send z to p0 in 1 -> 1
      c: commit 1
      b: poll p0:0=x p1:0=y
      d: send w to p0 -> 4
      b: poll p0:4=w`,
  },
  {
    what: "a commit is asked for once more after it was not answered",
    history: `
      a: send x to p0 in 1 -> 0
      a: commit 1 -> ?
      b: poll p0:0=x
      a: commit 1 -> ok`,
  },
  {
    what: "a commit was refused, but one before it was not answered",
    history: `
      a: send x to p0 in 1 -> 0
      a: commit 1 -> ?
      a: commit 1 -> fail
      b: poll p0:0=x`,
  },
  {
    what: "committed readers go past aborted records and markers, others see them",
    history: `
      a: send x to p0 in 1 -> 0
      a: send y to p0 in 1 -> 1
      a: abort 1 -> ok
      a: send z to p0 -> 3
      u: isolation read_uncommitted
      u: poll p0:0=x p0:1=y p0:3=z
      b: seek p0:0
      b: poll p0:3=z`,
  },
  {
    what: "readers of uncommitted records see one another's transactions",
    history: `
      a: isolation read_uncommitted
      c: isolation read_uncommitted
      a: send x to p0 in 1 -> 0
      c: send y to p1 in 1 -> 0
      a: poll in 1 p1:0=y
      c: poll in 1 p0:0=x
      a: commit 1 -> ok
      c: commit 1 -> ok
      b: poll p0:0=x p1:0=y`,
  },
  {
    what: "the records of two transactions lie among each other",
    history: `
      a: send w to p0 in 1 -> 0
      a: send x to p1 in 1 -> 1
      c: send y to p0 in 1 -> 1
      c: send z to p1 in 1 -> 0
      a: send v to p0 in 1 -> 2
      a: commit 1 -> ok
      c: commit 1 -> ok
      b: poll p0:0=w p0:1=y p0:2=v p1:0=z p1:1=x`,
  },
  {
    what: "a consumer is moved, and goes back and over records",
    history: `
      a: send x to p0 -> 0
      a: send y to p0 -> 1
      a: send z to p0 -> 2
      b: poll p0:0=x p0:1=y
      b: seek p0:0
      b: poll p0:0=x
      b: seek p0:2
      b: poll p0:2=z`,
  },
  {
    what: "a poll that failed may have taken records along",
    history: `
      a: send x to p0 -> 0
      a: send y to p0 -> 1
      b: poll p0:0=x p0:1=y
      c: seek p0:0
      c: poll -> fail
      c: poll p0:1=y`,
  },
];

describe("a correct history shows none", () => {
  test.for(clean)("$what", (example) => {
    expect(linesOf(example)).toEqual([]);
  });
});

describe("what was not read to its end is not missed", () => {
  test("nothing is unseen, and a commit without an answer may have its other half further on", () => {
    const history = `
      a: send w to p0 -> 3
      a: send x to p0 in 1 -> 4
      a: send y to p1 in 1 -> 4
      a: commit 1 -> ?
      b: poll p0:3=w p0:4=x`;
    expect(linesOf({ history, options: { isReadToEnd: false } })).toEqual([]);
  });
});
