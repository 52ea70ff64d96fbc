import { silentLogger } from "@millrace/base/logger";
import type { Address } from "@millrace/base/world";
import { SeededRandom } from "@millrace/simulator/seeded-random";
import { simulatedWorld } from "@millrace/simulator/simulated-world";
import type { SimulatedWorld } from "@millrace/simulator/simulated-world";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { raft } from "kafka-protocol-ts/messages/10001-raft";
import type { RaftRequest, RaftResponseInput } from "kafka-protocol-ts/messages/10001-raft";
import type { Message, NodeId } from "raft-ts-lite";
import { beforeEach, describe, expect, test } from "vitest";
import { FakePeer } from "../../test/fake-peer.ts";
import { serveNode } from "../../test/served-node.ts";
import { raftHandler } from "../apis/10001-raft.ts";
import type { Server } from "../network/server.ts";
import { Peers } from "../peers/peers.ts";
import { encodeMessage } from "./raft-frames.ts";
import { RaftTransport } from "./transport.ts";
import type { TransportLimits } from "./transport.ts";

const places: ReadonlyMap<NodeId, Address> = new Map(
  ["a", "b"].map((id) => [id, { host: `node-${id}`, port: 9093 }] as const),
);

const seed = Number(process.env["SEED"] ?? Math.floor(performance.now() * 1000) % 1_000_000);

let world: SimulatedWorld;
beforeEach(() => {
  world = simulatedWorld({ seed: 11, latencyMs: 1 });
});

/** A node whose raft is the test. */
class Node {
  readonly id: NodeId;
  readonly got: Message[] = [];
  readonly lost: NodeId[] = [];
  readonly unreachable: NodeId[] = [];
  readonly peers: Peers;
  readonly transport: RaftTransport;
  readonly leaders: NodeId[] = [];
  leader: NodeId | null = null;
  server: Server | null = null;
  onLeader: (node: NodeId) => void = () => undefined;
  onUnreachable: (node: NodeId) => void = () => undefined;

  constructor(id: NodeId, options: { readonly limits?: Partial<TransportLimits>; readonly clusterId?: string } = {}) {
    const { limits = {}, clusterId = "cluster-1" } = options;
    const { clock, network } = world;
    this.id = id;
    const around = { clock, random: new SeededRandom(3), logger: silentLogger };
    this.peers = new Peers({ ...around, network, clientId: id, connectTimeoutMs: 500 });
    this.transport = new RaftTransport({
      ...{ ...around, nodeId: id, clusterId, peers: this.peers, limits },
      addressOf: (node) => places.get(node) ?? null,
      onMessages: (messages) => void this.got.push(...messages),
      onConnectionLost: (node) => void this.lost.push(node),
      onUnreachable: (node) => {
        this.unreachable.push(node);
        this.onUnreachable(node);
      },
      leader: () => this.leader,
      onLeader: (node) => {
        this.leaders.push(node);
        this.onLeader(node);
      },
      fatal: (error) => {
        throw error;
      },
    });
  }

  async serve(): Promise<this> {
    const address = places.get(this.id);
    if (address === undefined) throw new Error(`${this.id} listens nowhere`);
    this.server = await serveNode({ ...world, address, handlers: [raftHandler], services: { raft: this.transport } });
    return this;
  }

  send(to: NodeId, ...rounds: readonly number[]): void {
    this.transport.send(rounds.map((round) => heartbeat(this.id, to, round)));
  }

  get rounds(): readonly number[] {
    return this.got.map((message) => (message.kind === "heartbeat" ? message.round : -1));
  }

  kill(): void {
    this.transport.close();
    this.peers.close();
    void this.server?.close(0);
  }
}

function heartbeat(from: NodeId, to: NodeId, round: number): Message {
  return { kind: "heartbeat", from, to, term: 1, commitIndex: 0, round };
}

