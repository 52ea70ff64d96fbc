import { describe, expect, test } from "vitest";
import type { Message } from "raft-ts-lite";
import { Cluster, messagesOf } from "../test/cluster.ts";
import { emptyDisk, Host, rot } from "../test/node.ts";
import { append, crown, entries, node, say, taken, three, vote } from "../test/one-node.ts";

/**
 * A voter whose disk has lost entries, and has its term and its vote. What it may do follows from one sentence: whoever votes without
 * what it has acknowledged may elect a leader that lacks what is committed (PAR, FAST '18).
 */

/** In term 3 it had three entries, and has none now. */
function spoilt(random: () => number = () => 0.5): Host {
  const disk = emptyDisk(three);
  disk.entries = entries(1, 1, 2, 3);
  disk.hardState = { term: 3, votedFor: null };
  rot(disk, three);
  return new Host("a", disk, random, {});
}

const token = Math.floor(0.5 * Number.MAX_SAFE_INTEGER);
const heartbeat = (term: number, commitIndex = 0): Message => ({
  ...{ kind: "heartbeat", from: "b", to: "a", term, commitIndex, round: 1 },
});
const endsAt = (term: number, endIndex: number, by = token): Message => ({
  ...{ kind: "recover-answer", from: "b", to: "a", term, token: by, endIndex },
});

describe("a voter that has lost entries", () => {
  test("keeps its term and its vote", () => {
    const host = spoilt();
    expect(host.raft.status).toMatchObject({ term: 3, lastIndex: 0, isRecovering: true, role: "follower" });
    // A leader of a term that is over counts for nothing with it.
    expect(messagesOf(say(host, append(2)), "heartbeat-answer")).toHaveLength(1);
    expect(host.raft.status).toMatchObject({ term: 3, leader: null });
  });

  test("gives no vote and no pre-vote, however long the other's log is, and takes over the term all the same", () => {
    const host = spoilt();
    const asked = { ...vote(4, "b", 9, 3), kind: "pre-vote" } as Message;
    expect(messagesOf(say(host, asked), "pre-vote-answer")).toMatchObject([{ isGranted: false }]);
    expect(messagesOf(say(host, vote(4, "b", 9, 3)), "vote-answer")).toMatchObject([{ isGranted: false, term: 4 }]);
    expect(host.disk.hardState).toEqual({ term: 4, votedFor: null });
  });

  test("does not stand: not in silence, nor when its host or a leader asks it to", () => {
    const host = spoilt();
    for (let ticks = 0; ticks < 100; ticks++) host.raft.tick();
    host.raft.stand();
    host.raft.step({ kind: "time-out-now", from: "b", to: "a", term: 3 });
    const messages = host.work();
    expect(new Set(messages.map(({ kind }) => kind))).toEqual(new Set(["join"]));
    expect(host.raft.status).toMatchObject({ role: "follower", term: 3 });
  });

  test("asks whom it follows where its log ends, and does not take a heartbeat's word for what it has", () => {
    const host = spoilt();
    const asked = messagesOf(say(host, heartbeat(3, 3)), "recover");
    expect(asked).toEqual([{ kind: "recover", from: "a", to: "b", term: 3, token, lastIndex: 0 }]);
    expect(host.raft.status.committedIndex).toBe(0);
  });

  test("votes again when its log is the leader's up to that end, on its own disk", () => {
    const host = spoilt();
    say(host, heartbeat(3));
    say(host, endsAt(3, 3));
    say(host, append(3, { entries: entries(1, 1, 2) }));
    expect(host.raft.status.isRecovering).toBe(true);
    host.raft.step(append(3, { prev: [2, 2], entries: entries(3, 3) }));
    const ready = host.raft.ready();
    expect(host.raft.status.isRecovering).toBe(true);
    if (ready === null) throw new Error("nothing is to be written");
    host.persist(ready);
    host.finish(ready);
    expect(host.raft.status.isRecovering).toBe(false);
    host.work();
    expect(host.events).toContainEqual({ kind: "recovered", index: 3 });
    expect(host.disk.isRecovering).toBe(false);
    for (let ticks = 0; ticks < 10; ticks++) host.raft.tick();
    expect(messagesOf(say(host, vote(4, "c", 3, 3)), "vote-answer")).toMatchObject([{ isGranted: true }]);
  });

  test("an end that it was told in an earlier life, or by another leader, is none", () => {
    const host = spoilt();
    say(host, append(3, { entries: entries(1, 1) }));
    say(host, endsAt(3, 1, token - 1));
    expect(host.raft.status.isRecovering).toBe(true);
    say(host, append(3, { prev: [1, 1], entries: entries(2, 3) }));
    // The next leader has another second entry, and has not been asked yet.
    say(host, { ...append(5, { from: "c" }), prevIndex: 9, prevTerm: 5 } as Message);
    say(host, endsAt(3, 1));
    expect(host.raft.status.isRecovering).toBe(true);
    say(host, { ...endsAt(5, 2), from: "c" });
    expect(host.raft.status.isRecovering, "what it has is of another leader").toBe(true);
    say(host, append(5, { from: "c", prev: [1, 1], entries: entries(2, 5) }));
    expect(host.raft.status.isRecovering).toBe(false);
  });

  test("a restart in the middle of it goes on with it, under another token", () => {
    const host = spoilt(() => 0.25);
    say(host, append(3, { entries: entries(1, 1, 2) }));
    const again = new Host("a", host.disk, () => 0.75, {});
    expect(again.raft.status).toMatchObject({ isRecovering: true, lastIndex: 2 });
    const tokens = [host, again].map((each) => messagesOf(say(each, heartbeat(3)), "recover")[0]?.token);
    expect(new Set(tokens).size).toBe(2);
  });
});

