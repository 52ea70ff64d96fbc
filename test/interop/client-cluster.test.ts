import diagnostics from "node:diagnostics_channel";
import { once } from "node:events";
import { createConnection, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { channels, Cluster } from "@millrace/client";
import type { Admin, ClientEvents, ConsumerOptions } from "@millrace/client";
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFailed, test } from "vitest";
import { freePorts } from "./broker-process.ts";
import { NumberedFlow, until, WatchedGroup } from "./cluster-flow.ts";
import { skipWhenMissing } from "./journey.ts";
import { allInSync, coordinatorOf, KafkaCluster, leaderOf, moveLeader, settled } from "./kafka-cluster.ts";
import { whyTargetMissing } from "./target.ts";

/**
 * Our client and three brokers of Apache Kafka: leaders and coordinators move, brokers are killed and come back. Whatever
 * `--target` says: Millrace is one broker.
 */
const isLong = process.env["MILLRACE_INTEROP_LONG"] === "1";
const missing = whyTargetMissing("kafka");
const partitions = 6;
const settings = {
  "group.initial.rebalance.delay.ms": "0",
  "group.consumer.min.heartbeat.interval.ms": "100",
  "group.consumer.heartbeat.interval.ms": "200",
  "auto.create.topics.enable": "false",
};

let kafka: KafkaCluster;
let own: Cluster;
let admin: Admin;
beforeAll(async () => {
  if (missing !== null) return;
  kafka = await KafkaCluster.start({ settings });
  own = new Cluster({ brokers: kafka.addresses, clientId: "test" });
  admin = own.admin();
});
afterAll(async () => {
  await own?.close();
  await kafka?.[Symbol.asyncDispose]();
});
beforeEach((context) => {
  skipWhenMissing(context, missing);
  onTestFailed(() => console.error(kafka.output));
});

/** A producer that goes on all the time, and two members in a group of each protocol that read what it writes. */
class Riders implements AsyncDisposable {
  readonly flow: NumberedFlow;
  readonly groups: readonly WatchedGroup[];

  private constructor(flow: NumberedFlow, groups: readonly WatchedGroup[]) {
    this.flow = flow;
    this.groups = groups;
  }

  static async start(topic: string): Promise<Riders> {
    await admin.topics.create({ name: topic, partitions, replicationFactor: 3 });
    const groups = (["classic", "consumer"] as const).map((protocol) => {
      const consumer = groupOptions(`${topic}-${protocol}`, protocol);
      return new WatchedGroup(kafka.addresses, { topic, partitions, membersCount: 2, consumer });
    });
    // Whoever comes later takes partitions away from somebody who reads them: another story.
    for (const group of groups) await group.settled(2);
    const flow = new NumberedFlow(kafka.addresses, { topic, partitions });
    const riders = new Riders(flow, groups);
    await riders.more(20);
    return riders;
  }

  /** What is sent from now on is acknowledged and read. */
  async more(count: number): Promise<void> {
    await this.flow.more(count);
    const { acknowledged } = this.flow;
    for (const group of this.groups) await group.reads(acknowledged);
  }

  /** All that was acknowledged was read by each group, once and in its order, and is committed. */
  async end(): Promise<void> {
    await this.flow.end();
    for (const group of this.groups) await group.reads(this.flow.counts);
    await this.#commit(this.flow.counts);
  }

