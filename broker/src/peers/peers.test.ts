import { silentLogger } from "@millrace/base/logger";
import { SeededRandom } from "@millrace/simulator/seeded-random";
import { SimulatedNetwork } from "@millrace/simulator/simulated-network";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import type { ConnectOptions, Connection, Address } from "@millrace/base/world";
import { explain } from "kafka-protocol-ts/messages/10000-explain";
import { beforeEach, expect, test } from "vitest";
import { FakePeer } from "../../test/fake-peer.ts";
import { Backoff } from "./backoff.ts";
import { Peers } from "./peers.ts";

const address = { host: "node-2", port: 9093 };
const other = { host: "node-2b", port: 9093 };
const versions = { 18: [0, 4], 10000: [0, 0] } as const;

/** Notes when somebody tries. */
class WatchedNetwork extends SimulatedNetwork {
  readonly triedMs: number[] = [];
  readonly #clock: VirtualClock;

  constructor(clock: VirtualClock) {
    super({ clock, latencyMs: 1 });
    this.#clock = clock;
  }

  override async connect(to: Address, options: ConnectOptions): Promise<Connection> {
    this.triedMs.push(this.#clock.monotonicMs());
    return super.connect(to, options);
  }
}

let clock: VirtualClock;
let network: WatchedNetwork;
let peers: Peers;
beforeEach(() => {
  clock = new VirtualClock();
  network = new WatchedNetwork(clock);
  const random = new SeededRandom(7);
  peers = new Peers({ network, clock, random, logger: silentLogger, clientId: "1", connectTimeoutMs: 500 });
});

async function settled<T>(promise: Promise<T>): Promise<T> {
  let isSettled = false;
  void promise.finally(() => (isSettled = true));
  await clock.runUntil(() => isSettled, { withinMs: 60_000 });
  return promise;
}

async function connected(purpose = "raft", to = address): ReturnType<Peers["to"]> {
  return settled(peers.to(2, to, purpose));
}

test("one connection for each node and purpose, whoever asks, and however many at once", async () => {
  const peer = await FakePeer.listen({ network, address, versions });
  const [first, second, third] = await settled(
    Promise.all([peers.to(2, address, "raft"), peers.to(2, address, "raft"), peers.to(2, address, "fetch")]),
  );
  expect(first).toMatchObject({ ok: true });
  expect(second).toEqual(first);
  expect(third?.ok && first?.ok && third.value !== first.value).toBe(true);
  expect(await connected()).toEqual(first);
  expect(peer.connections).toHaveLength(2);
});

test("whoever asks again and again tries seldom, and more seldom with each failure", async () => {
  const gapsMs: number[] = [];
  for (let tries = 0; tries < 12; tries++) expect(await connected()).toMatchObject({ failure: "unreachable" });
  for (const [at, ms] of network.triedMs.entries()) if (at > 0) gapsMs.push(ms - (network.triedMs[at - 1] ?? 0));
  const wholeMs = [50, 100, 200, 400, 800, 1_000, 1_000, 1_000, 1_000, 1_000, 1_000];
  for (const [at, whole] of wholeMs.entries()) {
    expect(gapsMs[at]).toBeGreaterThan(whole * 0.79);
    expect(gapsMs[at]).toBeLessThan(whole * 1.21 + 2);
  }
  expect(new Set(gapsMs.map((ms) => Math.round(ms))).size).toBeGreaterThan(8);
});

test("a connection that held for long is made again at once; one that breaks at once is no success", async () => {
  const peer = await FakePeer.listen({ network, address, versions });
  const broken = async (): Promise<void> => {
    const connection = await connected();
    if (!connection.ok) throw new Error(connection.message);
    peer.connections.at(-1)?.destroy();
    await settled(connection.value.closed);
  };
  for (let times = 0; times < 8; times++) await broken();
  const tries = network.triedMs;
  expect((tries.at(-1) ?? 0) - (tries.at(-2) ?? 0)).toBeGreaterThan(700);
  const steady = await connected();
  await clock.advance(2_000);
  expect(steady.ok && steady.value.isOpen).toBe(true);
  const beforeMs = clock.monotonicMs();
  await broken();
  await connected();
  expect(clock.monotonicMs() - beforeMs).toBeLessThan(100);
});

test("under another address it is another connection, and the old one is closed", async () => {
  const old = await FakePeer.listen({ network, address, versions });
  const moved = await FakePeer.listen({ network, address: other, versions });
  const before = await connected();
  const after = await connected("raft", other);
  expect(before.ok && before.value.isOpen).toBe(false);
  expect(after.ok && after.value.isOpen).toBe(true);
  await clock.advance(10);
  expect([old.closedCount, moved.closedCount]).toEqual([1, 0]);
});

test("who waits for one address is not kept when there is another", async () => {
  await FakePeer.listen({ network, address: other, versions });
  await connected();
  const waiting = peers.to(2, address, "raft");
  const atOther = await connected("raft", other);
  expect(atOther.ok).toBe(true);
  expect(await settled(waiting)).toMatchObject({ failure: "closed" });
});

test("closing ends what is open, what is being opened and what waits for its turn", async () => {
  const peer = await FakePeer.listen({ network, address, versions });
  const open = await connected();
  if (!open.ok) throw new Error(open.message);
  const asking = open.value.request(explain, { kind: "group", name: "a" }, { timeoutMs: 5_000 });
  const opening = peers.to(2, address, "fetch");
  await connected("forwarding", other);
  const waiting = peers.to(2, other, "forwarding");
  peers.close();
  expect(await asking).toMatchObject({ failure: "closed" });
  expect(await settled(opening)).toMatchObject({ ok: false });
  expect(await settled(waiting)).toMatchObject({ failure: "closed" });
  expect(await peers.to(2, address, "raft")).toMatchObject({ failure: "closed" });
  await clock.advance(100);
  expect(peer.closedCount).toBe(peer.connections.length);
  expect(clock.pendingTimers).toBe(0);
});

test("a node that is forgotten loses its connections, and no other does", async () => {
  await FakePeer.listen({ network, address, versions });
  const mine = await connected();
  const others = await settled(peers.to("3:b", address, "raft"));
  peers.forget(2);
  expect([mine, others].map((each) => each.ok && each.value.isOpen)).toEqual([false, true]);
});

test("backoff: from 50 ms to a second, a fifth more or less", () => {
  const fractions = [0, 1, 0.5];
  const backoff = new Backoff({ bytes: (count) => Buffer.alloc(count), fraction: () => fractions.shift() ?? 0.5 });
  expect([1, 2, 3, 4, 5, 6, 7].map(() => Math.round(backoff.nextMs()))).toEqual([40, 120, 200, 400, 800, 1000, 1000]);
  backoff.reset();
  expect(backoff.nextMs()).toBe(50);
});