describe("a leader of one that has lost entries", () => {
  const recover = (from: "b" | "c", lastIndex: number, by = 7): Message => ({
    ...{ kind: "recover", from, to: "a", term: 1, token: by, lastIndex },
  });

  test("says where its log ends, what is not committed included, and counts no more what was acknowledged", () => {
    const host = node();
    crown(host, "b");
    host.raft.propose([Buffer.from("x")]);
    host.work();
    taken(host, "c", 2);
    expect(host.raft.status.committedIndex).toBe(2);
    host.raft.propose([Buffer.from("y")]);
    host.work();
    const said = say(host, recover("c", 0));
    expect(messagesOf(said, "recover-answer")).toEqual([
      { kind: "recover-answer", from: "a", to: "c", term: 1, token: 7, endIndex: 3 },
    ]);
    expect(host.raft.status.others.find(({ id }) => id === "c")?.matchIndex).toBe(0);
    // Once for each life, unless an acknowledgement of an earlier one comes late.
    taken(host, "c", 3);
    say(host, recover("c", 3));
    expect(host.raft.status.others.find(({ id }) => id === "c")?.matchIndex).toBe(3);
    say(host, recover("c", 1));
    expect(host.raft.status.others.find(({ id }) => id === "c")?.matchIndex).toBe(0);
  });

  test("who does not lead says nothing", () => {
    const host = node({ term: 1 });
    expect(say(host, recover("c", 0))).toEqual([]);
  });
});

describe("a cluster in which an entry is committed by the leader and one that then loses it", () => {
  /** a and c have x; b, which was cut off, does not. Then c comes back without anything. */
  function withSpoilt(): Cluster {
    const cluster = new Cluster(three);
    cluster.elect("a");
    cluster.cut("b");
    cluster.propose("x");
    cluster.settle();
    expect(cluster.host("c").state).toEqual(["x"]);
    const { disk } = cluster.host("c");
    rot(disk, three);
    cluster.hosts.set("c", new Host("c", disk, () => 0.9));
    return cluster;
  }

  test("the one that lost it and the stale one elect nobody", () => {
    const cluster = withSpoilt();
    cluster.heal();
    cluster.cut("a");
    cluster.tick(200);
    expect(cluster.leader).toBeNull();
    expect(cluster.host("b").raft.status.lastIndex).toBe(1);
  });

  test("it catches up, and then its vote counts: with the stale one it elects a leader that has the entry", () => {
    const cluster = withSpoilt();
    cluster.tick(5);
    expect(cluster.host("c").raft.status.isRecovering).toBe(false);
    expect(cluster.host("c").state).toEqual(["x"]);
    cluster.heal();
    cluster.cut("a");
    for (let ticks = 0; ticks < 200 && cluster.host("c").raft.status.role !== "leader"; ticks++) cluster.tick();
    expect(cluster.host("c").raft.status.role).toBe("leader");
    cluster.tick(5);
    expect(cluster.host("b").state).toEqual(["x"]);
  });

  test("while it catches up the leader goes on with it: what it acknowledges now it has", () => {
    const cluster = withSpoilt();
    cluster.tick(1);
    cluster.propose("y");
    cluster.settle();
    expect(cluster.host("a").state).toEqual(["x", "y"]);
    expect(cluster.host("c").disk.entries.length).toBe(3);
  });

  test("the leader needs a snapshot for it", () => {
    const cluster = withSpoilt();
    cluster.host("a").compact();
    cluster.tick(5);
    expect(cluster.host("c").raft.status).toMatchObject({ isRecovering: false, committedIndex: 2 });
    expect(cluster.host("c").state).toEqual(["x"]);
  });

  test("a learner that has lost entries gets them again, too", () => {
    const cluster = new Cluster(three, { learners: ["d"] });
    cluster.elect("a");
    cluster.tick(30);
    cluster.propose("x");
    cluster.tick(2);
    const { disk } = cluster.host("d");
    expect(disk.entries.length).toBe(2);
    rot(disk, three);
    cluster.hosts.set("d", new Host("d", disk, () => 0.9));
    cluster.tick(30);
    expect(cluster.host("d").raft.status.isRecovering).toBe(false);
    expect(cluster.host("d").state).toEqual(["x"]);
  });
});