  /** Who does not find the coordinator of a group reads on for a whole session, and commits nothing. */
  async #commit(counts: readonly number[]): Promise<void> {
    for (const { group } of this.groups) {
      await settled(async () => {
        const outcomes = await admin.groups.offsets(group);
        const ofPartition = new Map(outcomes.map((each) => [each.item.partition, each.ok ? each.value.offset : -1]));
        return counts.every((count, partition) => (ofPartition.get(partition) ?? -1) >= count);
      }, `group ${group} has committed ${counts.join()}`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.flow[Symbol.asyncDispose]();
    for (const group of this.groups) await group[Symbol.asyncDispose]();
  }
}

function groupOptions(group: string, protocol: "classic" | "consumer"): ConsumerOptions & { readonly group: string } {
  const often = { heartbeatIntervalMs: 200, commitIntervalMs: 500, maxWaitMs: 100 };
  return { group, protocol, sessionTimeoutMs: 30_000, ...often };
}

/** Kills or stops the broker, and starts it when `work` is over and all are in sync again. */
async function without(nodeId: number, how: "kill" | "stop", work: () => Promise<void>): Promise<void> {
  await kafka[how](nodeId);
  try {
    await work();
  } finally {
    await kafka.start(nodeId);
  }
  await allInSync(admin, kafka.nodeIds.length);
}

/** Each partition is led by the next broker from now on. */
async function moveLeaders(topic: string): Promise<void> {
  const { partitions: found } = await admin.topics.describe(topic);
  await Promise.all(
    found.map(async ({ index, leaderId }) => moveLeader(admin, { topic, partition: index }, (leaderId % 3) + 1)),
  );
}

/** What the channel tells until it is disposed of. */
function heard<Name extends "metadata" | "request">(
  name: Name,
  isWanted: (event: ClientEvents[Name]) => boolean,
): Disposable & { readonly events: readonly ClientEvents[Name][] } {
  const events: ClientEvents[Name][] = [];
  const hear = (message: unknown): void => {
    if (isWanted(message as ClientEvents[Name])) events.push(message as ClientEvents[Name]);
  };
  diagnostics.subscribe(channels[name], hear);
  return { events, [Symbol.dispose]: () => void diagnostics.unsubscribe(channels[name], hear) };
}

describe("riders", () => {
  test("leaders that move are followed, by the hints of the brokers where they give them", async () => {
    await using riders = await Riders.start("moved");
    const movesMin = isLong ? 2 * partitions : partitions / 2;
    const movesMax = 12;
    const followed = { "moved-flow": 0, "moved-classic": 0, "moved-consumer": 0 };
    for (let move = 0; move < movesMax; move++) {
      const partition = move % partitions;
      using metadata = heard("metadata", ({ clientId }) => clientId.startsWith("moved-"));
      const before = await leaderOf(admin, { topic: "moved", partition });
      await moveLeader(admin, { topic: "moved", partition }, (before % 3) + 1);
      await riders.more(10);
      for (const name of ["moved-flow", "moved-classic", "moved-consumer"] as const) {
        const asked = metadata.events.filter(({ clientId }) => clientId.startsWith(name));
        if (asked.length === 0) followed[name]++;
      }
      if (move >= movesMin - 1 && Object.values(followed).every((count) => count > 0)) break;
    }
    await riders.end();
    // A new leader may not know of itself yet, and is then asked for by name: but not each time.
    for (const [name, count] of Object.entries(followed)) expect(count, name).toBeGreaterThan(0);
  });

  test("a leader that is killed and comes back", async () => {
    await using riders = await Riders.start("killed");
    const victim = await leaderOf(admin, { topic: "killed", partition: 0 });
    await without(victim, "kill", async () => riders.more(50));
    await riders.more(50);
    await moveLeader(admin, { topic: "killed", partition: 0 }, victim);
    await riders.more(20);
    await riders.end();
  });

  test("the coordinators of groups move to other brokers, while those before live on", async () => {
    await using riders = await Riders.start("coordinated");
    await moveLeaders("__consumer_offsets");
    await riders.more(20);
    await riders.end();
  });

  test.runIf(isLong)("the coordinators of groups are stopped, one after the other", async () => {
    await using riders = await Riders.start("stopped");
    const coordinators = await Promise.all(riders.groups.map(async ({ group }) => coordinatorOf(own, "group", group)));
    for (const nodeId of new Set(coordinators.slice(0, 2))) {
      await without(nodeId, "stop", async () => riders.more(50));
      await riders.more(20);
    }
    await riders.end();
  });
});

describe("transactions", () => {
  test("whose coordinator and leaders go away in the middle are committed as a whole, and aborted ones are never seen", async () => {
    const topic = "transfers";
    const transactionalId = "transfers";
    await admin.topics.create({ name: topic, partitions, replicationFactor: 3 });
    await using writing = new Cluster({ brokers: kafka.addresses, clientId: topic });
    await using producer = writing.producer({ transactionalId });
    let next = 0;
    const committed: number[] = [];
    /** A record in each partition; `between` happens after the first half. */
    const transfer = async (between: () => Promise<void> = async () => {}, isAborted = false): Promise<void> => {
      const number = next++;
      const failure = new Error("aborted on purpose");
      const ended = producer.transaction(async (transaction) => {
        const write = async (partition: number): Promise<unknown> =>
          transaction.send(topic, { partition, value: `${number}` });
        await Promise.all([0, 1, 2].map(write));
        await between();
        await Promise.all([3, 4, 5].map(write));
        if (isAborted) throw failure;
      });
      if (isAborted) await expect(ended).rejects.toBe(failure);
      else await ended;
      if (!isAborted) committed.push(number);
    };
    const both = async (between?: () => Promise<void>): Promise<void> => {
      await transfer(between);
      await transfer(undefined, true);
    };
    await both();
    await both(async () => moveLeaders("__transaction_state"));
    const victim = await coordinatorOf(own, "transaction", transactionalId);
    // It leads one partition that was written to by then, and one that was not.
    for (const partition of [0, 3]) await moveLeader(admin, { topic, partition }, victim);
    await both(async () => kafka.kill(victim));
    await both();
    // One that ends while its coordinator comes back.
    await Promise.all([kafka.start(victim), (async () => both())()]);
    await allInSync(admin, 3);
    if (isLong) {
      const second = await coordinatorOf(own, "transaction", transactionalId);
      await both(async () => kafka.stop(second));
      await both();
      await kafka.start(second);
      await both();
      await allInSync(admin, 3);
    }
    const seen = Array.from({ length: partitions }, (): number[] => []);
    const reader = own.consumer({ isolation: "read_committed" });
    for await (const { partition, value } of reader.records(topic, { from: "earliest", untilEnd: true }))
      seen[partition]?.push(Number(value?.toString()));
    for (const numbers of seen) expect(numbers).toEqual(committed);
  });
});

describe("who is asked", () => {
  test("admin calls go to controllers, coordinators, leaders and single brokers, also when the controller is killed", async () => {
    const topic = "administered";
    await admin.topics.create({ name: topic, partitions, replicationFactor: 3 });
    await using producer = own.producer();
    const all = Array.from({ length: partitions }, (_, partition) => ({ topic, partition }));
    await Promise.all(all.map(async ({ partition }) => producer.send(topic, { partition, value: "x" })));
    const { partitions: described } = await admin.topics.describe(topic);
    expect(new Set(described.map(({ leaderId }) => leaderId)).size).toBe(3);
    const groups = Array.from({ length: 12 }, (_, index) => `administered-${index}`);
    for (const group of groups) {
      const [outcome] = await admin.groups.alterOffsets(group, [{ topic, partition: 0, offset: 1 }]);
      expect(outcome).toMatchObject({ ok: true });
    }
    // The partitions of their log are spread, so that each broker coordinates some.
    const { partitions: ofGroups } = await admin.topics.describe("__consumer_offsets");
    for (const { index } of ofGroups)
      await moveLeader(admin, { topic: "__consumer_offsets", partition: index }, (index % 3) + 1);
    await settled(async () => {
      const coordinators = new Set<string>();
      for (const outcome of await admin.groups.describe(groups)) {
        expect(outcome.ok).toBe(true);
        if (outcome.ok) coordinators.add(outcome.value.coordinator);
      }
      return kafka.addresses.every((address) => coordinators.has(address));
    }, "each broker coordinates some groups");
    const listed: string[] = [];
    for await (const { groupId } of admin.groups.list()) listed.push(groupId);
    expect(listed).toEqual(expect.arrayContaining(groups));
    const ends = await admin.topics.offsets(topic, "latest");
    expect(ends.map((each) => each.ok && each.value.offset)).toEqual(all.map(() => 1));
    const deleted = await admin.topics.deleteRecords(all.map((each) => ({ ...each, before: "latest" })));
    expect(deleted.every(({ ok }) => ok)).toBe(true);
    const remembered = await admin.transactions.describeProducers(all);
    expect(remembered.every((each) => each.ok && each.value.length === 1)).toBe(true);
    const directories = await admin.logDirs.describe();
    expect(directories.map(({ item, ok }) => [item, ok])).toEqual(kafka.nodeIds.map((nodeId) => [nodeId, true]));
    const ofBrokers = await admin.configs.describe(
      kafka.nodeIds.map((nodeId) => ({ type: "broker" as const, name: `${nodeId}` })),
    );
    expect(ofBrokers.map((each) => each.ok && each.value.get("broker.rack")?.value)).toEqual([
      ...["rack-1", "rack-2", "rack-3"],
    ]);
    const { leaderId } = await admin.quorum.describe();
    await without(leaderId, "kill", async () => {
      await admin.topics.create({ name: "after-the-controller", partitions: 1, replicationFactor: 2 });
      // Who is gone for less than its session may be given a replica.
      expect((await admin.topics.describe("after-the-controller")).partitions[0]?.replicas).toHaveLength(2);
      await admin.configs.alter({
        ...{ type: "topic", name: topic },
        changes: { set: { "retention.ms": "100000" } },
      });
      for (const outcome of await admin.groups.describe(groups)) expect(outcome.ok).toBe(true);
    });
    expect((await admin.quorum.describe()).leaderId).not.toBe(leaderId);
  });

  test("of the first addresses one refuses and one is silent: the next one tells where all others are", async () => {
    const [refusing] = await freePorts(1);
    const sockets = new Set<Socket>();
    const silent = createServer((socket) => void sockets.add(socket));
    silent.listen(0, "127.0.0.1");
    await once(silent, "listening");
    const { port } = silent.address() as AddressInfo;
    const brokers = [`127.0.0.1:${refusing}`, `127.0.0.1:${port}`, kafka.address(2)];
    await using late = new Cluster({ brokers, clientId: "late" });
    await using producer = late.producer();
    await admin.topics.create({ name: "bootstrapped", partitions: 3, replicationFactor: 3 });
    for (const partition of [0, 1, 2])
      expect(await producer.send("bootstrapped", { partition, value: "x" })).toMatchObject({ partition });
    expect([...late.wire.metadata.brokers.keys()].toSorted()).toEqual([...kafka.nodeIds]);
    for (const socket of sockets) socket.destroy();
    silent.close();
  });

  test("who says in which rack it is reads from the replica there, and from the leader while that one is away", async () => {
    const topic = "racks";
    await admin.topics.create({ name: topic, assignments: [[1, 2, 3]] });
    await settled(async () => (await leaderOf(admin, { topic, partition: 0 })) === 1, "broker 1 leads");
    using fetches = heard("request", ({ clientId, api }) => clientId === "in-rack-2" && api === "Fetch");
    await using near = new Cluster({ brokers: kafka.addresses, clientId: "in-rack-2" });
    const consumer = near.consumer({ rack: "rack-2", maxWaitMs: 100 });
    await using flow = new NumberedFlow(kafka.addresses, { topic, partitions: 1 });
    const seen: number[] = [];
    const troubles: string[] = [];
    consumer.on("trouble", ({ error }) => void troubles.push(`${error.code} ${error.message}`));
    const stop = new AbortController();
    const reading = (async () => {
      const records = consumer.records(topic, { from: "earliest", signal: stop.signal });
      for await (const { value } of records) seen.push(Number(value?.toString()));
    })().catch((error: unknown) => void troubles.push(`it has ended: ${(error as Error).message}`));
    const broker = (): string | undefined => fetches.events.findLast(({ error }) => error === null)?.broker;
    const readsFrom = async (nodeId: number): Promise<void> => {
      const before = seen.length;
      const isThere = async (): Promise<boolean> => broker() === kafka.address(nodeId) && seen.length > before + 20;
      await settled(isThere, `it reads from broker ${nodeId}, not from ${broker()}`);
    };
    await readsFrom(2);
    const bytesFrom = (nodeId: number): number =>
      fetches.events
        .filter((event) => event.broker === kafka.address(nodeId))
        .reduce((sum, { answerBytes }) => sum + answerBytes, 0);
    const fromLeader = bytesFrom(1);
    await flow.more(100);
    await readsFrom(2);
    // The leader has only been asked where to go.
    expect(bytesFrom(1)).toBe(fromLeader);
    await without(2, "stop", async () => readsFrom(1));
    await flow.more(20);
    await flow.end();
    const wanted = flow.counts[0] ?? 0;
    await until(
      () => seen.length >= wanted,
      () => `all is read: ${seen.length} of ${wanted} ${troubles.join("; ")}`,
    );
    expect(seen).toEqual(Array.from({ length: wanted }, (_, number) => number));
    stop.abort();
    await reading;
  });

  // Last: every other client would have to begin anew.
  test.runIf(isLong)("when all brokers have other addresses, the one that was given leads back to them", async () => {
    const [door] = await freePorts(1);
    let way = kafka.portOf(1);
    await using _door = forwarder(door, () => way);
    const brokers = [`127.0.0.1:${door}`];
    await admin.topics.create({ name: "rebootstrapped", partitions, replicationFactor: 3 });
    await using flow = new NumberedFlow(brokers, { topic: "rebootstrapped", partitions });
    await using stack = new AsyncDisposableStack();
    const groups = (["classic", "consumer"] as const).map((protocol) =>
      stack.use(
        new WatchedGroup(brokers, {
          ...{ topic: "rebootstrapped", partitions, membersCount: 1 },
          consumer: groupOptions(`rebootstrapped-${protocol}`, protocol),
        }),
      ),
    );
    const more = async (): Promise<void> => {
      await flow.more(20);
      for (const group of groups) await group.reads(flow.acknowledged);
    };
    await more();
    await kafka.moveAway();
    way = kafka.portOf(2);
    await more();
    await flow.end();
    for (const group of groups) await group.reads(flow.counts);
  });
});

/** An address that stays, whoever is behind it. */
function forwarder(port: number, way: () => number): AsyncDisposable {
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = createConnection({ port: way(), host: "127.0.0.1" });
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.pipe(to);
      from.on("error", () => {});
      from.on("close", () => to.destroy());
    }
  });
  server.listen(port, "127.0.0.1");
  return {
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
