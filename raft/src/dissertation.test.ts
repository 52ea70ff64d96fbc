import { describe, expect, test } from "vitest";
import type { Entry, Message } from "raft-ts-lite";
import { Cluster, messagesOf } from "../test/cluster.ts";
import { emptyDisk, Host } from "../test/node.ts";
import { append, crown, entries, node, say, taken, three, vote } from "../test/one-node.ts";

/** Membership, snapshots, and what Ongaro's dissertation has beyond the paper; each test says where. */

test("a learner that is told to asks every voter at once; a voter has nothing to ask", () => {
  const learner = new Host("d", emptyDisk(three), () => 0, {});
  learner.work();
  learner.raft.join();
  expect(messagesOf(learner.work(), "join").map(({ to }) => to)).toEqual([...three]);
  const voter = node();
  voter.raft.join();
  expect(voter.work()).toEqual([]);
});

describe("a leader that the host misses", () => {
  test("is replaced within an election timeout, since others are voted for at once", () => {
    const cluster = new Cluster(three);
    cluster.elect("a");
    cluster.settle();
    cluster.cut("a");
    for (const id of ["b", "c"]) cluster.host(id).raft.miss("a");
    cluster.tick(10);
    expect(["b", "c"]).toContain(cluster.leader?.id);
  });

  test("is followed on by those who hear of it, and one who alone misses it disturbs nobody", () => {
    const cluster = new Cluster(three);
    const leader = cluster.elect("a");
    cluster.settle();
    const { term } = leader.raft.status;
    cluster.host("b").raft.miss("a");
    cluster.tick(40);
    expect(cluster.leader?.id).toBe("a");
    expect(leader.raft.status.term).toBe(term);
    cluster.host("b").raft.miss("c");
    expect(cluster.host("b").raft.status.leader).toBe("a");
  });
});

