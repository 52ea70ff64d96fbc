import { Prng } from "@millrace/base/prng";
import { Cluster } from "@millrace/client";
import { describe, expect, test } from "vitest";
import { SeededRandom } from "../seeded-random.ts";
import { VirtualClock } from "../virtual-clock.ts";
import { ClusterNetwork } from "./cluster-network.ts";
import { loseMetadata, spoiltBit } from "./metadata-loss.ts";
import { dataDirectory, Node } from "./node.ts";
import type { NodeRole } from "./node.ts";
import { Process } from "./process.ts";
import { Trace } from "./trace.ts";
import { untilDone } from "./workloads/workload.ts";

/* A node of a cluster finds at its start that a bit of its metadata has turned over while it was down. */

const directory = `${dataDirectory}/metadata`;
const withinMs = 60_000;

class Nodes {
  readonly clock = new VirtualClock();
  readonly faults: string[] = [];
  readonly lines: string[] = [];
  readonly nodes: readonly Node[];
  readonly network: ClusterNetwork;
  /** By term. */
  readonly leaders = new Map<number, string>();
  readonly #prng: Prng;
  #clients = 0;

  constructor(seed: number, roles: readonly NodeRole[], snapshotBytes = 500) {
    const prng = (this.#prng = new Prng(seed));
    const trace = new Trace();
    this.network = new ClusterNetwork(this.clock, prng.fork(), trace);
    const host = {
      ...{ clock: this.clock, network: this.network, trace, prng: prng.fork() },
      controllers: roles.flatMap((role, index) => (role === "broker" ? [] : [index + 1])),
      settings: { "metadata.log.max.record.bytes.between.snapshots": `${snapshotBytes}` },
      tell: (line: string) => void this.lines.push(line),
      leads: (term: number, node: string) => {
        if ((this.leaders.get(term) ?? node) !== node) this.faults.push(`two leaders in term ${term}`);
        this.leaders.set(term, node);
      },
      fault: (text: string) => void this.faults.push(text),
    };
    this.nodes = roles.map((role, index) => new Node(index + 1, host, { wallSkewMs: 0, role }));
  }

  static async start(seed: number, roles: readonly NodeRole[], snapshotBytes?: number): Promise<Nodes> {
    const all = new Nodes(seed, roles, snapshotBytes);
    for (const node of all.nodes) node.start();
    await all.until(() => all.nodes.every(({ state }) => state === "up"));
    await all.createTopics("a", "b", "c");
    return all;
  }

  node(id: number): Node {
    return this.nodes[id - 1] as Node;
  }
  /** Of the last term. */
  get leader(): Node {
    return this.nodes.find(({ name }) => name === [...this.leaders.values()].at(-1)) as Node;
  }
  until(condition: () => boolean): Promise<void> {
    return this.clock.runUntil(condition, { withinMs });
  }
  linesOf({ name }: Node, text: string): readonly string[] {
    return this.lines.filter((line) => line.startsWith(`${name} `) && line.includes(text));
  }

  async createTopics(...names: readonly string[]): Promise<void> {
    for (const name of names) {
      await this.call((cluster) =>
        cluster
          .admin()
          .topics.create({ name, partitions: 2 })
          .catch((error: { code?: string }) => {
            if (error.code !== "TOPIC_ALREADY_EXISTS") throw error;
          }),
      );
    }
  }

  async topics(): Promise<string[]> {
    return this.call(async (cluster) => {
      const names: string[] = [];
      for await (const { name } of cluster.admin().topics.list()) names.push(name);
      return names.sort();
    });
  }

  async call<T>(call: (cluster: Cluster) => Promise<T>): Promise<T> {
    const process = new Process(`client-${this.#clients++}`, this.clock);
    const { clock } = process;
    const cluster = new Cluster({
      brokers: this.nodes.filter(({ role }) => role !== "controller").map(({ address }) => address),
      ...{ clientId: process.name, requestTimeoutMs: 4_000, connectTimeoutMs: 1_000 },
      world: { clock, network: this.network.of(process), random: new SeededRandom(this.#prng.uint32()) },
    });
    let isOver = false;
    const called = untilDone(clock, () => call(cluster)).finally(() => (isOver = true));
    await this.until(() => isOver);
    const result = await called;
    await cluster.close();
    return result;
  }

  async stop(node: Node): Promise<void> {
    void node.stop();
    await this.until(() => node.state === "stopped");
  }

  /** It dies, a bit of the file turns over, and it starts; while it was down there were changes. */
  async spoil(node: Node, file: RegExp): Promise<void> {
    node.crash("process");
    if (this.nodes.filter(({ state }) => state === "up").length > 1) await this.createTopics("while-it-was-down");
    const rotten = await spoiltBit(node.platter, this.#prng, (path) => file.test(path));
    if (rotten === null) throw new Error(`no bit of ${String(file)} would be found`);
    loseMetadata(node, rotten);
    node.start();
  }
}

const three = ["both", "both", "both"] as const;

describe.for([
  ["snapshot", /snapshot$/, 500],
  ["committed log", /\.log$/, 20_000_000],
] as const)("a bit of the %s of one of three controllers turns over", ([, file, snapshotBytes]) => {
  test.for([1, 2, 3])("it fetches all again, and takes part as before (seed %i)", async (seed) => {
    const all = await Nodes.start(seed, three, snapshotBytes);
    // Any of them, who leads among them.
    const node = all.node(seed);
    await all.spoil(node, file);
    await all.until(() => node.state === "up" && !node.hasLostMetadata);
    const [told = ""] = all.linesOf(node, "is kept aside, and fetched again");
    expect(told).toContain("error ");
    const kept = (await node.platter.list(directory)).map(({ name }) => name).filter((name) => name.includes("spoilt"));
    expect(kept.length).toBeGreaterThan(0);
    for (const name of kept) expect(told).toContain(`${directory}/${name}`);
    // It has a vote again: of the two others one is enough for a majority.
    for (const other of all.nodes) {
      if (other === node) continue;
      other.crash("process");
      await all.createTopics(`without-${other.name}`);
      other.start();
      await all.until(() => other.state === "up");
    }
    expect(await all.topics()).toEqual(["a", "b", "c", "while-it-was-down", ...without(all, node)].sort());
    // What it has now is whole: a start finds nothing to complain of.
    const isFetching = all.linesOf(node, "has no vote until then").length;
    node.crash("power");
    node.start();
    await all.until(() => node.state === "up");
    expect(all.linesOf(node, "is kept aside")).toHaveLength(1);
    expect(all.linesOf(node, "has no vote until then")).toHaveLength(isFetching);
    expect(all.faults).toEqual([]);
  });
});

function without(all: Nodes, node: Node): string[] {
  return all.nodes.filter((other) => other !== node).map(({ name }) => `without-${name}`);
}

test("its partitions are there when it is back, records and all", async () => {
  const all = await Nodes.start(4, three);
  const node = all.node(2);
  const values = Array.from({ length: 20 }, (_, at) => `value ${at}`);
  await all.call(async (cluster) => {
    const producer = cluster.producer();
    for (const value of values) await producer.send("a", { key: value, value });
    await producer.close();
  });
  const logs = async (): Promise<string[]> => {
    const names = (await node.platter.list(dataDirectory))
      .map(({ name }) => name)
      .filter((name) => /^[abc]-\d/.test(name));
    return Promise.all(
      names.sort().map(async (name) => {
        const bytes = await node.platter.readFile(`${dataDirectory}/${name}/00000000000000000000.log`);
        return `${name} ${bytes.toString("hex")}`;
      }),
    );
  };
  await all.stop(node);
  const before = await logs();
  expect(before.join("").length).toBeGreaterThan(100);
  node.start();
  await all.until(() => node.state === "up");
  await all.spoil(node, /snapshot$/);
  await all.until(() => node.state === "up");
  await all.stop(node);
  expect(await logs()).toEqual(before);
});

test("with a controller that lacks what was committed it elects nobody, and nothing is lost", async () => {
  const all = await Nodes.start(5, three);
  const spoilt = all.nodes.find((node) => node !== all.leader) as Node;
  const stale = all.nodes.find((node) => node !== all.leader && node !== spoilt) as Node;
  const { leader } = all;
  stale.crash("power");
  await all.createTopics("committed");
  leader.crash("power");
  const terms = all.leaders.size;
  stale.start();
  spoilt.crash("process");
  const rotten = await spoiltBit(spoilt.platter, new Prng(1), (path) => path.includes("snapshot"));
  if (rotten === null) throw new Error("nothing is there that could rot");
  loseMetadata(spoilt, rotten);
  spoilt.start();
  await all.clock.advance(60_000);
  expect(all.leaders.size).toBe(terms);
  expect(spoilt.state).toBe("starting");
  expect(all.linesOf(spoilt, "has no vote until then").length).toBeGreaterThan(1);
  leader.start();
  await all.until(() => all.nodes.every(({ state }) => state === "up") && !spoilt.hasLostMetadata);
  expect(await all.topics()).toEqual(["a", "b", "c", "committed"]);
  expect(all.faults).toEqual([]);
});

test("a broker without a vote fetches all again, too, even where its term cannot be read", async () => {
  const all = await Nodes.start(6, [...three, "broker"]);
  const node = all.node(4);
  await all.spoil(node, /snapshot$/);
  await all.until(() => node.state === "up" && !node.hasLostMetadata);
  node.crash("process");
  const log = (await node.platter.list(directory)).map(({ name }) => name).find((name) => name.endsWith(".log"));
  const path = `${directory}/${log}`;
  await node.platter.writeFile(path, Buffer.alloc((await node.platter.readFile(path)).length));
  node.hasLostMetadata = true;
  node.start();
  await all.until(() => node.state === "up" && !node.hasLostMetadata);
  expect(all.linesOf(node, "is kept aside")).toHaveLength(2);
  expect(all.faults).toEqual([]);
});

describe("the start is refused by name, and nothing is changed", () => {
  async function refused(all: Nodes, node: Node): Promise<string> {
    const before = await files(node);
    node.start();
    await all.until(() => node.state === "down");
    expect(await files(node)).toEqual(before);
    return all.faults.at(-1) ?? "";
  }
  async function files({ platter }: Node): Promise<string[]> {
    const names = (await platter.list(directory)).map(({ name }) => name);
    return Promise.all(
      names.map(async (name) => `${name} ${(await platter.readFile(`${directory}/${name}`)).toString("hex")}`),
    );
  }

  test("where nobody else votes", async () => {
    const all = await Nodes.start(7, ["both"]);
    const node = all.node(1);
    node.crash("process");
    const rotten = await spoiltBit(node.platter, new Prng(1), (path) => path.includes("snapshot"));
    if (rotten !== null) node.platter.flipBit(rotten);
    const message = await refused(all, node);
    expect(message).toContain("quorum-snapshot is damaged at position");
    expect(message).toContain("No other controller is there to fetch the metadata from");
  });

  test("where a controller cannot tell for whom it has voted", async () => {
    const all = await Nodes.start(8, three);
    const node = all.node(1);
    node.crash("process");
    const log = (await node.platter.list(directory)).map(({ name }) => name).find((name) => name.endsWith(".log"));
    const path = `${directory}/${log}`;
    await node.platter.writeFile(path, Buffer.alloc((await node.platter.readFile(path)).length));
    const message = await refused(all, node);
    expect(message).toContain(`${path} is damaged at position 0`);
    expect(message).toContain("start it with an empty directory");
  });

  test("where the controllers that have lost it are needed for a majority: the last of them says so", async () => {
    const all = await Nodes.start(9, three);
    const [one, two, third] = all.nodes as [Node, Node, Node];
    third.crash("process");
    for (const node of [one, two]) {
      node.crash("process");
      const rotten = await spoiltBit(node.platter, new Prng(1), (path) => path.includes("snapshot"));
      if (rotten !== null) loseMetadata(node, rotten);
    }
    one.start();
    await all.clock.advance(5_000);
    expect(all.linesOf(one, "it waits for controllers to fetch it from")).toHaveLength(1);
    two.start();
    third.start();
    await all.until(() => one.state === "down" || two.state === "down");
    expect(all.faults.at(-1)).toContain("There is nobody to fetch the metadata from");
    expect(all.leaders.size).toBe(new Set(all.leaders.keys()).size);
  });
});
