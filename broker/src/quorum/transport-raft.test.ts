import { simulatedWorld } from "@millrace/simulator/simulated-world";
import type { SimulatedWorld } from "@millrace/simulator/simulated-world";
import type { Address } from "@millrace/base/world";
import type { NodeId } from "raft-ts-lite";
import { afterEach, describe, expect, test } from "vitest";
import { RaftNode } from "../../test/raft-node.ts";

/*
 * Three voters and a learner, each with a raft of its own, talk by real servers and connections. What raft promises is tested in its
 * own room: here it is whether what it needs gets through.
 */

const voters: ReadonlyMap<NodeId, Address> = new Map(
  [1, 2, 3].map((number) => [`${number}:disk-${number}`, { host: `node-${number}`, port: 9093 }] as const),
);
const nodes: RaftNode[] = [];
afterEach(() => {
  for (const node of nodes.splice(0)) node.kill();
});

async function cluster(seed: number): Promise<{ readonly world: SimulatedWorld; readonly learner: RaftNode }> {
  const world = simulatedWorld({ seed, latencyMs: 2 });
  let next = seed;
  for (const id of voters.keys()) nodes.push(await new RaftNode({ world, id, seed: next++, voters }).start());
  const learner = await new RaftNode({ world, id: "4:disk-4", seed: next, voters }).start();
  nodes.push(learner);
  return { world, learner };
}

function leader(): RaftNode | undefined {
  return nodes.find((node) => node.isLeader);
}

async function elected(world: SimulatedWorld, withinMs = 10_000): Promise<RaftNode> {
  await world.clock.runUntil(() => leader() !== undefined, { withinMs });
  return leader() as RaftNode;
}

const given = process.env["SEEDS"];
const seeds =
  given === undefined ? [Math.floor(performance.now() * 1000) % 1_000_000, 1, 2] : given.split(",").map(Number);

describe.for(seeds)("three that vote, and one that asks (SEED=%i)", (seed) => {
  test("one leads, entries are committed, and all have them, the learner too", async () => {
    const { world, learner } = await cluster(seed);
    const first = await elected(world);
    const texts = Array.from({ length: 50 }, (_, at) => `entry ${at}`);
    for (const text of texts) expect(first.propose(text)).toBe(true);
    await world.clock.runUntil(() => nodes.every(({ state }) => state.length === 50), { withinMs: 10_000 });
    for (const { state } of nodes) expect(state).toEqual(texts);
    expect(learner.raft.status).toMatchObject({ role: "learner", leader: first.id });
    expect(first.raft.status.others).toHaveLength(3);
    // In peace nothing is lost, and the learner hears as fast as the others.
    await world.clock.advance(20_000);
    expect(nodes.flatMap(({ lost }) => lost)).toEqual([]);
    const proposedMs = world.clock.monotonicMs();
    first.propose("late");
    await world.clock.runUntil(() => learner.state.length === 51, { withinMs: 1_000 });
    expect(world.clock.monotonicMs() - proposedMs).toBeLessThan(150);
    expect(leader()?.raft.status.term).toBe(first.raft.status.term);
  });

  test("the leader is killed and comes back: the others go on, and the learner finds the new one", async () => {
    const { world, learner } = await cluster(seed);
    const first = await elected(world);
    first.propose("before");
    await world.clock.runUntil(() => nodes.every(({ state }) => state.length === 1), { withinMs: 10_000 });
    const killedMs = world.clock.monotonicMs();
    const disk = first.kill();
    const others = nodes.filter((node) => node !== first);
    await world.clock.runUntil(() => others.every(({ lost }) => lost.includes(first.id)), { withinMs: 100 });
    expect(world.clock.monotonicMs() - killedMs).toBeLessThan(50);
    const second = await elected(world);
    expect(second).not.toBe(first);
    for (let at = 0; at < 20; at++) second.propose(`after ${at}`);
    await world.clock.runUntil(() => others.every(({ state }) => state.length === 21), { withinMs: 10_000 });
    const back = await new RaftNode({ world, id: first.id, seed: seed + 9, voters }, disk).start();
    nodes.splice(nodes.indexOf(first), 1, back);
    await world.clock.runUntil(() => back.state.length === 21, { withinMs: 10_000 });
    expect(back.state).toEqual(second.state);
    expect(learner.state).toEqual(second.state);
  });

  test("the network is cut again and again, and all end up with the same", async () => {
    const { world } = await cluster(seed);
    await elected(world);
    let proposed = 0;
    for (let rounds = 0; rounds < 20; rounds++) {
      await world.clock.advance(world.random.fraction() * 200);
      world.network.cut(() => world.random.fraction() < 0.5);
      for (let at = 0; at < 5; at++) if (leader()?.propose(`entry ${proposed}`) === true) proposed++;
    }
    expect(proposed).toBeGreaterThan(50);
    // One that does not know yet that it leads no more takes proposals in vain.
    const hasLast = ({ state }: RaftNode): boolean => state.at(-1)?.startsWith("last") === true;
    for (let tries = 0; tries < 20 && !nodes.every(hasLast); tries++) {
      leader()?.propose(`last ${tries}`);
      await world.clock.advance(1_000);
    }
    for (const node of nodes) {
      expect(hasLast(node)).toBe(true);
      expect(node.state).toEqual(nodes[0]?.state);
    }
  });
});