describe("membership (section 6; dissertation, chapter 4)", () => {
  test("a server uses the latest configuration in its log, committed or not, and goes back with it", () => {
    const host = node({ terms: [1] });
    const grown: Entry = { kind: "configuration", index: 2, term: 1, configuration: { voters: [...three, "d"] } };
    say(host, append(1, { prev: [1, 1], entries: [grown] }));
    expect(host.raft.status.voters).toEqual([...three, "d"]);
    say(host, append(2, { from: "c", prev: [1, 1], entries: entries(2, 2) }));
    expect(host.raft.status.voters).toEqual(three);
  });

  test("one voter at a time: the next change waits until the one before is committed, and for an entry of this term", () => {
    const cluster = new Cluster(three, { learners: ["d", "e"] });
    const leader = cluster.elect("a");
    cluster.tick(2);
    expect(leader.raft.change({ kind: "add", node: "d" })).toBe(2);
    expect(leader.raft.change({ kind: "add", node: "e" })).toBe("change-pending");
    cluster.settle();
    expect(leader.raft.status.voters).toEqual(["a", "b", "c", "d"]);
    expect(leader.raft.change({ kind: "add", node: "e" })).toBe(3);
    const fresh = node({ terms: [1] });
    crown(fresh, "b");
    expect(fresh.raft.change({ kind: "remove", node: "c" })).toBe("change-pending");
  });

  test("a node votes after it has caught up, and not before", () => {
    const cluster = new Cluster(three, { learners: ["d"] });
    const leader = cluster.elect("a");
    cluster.cut("d");
    cluster.propose(...Array.from({ length: 200 }, (_, index) => `${index}`));
    cluster.settle();
    expect(leader.raft.change({ kind: "add", node: "d" })).toBe("not-caught-up");
    expect(leader.raft.change({ kind: "add", node: "nobody" })).toBe("not-caught-up");
    cluster.heal();
    cluster.tick(12);
    expect(cluster.host("d").state.length).toBe(200);
    expect(leader.raft.change({ kind: "add", node: "d" })).toBeTypeOf("number");
  });

  test("a removed leader leads until that is committed by those who stay, without counting itself", () => {
    const cluster = new Cluster(three);
    const leader = cluster.elect("a");
    cluster.tick(1);
    expect(leader.raft.change({ kind: "remove", node: "a" })).toBe(2);
    expect(leader.raft.status.role).toBe("leader");
    cluster.settle();
    expect(leader.raft.status.role).toBe("learner");
    expect(leader.events).toContainEqual({ kind: "resigns", term: 1, reason: "removed" });
    cluster.tick(40);
    expect(["b", "c"]).toContain(cluster.leader?.id);
    expect(cluster.leader?.raft.status.voters).toEqual(["b", "c"]);
  });

  test("one who was removed and did not hear of it is told, when it stands in vain", () => {
    const cluster = new Cluster(three);
    const leader = cluster.elect("a");
    cluster.tick(1);
    cluster.cut("c");
    leader.raft.change({ kind: "remove", node: "c" });
    cluster.tick(25);
    cluster.heal();
    cluster.tick(40);
    expect(cluster.host("c").raft.status).toMatchObject({ role: "learner", leader: "a", voters: ["a", "b"] });
    expect(leader.raft.status).toMatchObject({ role: "leader", term: 1 });
  });

  test("one who is being removed may be needed as leader until that is committed: who stays may lack what it has", () => {
    const disks = [emptyDisk(["a", "b"]), emptyDisk(["a", "b"])] as const;
    disks[0].entries = [
      ...entries(1, 1),
      { kind: "configuration", index: 2, term: 1, configuration: { voters: ["b"] } },
    ];
    disks[1].entries = entries(1, 1);
    for (const disk of disks) disk.hardState = { term: 1, votedFor: null };
    const cluster = new Cluster(["a", "b"]);
    cluster.hosts.set("a", new Host("a", disks[0], () => 0));
    cluster.hosts.set("b", new Host("b", disks[1], () => 0.9));
    cluster.tick(100);
    expect(cluster.host("b").raft.status).toMatchObject({ role: "leader", voters: ["b"] });
    expect(cluster.host("a").raft.status.role).toBe("learner");
    expect(cluster.host("a").events.some(({ kind }) => kind === "leads")).toBe(true);
  });

  test("the last voter cannot be removed", () => {
    const host = node({ voters: ["a"] });
    crown(host);
    expect(host.raft.change({ kind: "remove", node: "a" })).toBe("last-voter");
    expect(host.raft.change({ kind: "remove", node: "b" })).toBe("no-change");
    expect(host.raft.change({ kind: "add", node: "a" })).toBe("no-change");
  });

  test("a server that hears its leader disregards requests for votes: removed servers do not disturb", () => {
    const host = node();
    say(host, append(1, { from: "b" }));
    expect(say(host, vote(7, "c", 99, 6))).toEqual([]);
    expect(host.raft.status.term).toBe(1);
    const asked: Message = { kind: "pre-vote", from: "c", to: "a", term: 7, lastIndex: 99, lastTerm: 6 };
    expect(messagesOf(say(host, asked), "pre-vote-answer")).toMatchObject([{ isGranted: false, term: 1 }]);
    for (let ticks = 0; ticks < 10; ticks++) host.raft.tick();
    expect(messagesOf(say(host, vote(7, "c", 99, 6)), "vote-answer")).toMatchObject([{ isGranted: true }]);
  });

  test("who has no vote follows, and never stands", () => {
    const cluster = new Cluster(three, { learners: ["d"] });
    cluster.elect("a");
    cluster.propose("x");
    cluster.tick(2);
    expect(cluster.host("d").state).toEqual(["x"]);
    cluster.cut("a", "b", "c");
    cluster.host("d").raft.stand();
    cluster.tick(100);
    expect(cluster.host("d").raft.status).toMatchObject({ role: "learner", term: 1 });
  });

  test("a node that comes back with another disk is another node, and does not count for the one it was", () => {
    const cluster = new Cluster(three);
    cluster.elect("a");
    cluster.cut("c");
    cluster.propose("x");
    cluster.settle();
    cluster.cut("b");
    cluster.heal();
    cluster.cut("a", "b");
    const disk = emptyDisk(three);
    cluster.hosts.set("c'", new Host("c'", disk, () => 0));
    cluster.hosts.delete("c");
    cluster.tick(100);
    expect(cluster.host("c'").raft.status.role).toBe("learner");
  });
});

