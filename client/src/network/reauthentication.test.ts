import diagnostics from "node:diagnostics_channel";
import type { Connection } from "@millrace/base/world";
import { simulatedWorld } from "@millrace/simulator/simulated-world";
import type { SimulatedWorld } from "@millrace/simulator/simulated-world";
import { BrokerConnection } from "@millrace/client/network/broker-connection";
import { channels } from "@millrace/client/network/diagnostics";
import type { Reauthenticated } from "@millrace/client/network/diagnostics";
import type { SaslOptions } from "@millrace/client/network/sasl";
import { produce } from "kafka-protocol-ts/messages/00-produce";
import { fetch } from "kafka-protocol-ts/messages/01-fetch";
import { metadata } from "kafka-protocol-ts/messages/03-metadata";
import { saslAuthenticate } from "kafka-protocol-ts/messages/36-sasl-authenticate";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { FakeBroker, silence } from "../../test/fake-broker.ts";
import { FakeSasl, secret } from "../../test/fake-sasl.ts";
import { Cluster } from "../cluster.ts";

const sessionMs = 10_000;
/** At the latest. */
const dueMs = 0.95 * sessionMs;
const sasl: SaslOptions = { mechanism: "SCRAM-SHA-256", username: "billing", password: secret };

let world: SimulatedWorld;
let broker: FakeBroker;
let fake: FakeSasl;
let events: Reauthenticated[];

beforeEach(async () => {
  world = simulatedWorld({ seed: 1 });
  broker = await FakeBroker.start(world.network, 9092);
  fake = FakeSasl.on(broker, { clock: world.clock, sessionLifetimeMs: sessionMs });
  broker.on(
    metadata,
    fake.guard(() => ({ clusterId: "guarded", brokers: [], topics: [] })),
  );
  events = [];
  const note = (event: unknown): void => void events.push(event as Reauthenticated);
  diagnostics.subscribe(channels.reauthentication, note);
  onTestFinished(() => void diagnostics.unsubscribe(channels.reauthentication, note));
});

const open = (options: SaslOptions = sasl): Promise<BrokerConnection> => {
  const { clock, random, network } = world;
  const times = { connectTimeoutMs: 1_000, requestTimeoutMs: 30_000 };
  return BrokerConnection.open(network, broker.address, { clock, random, clientId: "test", ...times, sasl: options });
};

const ask = async (connection: BrokerConnection): Promise<string | null> =>
  (await connection.request(metadata, { topics: [] })).clusterId;
const emptyFetch = (maxWaitMs: number) => ({ maxWaitMs, minBytes: 1, topics: [], forgottenTopicsData: [] });
const emptyProduce = { acks: -1, timeoutMs: 1_000, topicData: [] };

test("before its session ends a connection says again who we are, and stays the same connection", async () => {
  const connection = await open();
  for (let at = 0; at < 20; at++) {
    await world.clock.advance(1_000);
    expect(await ask(connection)).toBe("guarded");
  }
  expect(fake.users.length).toBeGreaterThanOrEqual(3);
  expect(fake.users.length).toBeLessThanOrEqual(4);
  expect(broker.connectionsCount).toBe(1);
  expect(events.map(({ error, mechanism }) => [error, mechanism])).toEqual(
    fake.users.slice(1).map(() => [null, "SCRAM-SHA-256"]),
  );
});

test("a connection that was idle for longer than its session does it first", async () => {
  const connection = await open();
  await world.clock.advance(10 * sessionMs);
  expect(fake.users).toHaveLength(1);
  expect(await ask(connection)).toBe("guarded");
  expect([fake.users.length, broker.connectionsCount]).toEqual([2, 1]);
});

test("not all connections do it at the same moment", async () => {
  const connections = await Promise.all(Array.from({ length: 20 }, async () => open()));
  const at = new Set<number>();
  for (let count = 20; world.clock.monotonicMs() < sessionMs;) {
    await world.clock.advance(50);
    await Promise.all(connections.map(ask));
    if (fake.users.length > count) at.add(world.clock.monotonicMs());
    count = fake.users.length;
  }
  expect(fake.users).toHaveLength(40);
  expect(Math.min(...at)).toBeGreaterThanOrEqual(0.85 * sessionMs);
  expect(Math.max(...at)).toBeLessThanOrEqual(dueMs + 50);
  expect(at.size).toBeGreaterThan(5);
});

