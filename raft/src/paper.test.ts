import { describe, expect, test } from "vitest";
import type { Message, NodeId } from "raft-ts-lite";
import { Cluster, messagesOf } from "../test/cluster.ts";
import { emptyDisk, Host } from "../test/node.ts";
import { append, crown, entries, five, node, say, taken, terms, three, vote } from "../test/one-node.ts";

/**
 * The sentences of the paper from which its safety follows, each with what this library does. Those of sections 6 and 7, and of what
 * goes beyond the paper, are in dissertation.test.ts.
 */

describe("terms (section 5.1)", () => {
  test("if one server's current term is smaller than the other's, it updates to the larger value", () => {
    for (const role of ["follower", "candidate", "leader"] as const) {
      const host = node({ term: 2 });
      if (role === "candidate") host.raft.stand();
      if (role === "leader") crown(host, "b");
      say(host, append(9, { from: "c" }));
      expect(host.raft.status).toMatchObject({ role: "follower", term: 9, leader: "c" });
      expect(host.disk.hardState).toEqual({ term: 9, votedFor: null });
    }
  });

  test("a request with a stale term is rejected, and who sent it learns the term", () => {
    const host = node({ terms: [1, 3] });
    const answers = say(host, append(2, { prev: [1, 1], entries: entries(2, 2) }));
    expect(answers).toEqual([{ kind: "heartbeat-answer", from: "a", to: "b", term: 3, round: 0 }]);
    expect(terms(host)).toEqual([1, 3]);
    expect(say(host, vote(2, "c", 9, 9))).toEqual([
      { kind: "vote-answer", from: "a", to: "c", term: 3, isGranted: false },
    ]);
    const leader = node();
    crown(leader, "b");
    say(leader, { kind: "heartbeat-answer", from: "c", to: "a", term: 7, round: 0 });
    expect(leader.raft.status).toMatchObject({ role: "follower", term: 7 });
  });
});