/** A leader a whose log begins with a snapshot, and c, which has nothing of what that stands for. */
function behindSnapshot(): Cluster {
  const cluster = new Cluster(three, { limits: { chunkBytesMax: 7 } });
  cluster.elect("a");
  cluster.cut("c");
  for (let count = 0; count < 10; count++) cluster.propose(`value ${count}`);
  cluster.settle();
  cluster.host("a").compact();
  cluster.heal();
  return cluster;
}

describe("snapshots (section 7)", () => {
  test("a follower whose entries are gone gets the snapshot, in chunks, and what follows it", () => {
    const cluster = behindSnapshot();
    cluster.propose("after");
    cluster.tick(5);
    expect(cluster.host("c").state).toEqual(cluster.host("a").state);
    expect(cluster.host("c").disk.snapshot.index).toBe(11);
  });

  test("one that is damaged on the way is refused, and fetched again", () => {
    const cluster = behindSnapshot();
    let refusals = 0;
    cluster.host("c").isIntact = () => ++refusals > 3;
    cluster.tick(10);
    expect(refusals).toBe(4);
    expect(cluster.host("c").state).toEqual(cluster.host("a").state);
  });

  test("a configuration that only the snapshot has is in force", () => {
    const cluster = new Cluster(three, { learners: ["d"] });
    const leader = cluster.elect("a");
    cluster.tick(2);
    cluster.cut("c");
    leader.raft.change({ kind: "add", node: "d" });
    cluster.tick(2);
    cluster.propose("x");
    cluster.tick(2);
    leader.compact();
    cluster.heal();
    cluster.tick(5);
    expect(cluster.host("c").disk.entries.some(({ kind }) => kind === "configuration")).toBe(false);
    expect(cluster.host("c").raft.status.voters).toEqual(["a", "b", "c", "d"]);
    expect(new Host("c", cluster.host("c").disk, () => 0).raft.status.voters).toEqual(["a", "b", "c", "d"]);
  });
});

describe("beyond the paper (dissertation)", () => {
  test("a leader that hears no majority gives up (section 6.2)", () => {
    const cluster = new Cluster(three);
    const leader = cluster.elect("a");
    cluster.cut("a");
    cluster.tick(25);
    expect(leader.raft.status.role).not.toBe("leader");
    expect(leader.events).toContainEqual({ kind: "resigns", term: 1, reason: "no-quorum" });
    // And it did not raise its term meanwhile (section 9.6): when it comes back, nobody is disturbed.
    expect(leader.raft.status.term).toBe(1);
    const { leader: next } = cluster;
    cluster.heal();
    cluster.tick(5);
    expect(cluster.leader).toBe(next);
    expect(leader.raft.status).toMatchObject({ role: "follower", leader: next?.id });
  });

  test("the lead is given to another without a silence (section 3.10)", () => {
    const cluster = new Cluster(three);
    const leader = cluster.elect("a");
    cluster.cut("b");
    cluster.propose("x");
    cluster.settle();
    cluster.heal();
    expect(leader.raft.transferTo("b")).toBeNull();
    expect(leader.raft.propose([Buffer.from("y")])).toBe("transferring");
    cluster.tick(2);
    expect(cluster.leader?.id).toBe("b");
    expect(cluster.host("b").state).toEqual(["x"]);
  });

  test("a transfer to somebody who is not there ends of itself", () => {
    const cluster = new Cluster(three);
    const leader = cluster.elect("a");
    cluster.cut("b");
    expect(leader.raft.transferTo("b")).toBeNull();
    cluster.tick(10);
    expect(leader.raft.propose([Buffer.from("y")])).toBeTypeOf("number");
    expect(leader.raft.transferTo("a")).toBe("no-change");
  });

  test("a read waits for a majority that still follows (section 6.4)", () => {
    const cluster = new Cluster(three);
    const leader = cluster.elect("a");
    cluster.propose("x");
    cluster.settle();
    leader.raft.read(1);
    cluster.settle();
    expect(leader.reads).toEqual([{ token: 1, index: 2 }]);
    // One that was deposed and does not know it answers nothing.
    cluster.cut("a");
    leader.raft.read(2);
    cluster.tick(9);
    expect(leader.reads.length).toBe(1);
    cluster.tick(20);
    expect(leader.reads[1]).toEqual({ token: 2, index: null });
  });

  test("a read begins where an entry of the leader's own term is committed", () => {
    const host = node({ terms: [1] });
    crown(host, "b");
    host.raft.read(1);
    say(host, { kind: "heartbeat-answer", from: "b", to: "a", term: 2, round: 99 });
    expect(host.reads).toEqual([]);
    taken(host, "b", 2);
    say(host, { kind: "heartbeat-answer", from: "b", to: "a", term: 2, round: 99 });
    expect(host.reads).toEqual([{ token: 1, index: 2 }]);
  });

  test("a follower asks its leader", () => {
    const cluster = new Cluster(three, { learners: ["d"] });
    cluster.elect("a");
    cluster.propose("x");
    cluster.tick(2);
    for (const id of ["b", "d"]) {
      cluster.host(id).raft.read(5);
      cluster.settle();
      expect(cluster.host(id).reads).toEqual([{ token: 5, index: 2 }]);
    }
  });
});