test("with a Fetch waiting at the broker, it waits for the answer, and what comes then waits for both", async () => {
  const answered: string[] = [];
  broker.on(fetch, async () => {
    await new Promise<void>((resolve) => void world.clock.schedule(45_000, resolve));
    return { throttleTimeMs: 0, errorCode: 0, sessionId: 0, responses: [] };
  });
  const connection = await open();
  await world.clock.advance(8_000);
  const waiting = connection.request(fetch, emptyFetch(45_000), { timeoutMs: 60_000 });
  void waiting.then(() => answered.push("Fetch"));
  await world.clock.advance(2_000);
  const later = connection.request(metadata, { topics: [] }, { timeoutMs: 60_000 });
  void later.then(() => answered.push("Metadata"));
  await world.clock.advance(42_000);
  expect(answered).toEqual([]);
  expect(fake.users).toHaveLength(1);
  await world.clock.advance(1_000);
  expect(answered).toEqual(["Fetch", "Metadata"]);
  expect(broker.names.slice(-5)).toEqual([
    "Fetch",
    "SaslHandshake",
    "SaslAuthenticate",
    "SaslAuthenticate",
    "Metadata",
  ]);
  expect(connection.isOpen).toBe(true);
});

test("with Produces in flight and more behind them, each is answered, in order", async () => {
  const answered: number[] = [];
  let sentCount = 0;
  let answer = (): void => undefined;
  broker.on(
    produce,
    fake.guard(async () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      const before = answer;
      answer = () => {
        before();
        resolve();
      };
      await promise;
      return { responses: [] };
    }),
  );
  const connection = await open();
  const send = (): void => {
    const index = sentCount++;
    void connection.request(produce, emptyProduce).then(() => answered.push(index));
  };
  await world.clock.advance(8_000);
  for (let index = 0; index < 5; index++) send();
  await world.clock.advance(2_000);
  for (let index = 0; index < 5; index++) send();
  expect(connection.inFlight).toBe(10);
  await world.clock.settle();
  answer();
  await world.clock.settle();
  answer();
  await world.clock.settle();
  expect(answered).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect(fake.users).toHaveLength(2);
  expect(broker.names.slice(-13)).toEqual([
    ...Array.from({ length: 5 }, () => "Produce"),
    "SaslHandshake",
    "SaslAuthenticate",
    "SaslAuthenticate",
    ...Array.from({ length: 5 }, () => "Produce"),
  ]);
  expect(connection.inFlight).toBe(0);
});

test("what is sent in time and read too late, behind a Fetch that waits, is not sent in that session", async () => {
  // As a broker does: it reads the next request when the one before it is answered.
  let before: Promise<unknown> = Promise.resolve();
  const inTurn = <Answer>(ms: number, answer: Answer) => {
    const guarded = fake.guard(async () => {
      await new Promise<void>((resolve) => void world.clock.schedule(ms, resolve));
      return answer;
    });
    return (asked: { connection: Connection }) => {
      const turn = before.then(async () => guarded(asked));
      before = turn;
      return turn;
    };
  };
  broker.on(fetch, inTurn(2_400, { throttleTimeMs: 0, errorCode: 0, sessionId: 0, responses: [] }));
  broker.on(produce, inTurn(1, { responses: [] }));
  const connection = await open();
  let answers = 0;
  const work: Promise<void>[] = [];
  const count = (): void => void answers++;
  for (let at = 0; at < 540; at++) {
    if (at % 27 === 0) work.push(connection.request(fetch, emptyFetch(2_400)).then(count));
    if (at % 27 === 3) work.push(connection.request(produce, emptyProduce).then(count));
    await world.clock.advance(100);
  }
  await world.clock.advance(30_000);
  await Promise.all(work);
  expect(answers).toBe(40);
  expect(broker.connectionsCount).toBe(1);
  expect(fake.users.length).toBeGreaterThan(3);
});