describe("elections (section 5.2)", () => {
  test("servers begin as followers, and stay so as long as they hear a leader", () => {
    const host = node();
    for (let ticks = 0; ticks < 100; ticks++) {
      host.raft.tick();
      say(host, { kind: "heartbeat", from: "b", to: "a", term: 1, commitIndex: 0, round: ticks });
      expect(host.raft.status.role).toBe("follower");
    }
  });

  test("a follower that hears nothing stands: it votes for itself, in a new term, and asks all others", () => {
    const host = node({ terms: [1] }, { electionTicks: 4 });
    for (let ticks = 0; ticks < 3; ticks++) host.raft.tick();
    expect(host.work()).toEqual([]);
    host.raft.tick();
    // First it asks whether it would win (dissertation, section 9.6): its term stays.
    expect(messagesOf(host.work(), "pre-vote")).toEqual(
      ["b", "c"].map((to) => ({ kind: "pre-vote", from: "a", to, term: 2, lastIndex: 1, lastTerm: 1 })),
    );
    expect(host.disk.hardState.term).toBe(1);
    const asked = say(host, { kind: "pre-vote-answer", from: "b", to: "a", term: 2, isGranted: true });
    expect(asked).toEqual(
      ["b", "c"].map((to) => ({ kind: "vote", from: "a", to, term: 2, lastIndex: 1, lastTerm: 1, isTransfer: false })),
    );
    expect(host.disk.hardState).toEqual({ term: 2, votedFor: "a" });
  });

  test.for([
    { voters: 1, granted: 0, refused: 0, role: "leader" },
    { voters: 3, granted: 0, refused: 0, role: "candidate" },
    { voters: 3, granted: 1, refused: 0, role: "leader" },
    { voters: 3, granted: 0, refused: 1, role: "candidate" },
    { voters: 3, granted: 0, refused: 2, role: "follower" },
    { voters: 4, granted: 1, refused: 0, role: "candidate" },
    { voters: 4, granted: 2, refused: 0, role: "leader" },
    { voters: 5, granted: 1, refused: 2, role: "candidate" },
    { voters: 5, granted: 2, refused: 2, role: "leader" },
    { voters: 5, granted: 1, refused: 3, role: "follower" },
  ])("a majority of the full cluster wins: %j", ({ voters, granted, refused, role }) => {
    const names = five.slice(0, voters === 4 ? 4 : voters);
    const host = node({ voters: names });
    host.raft.stand();
    for (const from of names.slice(1)) {
      host.raft.step({ kind: "pre-vote-answer", from, to: "a", term: 1, isGranted: true });
    }
    for (const [place, from] of names.slice(1).entries()) {
      if (place >= granted + refused) break;
      host.raft.step({ kind: "vote-answer", from, to: "a", term: 1, isGranted: place < granted });
    }
    expect(host.raft.status).toMatchObject({ role, term: 1 });
  });

  test("a vote counts once, for its term, and only of a voter", () => {
    const host = node({ voters: five });
    host.raft.stand();
    for (const from of ["b", "c"]) host.raft.step({ kind: "pre-vote-answer", from, to: "a", term: 1, isGranted: true });
    for (const from of ["b", "b", "b", "stranger"]) {
      host.raft.step({ kind: "vote-answer", from, to: "a", term: 1, isGranted: true });
    }
    expect(host.raft.status.role).toBe("candidate");
    host.raft.stand();
    for (const from of ["b", "c"]) host.raft.step({ kind: "pre-vote-answer", from, to: "a", term: 2, isGranted: true });
    host.raft.step({ kind: "vote-answer", from: "c", to: "a", term: 1, isGranted: true });
    host.raft.step({ kind: "vote-answer", from: "d", to: "a", term: 2, isGranted: true });
    expect(host.raft.status).toMatchObject({ role: "candidate", term: 2 });
  });

  test("each server votes for at most one candidate in a term, first come, first served; also after a crash", () => {
    const host = node();
    const isGranted = (messages: readonly Message[]): boolean[] =>
      messagesOf(messages, "vote-answer").map((answer) => answer.isGranted);
    expect(isGranted(say(host, vote(1, "b")))).toEqual([true]);
    expect(isGranted(say(host, vote(1, "c")))).toEqual([false]);
    expect(isGranted(say(host, vote(1, "b")))).toEqual([true]);
    const again = new Host("a", host.disk, () => 0);
    expect(isGranted(say(again, vote(1, "c")))).toEqual([false]);
    expect(isGranted(say(again, vote(2, "c")))).toEqual([true]);
  });

  test("a vote is on the disk before anybody hears of it", () => {
    const host = node();
    host.raft.step(vote(1, "b"));
    const ready = host.raft.ready();
    expect(ready?.hardState).toEqual({ term: 1, votedFor: "b" });
    expect(ready?.messages.map(({ kind }) => kind)).toEqual(["vote-answer"]);
    // Nothing more is given out until that is done.
    expect(host.raft.ready()).toBeNull();
  });

  test("once a candidate wins, it sends heartbeats to all others", () => {
    const host = node({ voters: five });
    const sent = crown(host, "b", "c");
    expect(messagesOf(sent, "heartbeat").map(({ to }) => to)).toEqual(["b", "c", "d", "e"]);
  });

  test("a candidate that hears of a leader of its term follows it; one of an earlier term is refused", () => {
    const host = node({ term: 4 });
    host.raft.stand();
    host.raft.step({ kind: "pre-vote-answer", from: "b", to: "a", term: 5, isGranted: true });
    host.work();
    say(host, append(4, { from: "c" }));
    expect(host.raft.status).toMatchObject({ role: "candidate", term: 5 });
    say(host, append(5, { from: "c" }));
    expect(host.raft.status).toMatchObject({ role: "follower", term: 5, leader: "c" });
  });

  test("election timeouts are random, between one and two times the least", () => {
    const seen = new Set<number>();
    for (let fraction = 0; fraction < 1; fraction += 0.05) {
      const host = new Host("a", emptyDisk(three), () => fraction);
      let ticks = 0;
      while (host.raft.status.role === "follower") {
        host.raft.tick();
        ticks++;
      }
      expect(ticks).toBeGreaterThanOrEqual(10);
      expect(ticks).toBeLessThan(20);
      seen.add(ticks);
    }
    expect(seen.size).toBe(10);
  });
});