describe("limits", () => {
  test("what is not committed is bounded", () => {
    const host = node({}, { uncommittedBytesMax: 100 });
    crown(host, "b");
    // One may be larger than all.
    expect(host.raft.propose([Buffer.alloc(500)])).toBe(2);
    expect(host.raft.propose([Buffer.alloc(1)])).toBe("full");
    host.work();
    taken(host, "b", 2);
    expect(host.raft.propose([Buffer.alloc(1)])).toBe(3);
  });

  test("so many messages are under way to a follower that does not answer", () => {
    const host = node({}, { inFlightMax: 3, messageBytesMax: 1 });
    crown(host, "b");
    taken(host, "b", 1);
    for (let count = 0; count < 10; count++) host.raft.propose([Buffer.from("x")]);
    const sent = messagesOf(host.work(), "append").filter(({ to }) => to === "b");
    expect(sent.map(({ entries: list }) => list.map(({ index }) => index))).toEqual([[2], [3], [4]]);
    const more = messagesOf(taken(host, "b", 3), "append").filter(({ to }) => to === "b");
    expect(more.flatMap(({ entries: list }) => list.map(({ index }) => index))).toEqual([5, 6]);
  });

  test("a voter that says that it lost what it had acknowledged is told of", () => {
    const host = node();
    crown(host, "b");
    taken(host, "b", 1);
    const outcome = { isTaken: false, prevIndex: 1, hintIndex: 0, hintTerm: 0 } as const;
    const contradict = (times: number): void => {
      for (let left = times; left > 0; left--)
        say(host, { kind: "append-answer", from: "b", to: "a", term: 1, outcome });
    };
    // One may be late.
    contradict(20);
    taken(host, "b", 1);
    contradict(40);
    expect(host.events.some(({ kind }) => kind === "forgetful")).toBe(false);
    contradict(40);
    expect(host.events).toContainEqual({ kind: "forgetful", node: "b", hadIndex: 1, hasIndex: 0 });
  });

  test("a learner whose disk was changed under its name is served from the beginning", () => {
    const cluster = new Cluster(three, { learners: ["d"] });
    cluster.elect("a");
    cluster.propose("x", "y");
    cluster.tick(2);
    expect(cluster.host("d").state).toEqual(["x", "y"]);
    cluster.hosts.set("d", new Host("d", emptyDisk(three), () => 0));
    cluster.tick(200);
    expect(cluster.host("d").state).toEqual(["x", "y"]);
  });
});