function entries(from: NodeId, to: NodeId, index: number, sizeBytes = 10): Message {
  const entry = { kind: "data", index, term: 1, data: Buffer.alloc(sizeBytes, index) } as const;
  return { kind: "append", from, to, term: 1, prevIndex: index - 1, prevTerm: 1, commitIndex: 0, entries: [entry] };
}

function until(condition: () => boolean, withinMs = 5_000): Promise<void> {
  return world.clock.runUntil(condition, { withinMs });
}

describe("to a node with an address", () => {
  test("messages come in order, whatever they are sent in", async () => {
    const [a, b] = [await new Node("a").serve(), await new Node("b").serve()];
    a.send("b", 1, 2);
    a.send("b", 3);
    await until(() => b.got.length === 3);
    for (let round = 4; round < 200; round++) {
      a.send("b", round);
      if (round % 7 === 0) await world.clock.advance(1);
    }
    await until(() => b.got.length === 199);
    expect(b.rounds).toEqual(Array.from({ length: 199 }, (_, at) => at + 1));
    expect(a.transport.outgoingBytes).toBe(0);
    expect(a.lost).toEqual([]);
  });

  test("one request is under way, and what comes meanwhile goes in the next", async () => {
    const address = { host: "node-b", port: 9093 };
    const peer = await FakePeer.listen({ ...world, address, versions: { 18: [0, 4], 10001: [0, 0] } });
    const a = new Node("a");
    a.send("b", 1);
    await until(() => peer.asked.length === 1);
    for (let round = 2; round < 50; round++) a.send("b", round);
    await world.clock.advance(100);
    expect(peer.asked).toHaveLength(1);
    const [first] = peer.asked;
    if (first !== undefined) peer.answer(raft, first, { throttleTimeMs: 0, errorCode: 0, messages: [] });
    await until(() => peer.asked.length === 2);
    expect(a.transport.outgoingBytes).toBe(0);
  });

  test("what waits is bounded: the oldest entries go first, and what is no entry stays", async () => {
    const address = { host: "node-b", port: 9093 };
    await FakePeer.listen({ ...world, address, versions: { 18: [0, 4], 10001: [0, 0] } });
    const limits = { countMax: 10, bytesMax: 3_000, requestTimeoutMs: 60_000 };
    const a = new Node("a", { limits });
    a.send("b", 1);
    await world.clock.advance(20);
    for (let index = 2; index < 200; index++) {
      a.transport.send([entries("a", "b", index, 500)]);
      expect(a.transport.outgoingBytes).toBeLessThanOrEqual(3_000);
    }
    a.transport.send([entries("a", "b", 200, 10_000)]);
    expect(a.transport.outgoingBytes).toBeGreaterThan(10_000);
    expect(a.transport.outgoingBytes).toBeLessThan(10_100);
  });

  test("a node that is not there loses what was for it, and nothing piles up", async () => {
    const a = await new Node("a").serve();
    for (let round = 0; round < 100; round++) {
      a.send("b", round);
      await world.clock.advance(50);
    }
    await world.clock.advance(2_000);
    expect(a.transport.outgoingBytes).toBe(0);
    const b = await new Node("b").serve();
    a.send("b", 1_000);
    await until(() => b.got.length > 0);
    expect(b.rounds).toEqual([1_000]);
  });

  test("a node that does not answer is given up in time, and tried again", async () => {
    const address = { host: "node-b", port: 9093 };
    const peer = await FakePeer.listen({ ...world, address, versions: { 18: [0, 4], 10001: [0, 0] } });
    const a = new Node("a");
    a.send("b", 1);
    await until(() => peer.asked.length === 1);
    await until(() => a.lost.length === 1, 4_000);
    a.send("b", 2);
    await until(() => peer.asked.length === 2);
    expect(peer.asked[1]?.connection).toBe(1);
  });

  test("a process that is killed is noticed at once", async () => {
    const [a, b] = [await new Node("a").serve(), await new Node("b").serve()];
    a.send("b", 1);
    await until(() => b.got.length === 1);
    const killedMs = world.clock.monotonicMs();
    b.kill();
    await until(() => a.lost.length > 0);
    expect(a.lost).toEqual(["b"]);
    expect(world.clock.monotonicMs() - killedMs).toBeLessThan(10);
  });

  test("closing tells of no loss", async () => {
    const [a, b] = [await new Node("a").serve(), await new Node("b").serve()];
    a.send("b", 1);
    await until(() => b.got.length === 1);
    a.kill();
    a.send("b", 2);
    await world.clock.advance(5_000);
    expect(a.lost).toEqual([]);
    expect(b.rounds).toEqual([1]);
  });
});

