import { expect } from "vitest";
import type { Entry, Limits, Message, NodeId } from "raft-ts-lite";
import { emptyDisk, Host } from "./node.ts";

export const three = ["a", "b", "c"] as const;
export const five = ["a", "b", "c", "d", "e"] as const;
/** A node of three, which never stands for election by itself unless it is ticked. */
export function node(
  given: {
    readonly terms?: readonly number[];
    readonly term?: number;
    readonly votedFor?: NodeId;
    readonly voters?: readonly NodeId[];
  } = {},
  limits: Partial<Limits> = {},
): Host {
  const { terms = [], votedFor = null, voters = three } = given;
  const disk = emptyDisk(voters);
  disk.entries = entries(1, ...terms);
  disk.hardState = { term: given.term ?? terms.at(-1) ?? 0, votedFor };
  return new Host("a", disk, () => 0, limits);
}

/** Entries of these terms; each says where it lies and of which term it is. */
export function entries(from: number, ...terms: readonly number[]): Entry[] {
  return terms.map((term, count) => ({
    kind: "data",
    index: from + count,
    term,
    data: Buffer.from(`${from + count}/${term}`),
  }));
}

export const terms = (host: Host): number[] => host.disk.entries.map(({ term }) => term);

/** The message arrives, and what the node sends then. */
export function say(host: Host, message: Message): Message[] {
  host.raft.step(message);
  return host.work();
}

export const vote = (term: number, from: NodeId, lastIndex = 0, lastTerm = 0): Message => ({
  kind: "vote",
  from,
  to: "a",
  term,
  lastIndex,
  lastTerm,
  isTransfer: false,
});

export const append = (
  term: number,
  {
    from = "b",
    prev = [0, 0] as readonly [number, number],
    entries: sent = [] as readonly Entry[],
    commitIndex = 0,
  } = {},
): Message => ({
  kind: "append",
  from,
  to: "a",
  term,
  prevIndex: prev[0],
  prevTerm: prev[1],
  entries: sent,
  commitIndex,
});

/** Makes it stand and win, by the votes of those named. */
export function crown(host: Host, ...by: readonly NodeId[]): Message[] {
  host.raft.stand();
  host.work();
  const { term } = host.raft.status;
  for (const from of by) {
    host.raft.step({ kind: "pre-vote-answer", from, to: "a", term: term + 1, isGranted: true });
  }
  host.work();
  for (const from of by)
    host.raft.step({ kind: "vote-answer", from, to: "a", term: host.raft.status.term, isGranted: true });
  expect(host.raft.status.role).toBe("leader");
  return host.work();
}

export function taken(host: Host, from: NodeId, matchIndex: number): Message[] {
  const { term } = host.raft.status;
  return say(host, { kind: "append-answer", from, to: "a", term, outcome: { isTaken: true, matchIndex } });
}