describe("the log (section 5.3)", () => {
  test("the leader appends to its own log, and sends it to all others in parallel", () => {
    const host = node();
    crown(host, "b");
    for (const from of ["b", "c"]) taken(host, from, 1);
    expect(host.raft.propose([Buffer.from("x")])).toBe(2);
    const ready = host.raft.ready();
    expect(ready?.entries.map(({ index }) => index)).toEqual([2]);
    expect(messagesOf(ready?.messages ?? [], "append").map(({ to, prevIndex }) => [to, prevIndex])).toEqual([
      ["b", 1],
      ["c", 1],
    ]);
  });

  test("an entry is committed once a majority has it on disk; the leader's own disk counts when it has it", () => {
    const host = node({ voters: five });
    crown(host, "b", "c");
    host.raft.propose([Buffer.from("x")]);
    const ready = host.raft.ready();
    const { term } = host.raft.status;
    const step = (from: NodeId): void =>
      host.raft.step({ kind: "append-answer", from, to: "a", term, outcome: { isTaken: true, matchIndex: 2 } });
    step("b");
    step("c");
    // Its own disk is not so far.
    expect(host.raft.status.committedIndex).toBe(1);
    host.persist(ready!);
    host.finish(ready!);
    expect(host.raft.status.committedIndex).toBe(2);
  });

  test("this commits all that is before it, of earlier leaders too, and is applied in order", () => {
    const host = node({ terms: [1, 1, 2] });
    crown(host, "b");
    taken(host, "b", 4);
    expect(host.raft.status.committedIndex).toBe(4);
    expect(host.state).toEqual(["1/1", "2/1", "3/2"]);
  });

  test("a follower applies what it learns to be committed, in order, and no more than it has of this leader", () => {
    const host = node({ terms: [1, 1, 1] });
    // The third may be another's.
    say(host, append(2, { prev: [1, 1], entries: entries(2, 1), commitIndex: 3 }));
    expect(host.state).toEqual(["1/1", "2/1"]);
    say(host, append(2, { prev: [2, 1], entries: entries(3, 2), commitIndex: 3 }));
    expect(host.state).toEqual(["1/1", "2/1", "3/2"]);
    expect(terms(host)).toEqual([1, 1, 2]);
  });

  test.for([
    { prev: [1, 1], isTaken: true },
    { prev: [2, 2], isTaken: true },
    { prev: [1, 2], isTaken: false, hint: [1, 1] },
    { prev: [2, 1], isTaken: false, hint: [1, 1] },
    { prev: [3, 3], isTaken: false, hint: [2, 2] },
    { prev: [9, 1], isTaken: false, hint: [1, 1] },
  ] as const)("entries that do not follow one that both have are refused: %j", (row) => {
    const host = node({ terms: [1, 2], term: 3 });
    const [answer] = messagesOf(say(host, append(3, { prev: row.prev })), "append-answer");
    if (row.isTaken) expect(answer?.outcome).toEqual({ isTaken: true, matchIndex: row.prev[0] });
    else {
      const [hintIndex, hintTerm] = row.hint;
      expect(answer?.outcome).toEqual({ isTaken: false, prevIndex: row.prev[0], hintIndex, hintTerm });
    }
  });

  test("what is in the log already is left as it is, whatever comes late or twice", () => {
    const host = node({ terms: [1, 1, 1] });
    const late = append(1, { prev: [0, 0], entries: entries(1, 1) });
    const [answer] = messagesOf(say(host, late), "append-answer");
    expect(answer?.outcome).toEqual({ isTaken: true, matchIndex: 1 });
    expect(terms(host)).toEqual([1, 1, 1]);
  });

  /** Figure 7: the leader of term 8 has 1 1 1 4 4 5 5 6 6 6. */
  test.for([
    ["a", [1, 1, 1, 4, 4, 5, 5, 6, 6]],
    ["b", [1, 1, 1, 4]],
    ["c", [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6]],
    ["d", [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7]],
    ["e", [1, 1, 1, 4, 4, 4, 4]],
    ["f", [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3]],
  ] as const)("conflicting entries of a follower are overwritten: figure 7 (%s)", ([, theirs]) => {
    const ofLeader = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
    const cluster = new Cluster(["x", "y", "z"]);
    for (const [id, log] of [
      ["x", ofLeader],
      ["y", theirs],
      ["z", ofLeader],
    ] as const) {
      const disk = emptyDisk(["x", "y", "z"]);
      disk.entries = entries(1, ...log);
      disk.hardState = { term: 7, votedFor: null };
      cluster.hosts.set(id, new Host(id, disk, () => (id === "x" ? 0 : 0.9)));
    }
    cluster.elect("x");
    cluster.tick(3);
    expect(terms(cluster.host("x"))).toEqual([...ofLeader, 8]);
    expect(terms(cluster.host("y"))).toEqual([...ofLeader, 8]);
    expect(cluster.host("y").state).toEqual(cluster.host("x").state);
  });

  test("a leader never overwrites or deletes entries of its own log", () => {
    const host = node({ terms: [1, 2] });
    crown(host, "b");
    const before = terms(host);
    for (const from of ["b", "c"]) {
      const outcome = { isTaken: false, prevIndex: 2, hintIndex: 0, hintTerm: 0 } as const;
      say(host, { kind: "append-answer", from, to: "a", term: host.raft.status.term, outcome });
    }
    expect(terms(host)).toEqual(before);
    expect(() => host.raft.step(append(host.raft.status.term, { from: "b" }))).toThrow("b and a both lead in term 3");
  });
});