test("what is told without an answer waits for it, too", async () => {
  broker.on(
    produce,
    fake.guard(() => silence),
  );
  const connection = await open();
  await world.clock.advance(sessionMs);
  await connection.tell(produce, { ...emptyProduce, acks: 0 });
  expect(await ask(connection)).toBe("guarded");
  expect(broker.names.slice(-3)).toEqual(["SaslAuthenticate", "Produce", "Metadata"]);
});

test("a broker that does not believe us any more loses the connection, and all that waits hears why; the next request opens another", async () => {
  await using cluster = new Cluster({ brokers: [broker.text], world, sasl });
  await cluster.wire.topics();
  await world.clock.advance(sessionMs);
  fake.password = "changed";
  const both = await Promise.allSettled([cluster.wire.topics(), cluster.wire.topics()]);
  for (const outcome of both) {
    expect(outcome).toMatchObject({ status: "rejected", reason: { code: "SASL_AUTHENTICATION_FAILED" } });
  }
  await world.clock.settle();
  expect(broker.connections.size).toBe(0);
  expect(events.at(-1)?.error?.code).toBe("SASL_AUTHENTICATION_FAILED");
  fake.password = secret;
  await cluster.wire.topics();
  expect(broker.connectionsCount).toBe(2);
});

test.for([
  ["is silent", () => silence],
  ["hangs up", ({ connection }: { connection: { end(): void } }) => (connection.end(), silence)],
] as const)("a broker that %s meanwhile is no dead-lock: what waits fails, and may be tried again", async ([, act]) => {
  const connection = await open();
  await world.clock.advance(sessionMs);
  broker.on(saslAuthenticate, act as never);
  const outcomes = Promise.allSettled([ask(connection), ask(connection)]);
  await world.clock.advance(30_000);
  for (const outcome of await outcomes) {
    expect(outcome).toMatchObject({ status: "rejected", reason: { retriable: true } });
  }
  expect(connection.isOpen).toBe(false);
  expect(world.clock.pendingTimers).toBe(0);
});

test("the end of the connection in the middle of it ends it, too", async () => {
  const connection = await open();
  await world.clock.advance(sessionMs);
  broker.on(saslAuthenticate, () => silence);
  const outcome = Promise.allSettled([ask(connection)]);
  await world.clock.settle();
  connection.close();
  expect((await outcome)[0]).toMatchObject({ reason: { code: "CLOSED" } });
  await world.clock.settle();
  expect(world.clock.pendingTimers).toBe(0);
});

test("a token that ends before the session is given anew in its time, and asked for while others are answered", async () => {
  let count = 0;
  const bearer: SaslOptions = {
    mechanism: "OAUTHBEARER",
    token: () => ({ value: `token-${++count}`, lifetimeMs: 4_000 }),
  };
  for (let index = 1; index < 10; index++) fake.tokens.set(`token-${index}`, "");
  const connection = await open(bearer);
  for (let at = 0; at < 9; at++) {
    await world.clock.advance(1_000);
    await ask(connection);
  }
  expect(fake.users).toEqual(["token-1", "token-2", "token-3"]);
});

test("what was held back by a throttling broker past the end of the session leaves in a new one", async () => {
  const throttled = { throttleTimeMs: 3_000, clusterId: "slow", brokers: [], topics: [] };
  broker.on(
    metadata,
    fake.guard(() => throttled),
  );
  const connection = await open();
  await world.clock.advance(0.84 * sessionMs);
  await ask(connection);
  const next = Promise.all([ask(connection), ask(connection)]);
  await world.clock.advance(3_000);
  expect(await next).toEqual(["slow", "slow"]);
  expect(fake.users).toHaveLength(2);
  expect(broker.connectionsCount).toBe(1);
});

test("a session that is shorter than its own beginning does not keep anything from leaving", async () => {
  fake.sessionLifetimeMs = 1;
  broker.on(metadata, () => ({ clusterId: "hasty", brokers: [], topics: [] }));
  const connection = await open();
  for (let index = 0; index < 3; index++) {
    await world.clock.advance(10);
    expect(await ask(connection)).toBe("hasty");
  }
});
