import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Cluster } from "@millrace/client";
import type { Logger } from "@millrace/base/logger";
import { simulatedWorld } from "@millrace/simulator/simulated-world";
import type { SimulatedWorld } from "@millrace/simulator/simulated-world";
import { afterAll, expect, test } from "vitest";
import { startCluster } from "../src/index.ts";
import type { ClusterFaultRequest, EmbeddedCluster } from "../src/index.ts";

/** Clusters in this process: what programs that embed them, and tests of clients, rely on. */
const root = mkdtempSync(join(tmpdir(), "millrace-embedded-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

async function valuesOf(cluster: EmbeddedCluster, topic: string): Promise<string[]> {
  await using client = new Cluster({ brokers: cluster.bootstrap });
  await using consumer = client.consumer();
  const values: string[] = [];
  for await (const { value } of consumer.records(topic, { untilEnd: true })) values.push(String(value));
  return values;
}

test("three nodes in one process: killed, stopped, paused and started again, nothing is lost or doubled", async () => {
  const before = temporaryDirectories();
  {
    await using cluster = await startCluster({ nodes: 3 });
    expect(cluster.brokers.map(({ nodeId, state }) => [nodeId, state])).toEqual([
      [1, "running"],
      [2, "running"],
      [3, "running"],
    ]);
    expect(cluster.clusterId).toMatch(/^[\w-]{22}$/);
    await using client = new Cluster({ brokers: cluster.bootstrap });
    await client.admin().topics.create({ name: "t", partitions: 3 });
    await using producer = client.producer();
    const sent: string[] = [];
    const send = async (count: number): Promise<void> => {
      for (let at = 0; at < count; at++) {
        const value = `value ${sent.length}`;
        await producer.send("t", { value });
        sent.push(value);
      }
    };
    await send(20);
    const [first, second, third] = cluster.brokers;
    await second?.kill();
    expect(second?.state).toBe("stopped");
    await send(20);
    const address = second?.address;
    await second?.restart();
    expect(second?.address).toEqual(address);
    third?.pause();
    expect(third?.state).toBe("paused");
    await send(5);
    third?.resume();
    await first?.restart();
    await send(20);
    expect((await valuesOf(cluster, "t")).toSorted()).toEqual(sent.toSorted());
  }
  expect(temporaryDirectories().filter((name) => !before.includes(name))).toEqual([]);
}, 60_000);

/** Of clusters that were given none. */
function temporaryDirectories(): string[] {
  return readdirSync(tmpdir()).filter((name) => /^millrace-[0-9a-f]{16}$/.test(name));
}

test("a directory that is named stays, and the next cluster finds it", async () => {
  const directory = join(root, "kept");
  let clusterId: string;
  {
    await using cluster = await startCluster({ nodes: 1, directory });
    ({ clusterId } = cluster);
    await using client = new Cluster({ brokers: cluster.bootstrap });
    await using producer = client.producer();
    await producer.send("kept", { value: "a" });
  }
  expect(existsSync(join(directory, "node-1", "meta.properties"))).toBe(true);
  await using again = await startCluster({ nodes: 1, directory });
  expect(again.clusterId).toBe(clusterId);
  expect(await valuesOf(again, "kept")).toEqual(["a"]);
});

test("faults: a request is delayed, refused, dropped before or after it is carried out", async () => {
  await using cluster = await startCluster({ nodes: 1 });
  await using client = new Cluster({ brokers: cluster.bootstrap, clientId: "faulted" });
  await client.admin().topics.create({ name: "t", partitions: 1 });
  await using producer = client.producer();
  await producer.send("t", { value: "0" });
  const faults = [{ errorCode: 6 }, { drop: true }, { drop: "answer" }, { delayMs: 30 }] as const;
  const seen: ClusterFaultRequest[] = [];
  for (const [index, fault] of faults.entries()) {
    let isDue = true;
    const remove = cluster.addFault((request) => {
      if (request.clientId !== "faulted") return;
      seen.push(request);
      if (request.name !== "Produce" || !isDue) return;
      isDue = false;
      return fault;
    });
    // The client tries again what it was not told of: idempotence keeps what was carried out from being written twice.
    await producer.send("t", { value: String(index + 1) });
    expect(isDue).toBe(false);
    remove();
  }
  const attempts = seen.filter(({ name }) => name === "Produce");
  expect(attempts.length).toBe(faults.length * 2 - 1);
  expect(attempts[0]).toMatchObject({ apiKey: 0, clientId: "faulted", listener: "PLAINTEXT", nodeId: 1 });
  expect(await valuesOf(cluster, "t")).toEqual(["0", "1", "2", "3", "4"]);
});

/** Moves the clock until the work is done. */
async function during<T>({ clock }: SimulatedWorld, work: PromiseLike<T>): Promise<T> {
  let isOver = false;
  const end = (): void => {
    isOver = true;
  };
  void work.then(end, end);
  await clock.runUntil(() => isOver, { withinMs: 600_000 });
  return work;
}

test("in virtual time: minutes pass in moments, and nothing of the machine is used", async () => {
  const world = simulatedWorld({ seed: 7 });
  const before = temporaryDirectories();
  const cluster = await during(world, startCluster({ nodes: 3, world }));
  const client = new Cluster({ brokers: cluster.bootstrap, world });
  await during(world, client.admin().topics.create({ name: "t", partitions: 1 }));
  const producer = client.producer();
  await during(world, producer.send("t", { value: "before" }));
  await world.clock.advance(300_000);
  await during(world, producer.send("t", { value: "after" }));
  await during(world, client.close());
  await during(world, cluster[Symbol.asyncDispose]());
  expect(temporaryDirectories()).toEqual(before);
}, 60_000);

test("the active controller is killed: what it led as a broker is led again long before its session is over", async () => {
  const world = simulatedWorld({ seed: 8 });
  const active = { nodeId: 0 };
  const loggerOf = (nodeId: number): Logger => ({
    debug: () => undefined,
    info: (message) => {
      if (message === "this node is the active controller") active.nodeId = nodeId;
    },
    warn: () => undefined,
    error: () => undefined,
    with: (fields) => loggerOf(Number(fields["nodeId"] ?? nodeId)),
  });
  const config = { "broker.session.timeout.ms": "60000" };
  const cluster = await during(world, startCluster({ nodes: 3, world, config, logger: loggerOf(0) }));
  const client = new Cluster({ brokers: cluster.bootstrap, world });
  await during(world, client.admin().topics.create({ name: "t", partitions: 6 }));
  const producer = client.producer();
  const toAll = (value: string): Promise<unknown> =>
    Promise.all([0, 1, 2, 3, 4, 5].map((partition) => producer.send("t", { partition, value })));
  await during(world, toAll("before"));
  const killed = cluster.brokers.find(({ nodeId }) => nodeId === active.nodeId);
  await during(world, killed?.kill() ?? Promise.reject(new Error("nobody is active")));
  const sinceMs = world.clock.monotonicMs();
  await during(world, toAll("after"));
  expect(world.clock.monotonicMs() - sinceMs).toBeLessThan(15_000);
  await during(world, client.close());
  await during(world, cluster[Symbol.asyncDispose]());
}, 60_000);

test.for([[0], [10], [1.5]])("%d nodes are no cluster", async ([nodes]) => {
  await expect(startCluster({ nodes: nodes as number })).rejects.toThrow("is not a whole number between 1 and 9");
});

test("settings that differ from node to node are not for all", async () => {
  await expect(startCluster({ config: { "node.id": "4" } })).rejects.toThrow(
    "config: node.id is another for each node, and is set for it",
  );
});