describe("who may lead (section 5.4)", () => {
  test.for([
    { own: [1], last: [1, 1], isGranted: true },
    { own: [1], last: [2, 1], isGranted: true },
    { own: [1, 1], last: [1, 1], isGranted: false },
    { own: [1], last: [1, 2], isGranted: true },
    { own: [1, 1], last: [1, 2], isGranted: true },
    { own: [2], last: [9, 1], isGranted: false },
    { own: [1, 2], last: [1, 1], isGranted: false },
  ] as const)("a voter denies its vote if its own log is more up to date: %j", ({ own, last, isGranted }) => {
    const [answer] = messagesOf(say(node({ terms: own }), vote(3, "b", last[0], last[1])), "vote-answer");
    expect(answer?.isGranted).toBe(isGranted);
    const asked: Message = { kind: "pre-vote", from: "b", to: "a", term: 3, lastIndex: last[0], lastTerm: last[1] };
    expect(messagesOf(say(node({ terms: own }), asked), "pre-vote-answer")[0]?.isGranted).toBe(isGranted);
  });

  test("only entries of the leader's own term are committed by counting (figure 8)", () => {
    const host = node({ terms: [1, 2], term: 3, voters: five });
    crown(host, "b", "c");
    // Of term 2 and on a majority: a leader of term 3 elsewhere could still overwrite it.
    taken(host, "b", 2);
    taken(host, "c", 2);
    expect(host.raft.status.committedIndex).toBe(0);
    taken(host, "b", 3);
    expect(host.raft.status.committedIndex).toBe(0);
    taken(host, "c", 3);
    expect(host.raft.status.committedIndex).toBe(3);
  });

  test("a committed entry is in the logs of all later leaders", () => {
    const cluster = new Cluster(five);
    cluster.elect("a");
    cluster.cut("d", "e");
    cluster.propose("x");
    cluster.tick(2);
    expect(cluster.host("a").state).toEqual(["x"]);
    cluster.heal();
    cluster.cut("a");
    // Those who do not have it are not elected, however often they try.
    for (let tries = 0; tries < 5; tries++) {
      cluster.host("d").raft.stand();
      cluster.settle();
      expect(cluster.host("d").raft.status.role).not.toBe("leader");
      cluster.tick(1);
    }
    cluster.tick(40);
    expect(["b", "c"]).toContain(cluster.leader?.id);
    expect(cluster.leader?.state).toEqual(["x"]);
  });
});