describe("to a node that asks", () => {
  test("it hears within a moment, in order, and answers by requests of its own", async () => {
    const a = await new Node("a").serve();
    const learner = new Node("learner");
    a.send("learner", 1, 2);
    learner.transport.follow("a");
    await until(() => learner.got.length === 2);
    const sentMs = world.clock.monotonicMs();
    a.send("learner", 3, 4);
    await until(() => learner.got.length === 4);
    expect(world.clock.monotonicMs() - sentMs).toBeLessThan(10);
    expect(learner.rounds).toEqual([1, 2, 3, 4]);
    learner.send("a", 5);
    await until(() => a.got.length === 1);
    await world.clock.advance(3_000);
    a.send("learner", 6);
    await until(() => learner.got.length === 5);
    expect(learner.unreachable).toEqual([]);
    expect(a.transport.mailboxBytes).toBe(0);
  });

  test("many messages come in several answers, each with a bounded size", async () => {
    const limits = { requestBytesMax: 2_000 };
    const a = await new Node("a", { limits }).serve();
    a.transport.send(Array.from({ length: 100 }, (_, at) => entries("a", "learner", at + 1, 500)));
    const learner = new Node("learner");
    learner.transport.follow("a");
    await until(() => learner.got.length === 100);
    const indexes = learner.got.map((message) => (message.kind === "append" ? message.prevIndex + 1 : 0));
    expect(indexes).toEqual(Array.from({ length: 100 }, (_, at) => at + 1));
  });

  test("when it follows another, the poll of the first one ends", async () => {
    const [a, b] = [await new Node("a").serve(), await new Node("b").serve()];
    const learner = new Node("learner");
    learner.transport.follow("a");
    await world.clock.advance(100);
    expect(a.server?.connectionCount).toBe(1);
    learner.transport.follow("b");
    await world.clock.advance(100);
    expect(a.server?.connectionCount).toBe(0);
    b.send("learner", 7);
    await until(() => learner.got.length === 1);
    learner.transport.follow(null);
    await world.clock.advance(100);
    expect(b.server?.connectionCount).toBe(0);
    expect([...learner.unreachable, ...learner.lost]).toEqual([]);
  });

  test("one that cannot be reached is told, again and again, and another may be followed from there", async () => {
    const b = await new Node("b").serve();
    const learner = new Node("learner");
    learner.transport.follow("a");
    await until(() => learner.unreachable.length === 4);
    expect(new Set(learner.unreachable)).toEqual(new Set(["a"]));
    learner.onUnreachable = () => learner.transport.follow("b");
    b.send("learner", 1);
    await until(() => learner.got.length === 1);
    expect(learner.unreachable).toHaveLength(5);
  });

  test("the followed process is killed: it is told at once", async () => {
    const a = await new Node("a").serve();
    const learner = new Node("learner");
    learner.transport.follow("a");
    await world.clock.advance(100);
    const killedMs = world.clock.monotonicMs();
    a.kill();
    await until(() => learner.unreachable.length > 0);
    expect(world.clock.monotonicMs() - killedMs).toBeLessThan(10);
    expect(learner.lost).toEqual(["a"]);
  });

  test("a node that does not lead says who does, at once, and not again and again without a pause", async () => {
    const [a, b] = [await new Node("a").serve(), await new Node("b").serve()];
    a.leader = "b";
    b.leader = "b";
    const learner = new Node("learner");
    learner.transport.follow("a");
    await world.clock.advance(1_000);
    expect(learner.leaders.length).toBeGreaterThan(5);
    expect(learner.leaders.length).toBeLessThan(25);
    learner.onLeader = (node) => learner.transport.follow(node);
    b.send("learner", 1);
    await until(() => learner.got.length === 1);
    await world.clock.advance(1_000);
    expect(new Set(learner.leaders)).toEqual(new Set(["b"]));
    expect(learner.unreachable).toEqual([]);
    expect(b.server?.connectionCount).toBe(1);
  });

  test("a poll that was given up takes nothing from the next one", async () => {
    const a = await new Node("a").serve();
    const older = a.transport.receive(request({ fromNode: "learner", maxWaitMs: 500 }));
    const newer = a.transport.receive(request({ fromNode: "learner", maxWaitMs: 500 }));
    a.send("learner", 1);
    expect(await older).toMatchObject({ errorCode: 0, messages: [] });
    expect((await newer).messages).toHaveLength(1);
    expect(a.transport.mailboxBytes).toBe(0);
  });

  test("a mailbox never grows beyond its bound, and is gone when nobody asks", async () => {
    const limits = { countMax: 50, bytesMax: 20_000, mailboxesMax: 5, idleMs: 1_000 };
    const a = new Node("a", { limits });
    const random = new SeededRandom(5);
    for (let round = 0; round < 3_000; round++) {
      const to = `learner-${Math.floor(random.fraction() * 9)}`;
      const sizeBytes = Math.floor(random.fraction() * 2_000);
      a.transport.send([random.fraction() < 0.5 ? heartbeat("a", to, round) : entries("a", to, round + 1, sizeBytes)]);
      expect(a.transport.mailboxBytes).toBeLessThanOrEqual(5 * 20_000);
    }
    await world.clock.advance(2_000);
    expect(a.transport.mailboxBytes).toBe(0);
    expect(world.clock.pendingTimers).toBe(0);
  });

  test("two that ask under one name do not ask without a pause", async () => {
    const a = await new Node("a").serve();
    let polls = 0;
    const { receive } = a.transport;
    a.transport.receive = async (asked) => {
      polls++;
      return receive.call(a.transport, asked);
    };
    for (const each of [new Node("learner"), new Node("learner")]) each.transport.follow("a");
    await world.clock.advance(5_000);
    expect(polls).toBeLessThan(400);
  });

  test("closing answers who waits", async () => {
    const a = await new Node("a").serve();
    const waiting = a.transport.receive(request({ fromNode: "learner", maxWaitMs: 500 }));
    a.transport.close();
    expect(await waiting).toMatchObject({ errorCode: 0, messages: [] });
    expect(await a.transport.receive(request({ fromNode: "learner", maxWaitMs: 500 }))).toMatchObject({
      errorCode: ErrorCode.BROKER_NOT_AVAILABLE,
    });
    expect(world.clock.pendingTimers).toBe(1); // the server's own
  });
});

