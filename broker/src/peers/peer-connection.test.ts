import { silentLogger } from "@millrace/base/logger";
import type { Result } from "@millrace/base/result";
import { SeededRandom } from "@millrace/simulator/seeded-random";
import { SimulatedNetwork } from "@millrace/simulator/simulated-network";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import { fetch } from "kafka-protocol-ts/messages/01-fetch";
import { apiVersions } from "kafka-protocol-ts/messages/18-api-versions";
import { createTopics } from "kafka-protocol-ts/messages/19-create-topics";
import { initProducerId } from "kafka-protocol-ts/messages/22-init-producer-id";
import { explain } from "kafka-protocol-ts/messages/10000-explain";
import { raft } from "kafka-protocol-ts/messages/10001-raft";
import { beforeEach, describe, expect, test } from "vitest";
import { FakePeer, answerBytes } from "../../test/fake-peer.ts";
import { serveNode } from "../../test/served-node.ts";
import { handler } from "../apis/handler.ts";
import { PeerConnection } from "./peer-connection.ts";
import type { PeerEnd, PeerOptions } from "./peer-connection.ts";

const address = { host: "node-2", port: 9093 };
const served = { 18: [0, 4], 10000: [0, 0] } as const;
const noExplanation = { throttleTimeMs: 0, errorCode: 0, explanation: "" };

const seed = Number(process.env["SEED"] ?? Math.floor(performance.now() * 1000) % 1_000_000);

let clock: VirtualClock;
let network: SimulatedNetwork;
beforeEach(() => {
  clock = new VirtualClock();
  network = new SimulatedNetwork({ clock, latencyMs: 1 });
});

type Opened = Awaited<ReturnType<typeof PeerConnection.open>>;

async function opening(options: Partial<PeerOptions> = {}): Promise<Opened> {
  return PeerConnection.open({
    ...{ network, clock, logger: silentLogger, node: 2, address, clientId: "node-1", connectTimeoutMs: 1_000 },
    ...options,
  });
}

async function open(options: Partial<PeerOptions> = {}): Promise<Opened> {
  return settled(opening(options));
}

/** Moves time until the promise is settled. */
async function settled<T>(promise: Promise<T>): Promise<T> {
  let isSettled = false;
  void promise.finally(() => (isSettled = true));
  await clock.runUntil(() => isSettled, { withinMs: 60_000 });
  return promise;
}

async function connected(options: Partial<PeerOptions> = {}): Promise<PeerConnection> {
  const opened = await open(options);
  if (!opened.ok) throw new Error(opened.message);
  return opened.value;
}

async function explained(connection: PeerConnection, name: string, timeoutMs = 1_000): Promise<Result<string, string>> {
  const answer = await connection.request(explain, { kind: "group", name }, { timeoutMs });
  return answer.ok ? { ok: true, value: answer.value.explanation } : answer;
}

describe("with a real server", () => {
  test("requests are pipelined, and each gets its own answer", async () => {
    const gates: ((text: string) => void)[] = [];
    const slow = handler(explain, async (_, { name }) => {
      const text = await new Promise<string>((resolve) => gates.push(resolve));
      return { ...noExplanation, explanation: `${name}: ${text}` };
    });
    await serveNode({ network, clock, address, handlers: [slow] });
    const connection = await connected();
    const answers = Promise.all(["a", "b", "c"].map(async (name) => explained(connection, name)));
    expect(connection.inFlight).toBe(3);
    for (const text of ["one", "two", "three"]) {
      await clock.runUntil(() => gates.length > 0, { withinMs: 100 });
      gates.shift()?.(text);
    }
    expect(await settled(answers)).toEqual(["a: one", "b: two", "c: three"].map((value) => ({ ok: true, value })));
    expect(connection.inFlight).toBe(0);
    expect(clock.monotonicMs()).toBeLessThan(100);
  });

  test("an answer may be larger than every buffer, and its bytes stay what they are while others come", async () => {
    const sizes = [10, 70_000, 3_000_000, 20];
    const raftLike = handler(raft, (_, { maxWaitMs }) => {
      const frame = Buffer.alloc(maxWaitMs, maxWaitMs % 251);
      return { throttleTimeMs: 0, errorCode: 0, messages: [{ frame }] };
    });
    await serveNode({ network, clock, address, handlers: [raftLike] });
    const connection = await connected();
    const request = { clusterId: "", fromNode: "", toNode: null, messages: [] };
    const frames: Buffer[] = [];
    for (const maxWaitMs of sizes) {
      const asking = connection.request(raft, { ...request, maxWaitMs }, { timeoutMs: 10_000 });
      const answer = await settled(asking);
      if (answer.ok) frames.push(...answer.value.messages.map(({ frame }) => frame));
    }
    expect(frames.map(({ length }) => length)).toEqual(sizes);
    for (const frame of frames) expect(frame.every((byte) => byte === frame.length % 251)).toBe(true);
  });

  test("an API that the node does not serve is named, with the node", async () => {
    await serveNode({ network, clock, address, handlers: [] });
    const connection = await connected();
    const answer = await explained(connection, "a");
    expect(answer).toMatchObject({
      failure: "unsupported",
      message: "node 2 at node-2:9093 does not serve Explain (API key 10000)",
    });
    expect(connection.isOpen).toBe(true);
  });
});

