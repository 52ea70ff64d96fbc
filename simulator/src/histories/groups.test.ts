import { describe, expect, test } from "vitest";
import { groupViolationKinds } from "./findings.ts";
import type { GroupViolationKind } from "./findings.ts";
import { linesOf } from "./script.ts";
import type { Example } from "./script.ts";

const planted: Readonly<Record<GroupViolationKind, readonly Example[]>> = {
  "two owners": [
    {
      what: "assigned to another right after a commit of its owner",
      options: { sessionTimeoutMs: 10_000 },
      history: `
        a: assigned p0
        a: offsets p0:1 -> ok
        a: wait 9000
        c: assigned p0`,
      found: "two owners: p-0 of g was assigned to c while a owned it, 9002 ms after its commit was accepted",
    },
  ],
  "stale commit": [
    {
      what: "accepted after the partition went to another",
      history: `
        a: assigned p0
        a: wait 60000
        c: assigned p0
        a: offsets p0:5 -> ok`,
      found: "stale commit: a of g committed p-0@5 after it had been assigned to c",
    },
    {
      what: "in a transaction",
      history: `
        a: assigned p0
        c: assigned p0
        a: send x to p1 in 1 -> 0
        a: offsets in 1 p0:5 -> ok
        a: abort 1 -> ok`,
      found: "stale commit: a of g committed p-0@5 after it had been assigned to c",
    },
  ],
  "position before commit": [
    {
      what: "a member begins before what was committed",
      history: `
        a: assigned p0
        a: offsets p0:5 -> ok
        a: revoked p0
        c: assigned p0
        c: position p0:4`,
      found: "position before commit: c of g goes on at p-0@4, though 5 had been committed",
    },
    {
      what: "or before what a transaction committed",
      history: `
        a: assigned p0
        a: offsets in 1 p0:5 -> ok
        a: commit 1 -> ok
        a: crash
        c: assigned p0
        c: position p0:0`,
      found: "position before commit: c of g goes on at p-0@0, though 5 had been committed",
    },
  ],
  "position beyond commits": [
    {
      what: "a member begins after all that was committed",
      history: `
        a: assigned p0
        a: offsets p0:5 -> ?
        a: offsets in 1 p0:9 -> ok
        a: abort 1 -> ok
        a: crash
        c: assigned p0
        c: position p0:9`,
      found: "position beyond commits: c of g goes on at p-0@9, though nobody had committed more than 5",
    },
  ],
  "processed twice": [
    {
      what: "two committed transactions took one record",
      history: `
        a: send x to p0 -> 0
        b: assigned p0
        b: poll in 1 p0:0=x
        b: send bx to q0 in 1 -> 0
        b: offsets in 1 p0:1 -> ok
        b: commit 1 -> ?
        b: crash
        c: assigned p0
        c: poll in 1 p0:0=x
        c: send cx to q0 in 1 -> 2
        c: offsets in 1 p0:1 -> ok
        c: commit 1 -> ok
        d: poll q0:0=bx q0:2=cx`,
      found: "processed twice: p-0@0 was taken by transaction 1 of b, transaction 1 of c",
    },
  ],
  "never processed": [
    {
      what: "the offsets of a transaction are there, its records are not",
      history: `
        a: send x to p0 -> 0
        a: send y to p0 -> 1
        b: assigned p0
        b: poll in 1 p0:0=x
        b: send bx to q0 in 1 -> ?
        b: offsets in 1 p0:1 -> ok
        b: commit 1 -> ?
        b: crash
        c: assigned p0
        c: position p0:1
        c: poll in 1 p0:1=y
        c: send cy to q0 in 1 -> 0
        c: offsets in 1 p0:2 -> ok
        c: commit 1 -> ok
        d: poll q0:0=cy`,
      found: "never processed: g has committed 2 of p-0 and left out 0",
    },
    {
      what: "a group without transactions commits what nobody polled",
      history: `
        a: send x to p0 -> 0
        b: assigned p0
        b: offsets p0:1 -> ok
        d: poll p0:0=x`,
      found: "never processed: g has committed 1 of p-0 and left out 0",
    },
  ],
};

describe("each class is found by its name, and no other with it", () => {
  for (const kind of groupViolationKinds) {
    test.for(planted[kind])(`${kind}: $what`, (example) => {
      const lines = linesOf(example);
      expect(lines).toEqual([example.found]);
      expect(example.found?.startsWith(`${kind}: `)).toBe(true);
    });
  }
});

const clean: readonly Example[] = [
  {
    what: "a group goes on after a member's death at its last commit, and again takes what was not committed",
    history: `
      a: send x to p0 -> 0
      a: send y to p0 -> 1
      b: assigned p0
      b: position p0:0
      b: poll p0:0=x
      b: offsets p0:1 -> ok
      b: poll p0:1=y
      b: crash
      c: assigned p0
      c: position p0:1
      c: poll p0:1=y
      c: offsets p0:2 -> ok`,
  },
  {
    what: "a commit without an answer moves the group, or does not",
    history: `
      b: assigned p0 p1
      b: offsets p0:5 -> ?
      b: offsets p1:5 -> ?
      b: crash
      c: assigned p0 p1
      c: position p0:5 p1:0`,
  },
  {
    what: "a paused member keeps its partitions in mind, and its commit is refused",
    options: { sessionTimeoutMs: 10_000 },
    history: `
      b: assigned p0
      b: offsets p0:5 -> ok
      b: wait 10001
      c: assigned p0
      c: position p0:5
      b: offsets p0:6 -> fail
      b: lost p0`,
  },
];

describe("a correct history shows none", () => {
  test.for(clean)("$what", (example) => {
    expect(linesOf(example)).toEqual([]);
  });
});