function request(fields: Partial<RaftRequest>): RaftRequest {
  return { clusterId: "cluster-1", fromNode: "b", toNode: "a", messages: [], maxWaitMs: 0, ...fields };
}

describe("what is refused", () => {
  const frames = (...messages: readonly Message[]): RaftRequest["messages"] =>
    messages.map((message) => ({ frame: encodeMessage(message) }));
  const good = heartbeat("b", "a", 1);

  test.for<readonly [string, Partial<RaftRequest>, ErrorCode]>([
    ["another cluster", { clusterId: "cluster-2" }, ErrorCode.INCONSISTENT_CLUSTER_ID],
    ["the node that was here with another disk", { toNode: "1:before" }, ErrorCode.INVALID_VOTER_KEY],
    ["no sender", { fromNode: "" }, ErrorCode.INVALID_REQUEST],
    ["this node itself", { fromNode: "a" }, ErrorCode.INVALID_REQUEST],
    ["a frame that is none", { messages: [{ frame: Buffer.from("hello") }] }, ErrorCode.INVALID_REQUEST],
    [
      "a good frame and a bad one",
      { messages: [...frames(good), { frame: Buffer.alloc(3) }] },
      ErrorCode.INVALID_REQUEST,
    ],
    ["a message for another node", { messages: frames(good, heartbeat("b", "c", 2)) }, ErrorCode.INVALID_REQUEST],
  ])("%s", async ([, fields, errorCode]) => {
    const a = new Node("a");
    const answer: RaftResponseInput = await a.transport.receive(request({ messages: frames(good), ...fields }));
    expect(answer).toMatchObject({ errorCode, messages: [] });
    expect(answer.errorMessage).toBeTruthy();
    expect(a.got).toEqual([]);
  });

  test(`whatever a stranger sends is refused, or looks like a message (SEED=${seed})`, async () => {
    const random = new SeededRandom(seed);
    const below = (count: number): number => Math.floor(random.fraction() * count);
    const a = new Node("a");
    const models = [good, entries("b", "a", 3, 40)].map(encodeMessage);
    for (let round = 0; round < 5_000; round++) {
      const frame = Buffer.from(round % 3 === 0 ? random.bytes(below(60)) : (models[round % 2] ?? ""));
      for (let left = below(4); left > 0 && frame.length > 0; left--) frame[below(frame.length)] = below(256);
      const heardBefore = a.got.length;
      const answer = await a.transport.receive(
        request({ messages: [{ frame: frame.subarray(0, frame.length - below(2)) }] }),
      );
      expect([ErrorCode.NONE, ErrorCode.INVALID_REQUEST]).toContain(answer.errorCode);
      expect(a.got.length - heardBefore).toBe(answer.errorCode === ErrorCode.NONE ? 1 : 0);
    }
    expect(a.got.length).toBeGreaterThan(100);
    expect(a.got.every(({ to }) => to === "a")).toBe(true);
  });

  test("whoever does not know the directory says no name, and is heard", async () => {
    const a = new Node("a");
    expect(await a.transport.receive(request({ toNode: null, messages: frames(good) }))).toMatchObject({
      errorCode: 0,
    });
    expect(a.rounds).toEqual([1]);
  });

  test("messages to a node whose disk was replaced are dropped, and it is no connection that was lost", async () => {
    const replaced = new Node("b2");
    await serveNode({
      ...{ ...world, address: { host: "node-b", port: 9093 }, handlers: [raftHandler] },
      services: { raft: replaced.transport },
    });
    const a = new Node("a");
    for (let round = 0; round < 20; round++) {
      a.send("b", round);
      await world.clock.advance(50);
    }
    expect(replaced.got).toEqual([]);
    expect(a.transport.outgoingBytes).toBe(0);
    expect(a.lost).toEqual([]);
  });

  test("a node without a quorum says so", async () => {
    await serveNode({ ...world, address: { host: "node-a", port: 9093 }, handlers: [raftHandler] });
    const learner = new Node("learner");
    learner.transport.follow("a");
    await until(() => learner.unreachable.length > 2);
    expect(learner.lost).toEqual([]);
  });

  test("a node that answers with garbage harms nobody", async () => {
    const address = { host: "node-b", port: 9093 };
    const peer = await FakePeer.listen({ ...world, address, versions: { 18: [0, 4], 10001: [0, 0] } });
    const a = new Node("a");
    a.send("b", 1);
    await until(() => peer.asked.length === 1);
    const [asked] = peer.asked;
    const bad = {
      throttleTimeMs: 0,
      errorCode: 0,
      messages: [{ frame: Buffer.from([0, 0xdd, 0xff, 0xff, 0xff, 0xff]) }],
    };
    if (asked !== undefined) peer.answer(raft, asked, bad);
    await world.clock.advance(100);
    expect(a.got).toEqual([]);
    peer.connections[0]?.destroy();
    await until(() => a.lost.length === 1);
  });
});