describe("versions", () => {
  test("the highest that both know, and the message is asked for in it", async () => {
    const peer = await FakePeer.listen({ network, address, versions: { 18: [0, 4], 19: [2, 5], 1: [30, 40] } });
    const connection = await connected();
    const versions: number[] = [];
    const asking = connection.request(
      createTopics,
      (version) => {
        versions.push(version);
        return { topics: [], timeoutMs: 1, validateOnly: false };
      },
      { timeoutMs: 1_000 },
    );
    await clock.runUntil(() => peer.asked.length > 0, { withinMs: 100 });
    expect(versions).toEqual([5]);
    const [asked] = peer.asked;
    expect(asked?.apiVersion).toBe(5);
    if (asked !== undefined) peer.answer(createTopics, asked, { throttleTimeMs: 0, topics: [] });
    expect(await settled(asking)).toMatchObject({ ok: true });
    expect(connection.versionOf(fetch)).toMatchObject({
      failure: "unsupported",
      message: "node 2 at node-2:9093 serves Fetch 30 to 40, and this node speaks 4 to 18",
    });
  });

  test("a node that knows only an older ApiVersions is asked again in it", async () => {
    await FakePeer.listen({ network, address, versions: { 18: [0, 2], 10000: [0, 0] } });
    const connection = await connected();
    expect(connection.versionOf(explain)).toEqual({ ok: true, value: 0 });
  });

  test("a message that the common version cannot say is not sent", async () => {
    const peer = await FakePeer.listen({ network, address, versions: { 18: [0, 4], 22: [0, 2] } });
    const connection = await connected();
    const message = { transactionalId: "t", transactionTimeoutMs: 1, producerId: 7, producerEpoch: 1 };
    const answer = await connection.request(initProducerId, message, { timeoutMs: 1_000 });
    expect(answer).toMatchObject({ failure: "unsupported" });
    expect(peer.asked).toEqual([]);
    expect(connection.inFlight).toBe(0);
  });
});

describe("what goes wrong", () => {
  test("nobody listens", async () => {
    expect(await open()).toMatchObject({ failure: "unreachable" });
  });

  test("a node that says nothing at all is given up in time", async () => {
    await FakePeer.listen({ network, address, versions: null });
    const before = clock.monotonicMs();
    expect(await open({ connectTimeoutMs: 300 })).toMatchObject({ failure: "timed-out" });
    expect(clock.monotonicMs() - before).toBeCloseTo(300, 0);
  });

  test("a request that is not answered in time ends the connection, and the others with it", async () => {
    const peer = await FakePeer.listen({ network, address, versions: served });
    const connection = await connected();
    const answers = [
      explained(connection, "a", 5_000),
      explained(connection, "b", 200),
      explained(connection, "c", 5_000),
    ];
    expect(await settled(Promise.all(answers))).toMatchObject([
      { failure: "lost" },
      { failure: "timed-out", message: "node 2 at node-2:9093 did not answer Explain v0 within 200 ms" },
      { failure: "lost" },
    ]);
    expect(connection.isOpen).toBe(false);
    expect(await connection.closed).toMatchObject({ failure: "timed-out" });
    await clock.runUntil(() => peer.closedCount === 1, { withinMs: 100 });
    expect(await explained(connection, "d")).toMatchObject({ failure: "timed-out" });
    expect(clock.pendingTimers).toBe(0);
  });

  test.for<readonly [string, (peer: FakePeer, correlationId: number) => void]>([
    ["text", (peer) => peer.send(Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n"))],
    ["a length below any answer", (peer) => peer.send(Buffer.from([0, 0, 0, 3, 1, 1, 1]))],
    ["a length beyond all limits", (peer) => peer.send(Buffer.from([0x7f, 0xff, 0xff, 0xff]))],
    ["a negative length", (peer) => peer.send(Buffer.from([0xff, 0xff, 0xff, 0xff]))],
    ["an answer to what was not asked", (peer, id) => peer.send(answerBytes(explain, 0, id + 7, noExplanation))],
    ["an answer that is cut off inside", (peer, id) => peer.send(cut(answerBytes(explain, 0, id, noExplanation)))],
  ])("%s is no answer", async ([, send]) => {
    const peer = await FakePeer.listen({ network, address, versions: served });
    const connection = await connected();
    const answers = [explained(connection, "a"), explained(connection, "b")];
    await clock.runUntil(() => peer.asked.length === 2, { withinMs: 100 });
    send(peer, peer.asked[0]?.correlationId ?? 0);
    expect(await settled(Promise.all(answers))).toMatchObject([{ failure: "malformed" }, { failure: "lost" }]);
    await clock.runUntil(() => peer.closedCount === 1, { withinMs: 100 });
  });

  test(`an answer with other bytes in it is one, or none, and the connection is whole or closed (SEED=${seed})`, async () => {
    const random = new SeededRandom(seed);
    const below = (count: number): number => Math.floor(random.fraction() * count);
    const peer = await FakePeer.listen({ network, address, versions: served });
    for (let round = 0; round < 300; round++) {
      const connection = await connected();
      const asking = explained(connection, "a", 200);
      await clock.runUntil(() => peer.asked.length > round, { withinMs: 100 });
      const id = peer.asked[round]?.correlationId ?? 0;
      const frame = answerBytes(explain, 0, id, { ...noExplanation, explanation: "x".repeat(below(300)) });
      for (let left = below(4); left > 0; left--) frame[below(frame.length)] = below(256);
      peer.send(frame.subarray(0, below(4) === 0 ? below(frame.length) : frame.length));
      const answer = await settled(asking);
      expect(answer.ok || ["malformed", "timed-out"].includes(answer.failure)).toBe(true);
      expect(answer.ok || !connection.isOpen).toBe(true);
      connection.close();
      expect(connection.inFlight).toBe(0);
    }
  });

  test("bytes that nobody asked for end it", async () => {
    const peer = await FakePeer.listen({ network, address, versions: served });
    const connection = await connected();
    peer.send(Buffer.from([0]));
    expect(await settled(connection.closed)).toMatchObject({ failure: "malformed" });
  });

  test("an answer in single bytes is one", async () => {
    const peer = await FakePeer.listen({ network, address, versions: served });
    const connection = await connected();
    const asking = explained(connection, "a");
    await clock.runUntil(() => peer.asked.length === 1, { withinMs: 100 });
    const bytes = answerBytes(explain, 0, peer.asked[0]?.correlationId ?? 0, { ...noExplanation, explanation: "why" });
    for (const byte of bytes) peer.send(Buffer.from([byte]));
    expect(await settled(asking)).toEqual({ ok: true, value: "why" });
  });

  test("half an answer, and the end: what waits is told at once", async () => {
    const peer = await FakePeer.listen({ network, address, versions: served });
    const connection = await connected();
    const asking = explained(connection, "a", 30_000);
    await clock.runUntil(() => peer.asked.length === 1, { withinMs: 100 });
    peer.send(answerBytes(explain, 0, peer.asked[0]?.correlationId ?? 0, noExplanation).subarray(0, 9));
    peer.connections[0]?.end();
    expect(await settled(asking)).toMatchObject({ failure: "lost" });
    expect(clock.monotonicMs()).toBeLessThan(100);
  });

  test("the network is cut", async () => {
    await FakePeer.listen({ network, address, versions: served });
    const connection = await connected();
    const asking = explained(connection, "a", 30_000);
    network.cut();
    expect(await settled(asking)).toMatchObject({ failure: "lost" });
    expect(await connection.closed).toMatchObject({ failure: "lost" });
  });

  test("one request too many is busy, and harms nobody", async () => {
    const peer = await FakePeer.listen({ network, address, versions: served });
    const connection = await connected({ inFlightMax: 2 });
    const asking = [explained(connection, "a"), explained(connection, "b")];
    expect(await explained(connection, "c")).toMatchObject({ failure: "busy" });
    await clock.runUntil(() => peer.asked.length === 2, { withinMs: 100 });
    for (const asked of peer.asked) peer.answer(explain, asked, noExplanation);
    expect(await settled(Promise.all(asking))).toMatchObject([{ ok: true }, { ok: true }]);
  });

  test("an answer beyond the connection's own limit is refused before memory is taken for it", async () => {
    const peer = await FakePeer.listen({ network, address, versions: served });
    const connection = await connected({ answerBytesMax: 1_000 });
    const asking = explained(connection, "a");
    await clock.runUntil(() => peer.asked.length === 1, { withinMs: 100 });
    peer.send(Buffer.from([0, 0, 3, 0xe9]));
    expect(await settled(asking)).toMatchObject({
      failure: "malformed",
      message: expect.stringContaining("an answer claims 1001 bytes (4 to 1000)"),
    });
  });
});

test("close is heard by who waits and by who watches, once", async () => {
  await FakePeer.listen({ network, address, versions: served });
  const connection = await connected();
  const ends: PeerEnd[] = [];
  void connection.closed.then((end) => ends.push(end));
  const asking = explained(connection, "a");
  connection.close();
  connection.close();
  network.cut();
  expect(await settled(asking)).toMatchObject({ failure: "closed" });
  expect(ends).toMatchObject([{ failure: "closed" }]);
});

test("a signal ends the opening, before it is connected and after", async () => {
  const peer = await FakePeer.listen({ network, address, versions: null });
  const giveUp = new AbortController();
  const opened = opening({ signal: giveUp.signal });
  await clock.runUntil(() => peer.asked.length === 1, { withinMs: 100 });
  expect(peer.asked[0]?.apiKey).toBe(apiVersions.key);
  giveUp.abort();
  expect(await settled(opened)).toMatchObject({ failure: "closed" });
  expect(await open({ signal: giveUp.signal })).toMatchObject({ ok: false });
});

function cut(frame: Buffer): Buffer {
  const short = frame.subarray(0, frame.length - 2);
  short.writeInt32BE(short.length - 4, 0);
  return short;
}
