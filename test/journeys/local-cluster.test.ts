import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Cluster } from "@millrace/client";
import { afterAll, describe, expect, test } from "vitest";
import { Broker, Command, killCommands } from "./command.ts";

/** `millrace start --nodes`: real processes, as on a laptop. */
const root = mkdtempSync(join(tmpdir(), "millrace-nodes-"));
const clusters = new Set<LocalCluster>();
afterAll(() => {
  for (const cluster of clusters) cluster.killAll();
  killCommands();
  rmSync(root, { recursive: true, force: true });
});

class LocalCluster {
  readonly command: Command;
  readonly addresses: readonly string[];

  private constructor(command: Command, addresses: readonly string[]) {
    this.command = command;
    this.addresses = addresses;
    clusters.add(this);
  }

  static async start(data: string, args: readonly string[]): Promise<LocalCluster> {
    const command = new Command(["start", "--data", data, "--port", "0", ...args]);
    const ready = /^millrace cluster ready on (\S+) in \d+ ms \(\d nodes?\)$/m;
    const [, addresses = ""] = await command.says(ready);
    return new LocalCluster(command, addresses.split(","));
  }

  /** The process of a node; the last one, where there were several. */
  pidOf(nodeId: number): number {
    return this.#pids.findLast((each) => each.nodeId === nodeId)?.pid ?? 0;
  }

  get #pids(): { readonly nodeId: number; readonly pid: number }[] {
    const lines = this.command.err.matchAll(/"nodeId":(\d),"pid":(\d+),"message":"node starting"/g);
    return [...lines].map(([, nodeId, pid]) => ({ nodeId: Number(nodeId), pid: Number(pid) }));
  }

  get runningPids(): number[] {
    return this.#pids.map(({ pid }) => pid).filter(isAlive);
  }

  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<unknown> {
    this.command.process.kill(signal);
    return this.command.ended;
  }

  killAll(): void {
    for (const pid of this.runningPids) process.kill(pid, "SIGKILL");
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  // One that has ended and that nobody has asked for is none.
  const stat = `/proc/${pid}/stat`;
  return !existsSync(stat) || !/\) Z /.test(readFileSync(stat, "utf8"));
}

async function run(args: readonly string[], input = ""): Promise<{ code: number | null; out: string; err: string }> {
  const command = new Command(args);
  command.process.stdin?.end(input);
  const { code } = await command.ended;
  return { code, out: command.out, err: command.err };
}

const lines = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, at) => `line ${from + at}`);

test("three nodes: one is killed and comes back by itself, all stop cleanly, and the next start finds everything", async () => {
  const data = join(root, "three");
  const first = await LocalCluster.start(data, ["--nodes", "3"]);
  const server = (addresses: readonly string[]): string[] => ["--bootstrap", addresses.join(",")];
  const nodes = [...first.command.out.matchAll(/^millrace ready on (\S+) in \d+ ms \(node (\d)\)$/gm)];
  expect(nodes.map(([, , nodeId]) => nodeId).toSorted()).toEqual(["1", "2", "3"]);
  expect(new Set(nodes.map(([, address]) => address))).toEqual(new Set(first.addresses));

  // With as many replicas as there are nodes, and two that have to be in sync, though nothing was said of it.
  await run(["topic", "create", "kept", "--partitions", "3", ...server(first.addresses)]);
  const described = (await run(["topic", "describe", "kept", ...server(first.addresses)])).out;
  expect(described.match(/replicas (?:\d,?){3} {2}isr (?:\d,?){3}$/gm), described).toHaveLength(3);
  const produced = await run(["produce", "kept", ...server(first.addresses)], lines(0, 500).join("\n"));
  expect(produced.err).toBe("500 records acknowledged\n");

  const killed = first.pidOf(2);
  process.kill(killed, "SIGKILL");
  await first.command.says(/"nodeId":2,"signal":"SIGKILL",.*"the node has ended, and is started again"/);
  const meanwhile = await run(["produce", "kept", ...server(first.addresses)], lines(500, 1_000).join("\n"));
  expect(meanwhile.err).toBe("500 records acknowledged\n");
  await first.command.says(/(?:\(node 2\)[^]*){2}/);
  expect(first.pidOf(2)).not.toBe(killed);

  expect(await first.stop()).toEqual({ code: 0, signal: null });
  expect(first.runningPids).toEqual([]);
  expect(first.command.out.match(/cluster ready/g)).toHaveLength(1);

  const second = await LocalCluster.start(data, ["--nodes", "3"]);
  expect(second.command.err.match(/"isClean":true/g)).toHaveLength(3);
  const read = await run(["consume", "kept", "--until-end", ...server(second.addresses)]);
  expect(read.out.trim().split("\n").toSorted()).toEqual(lines(0, 1_000).toSorted());
  expect(await second.stop("SIGINT")).toEqual({ code: 0, signal: null });
});

test("a disk that was replaced is filled again by the others, and does not vote", async () => {
  const data = join(root, "replaced");
  const before = await LocalCluster.start(data, ["--nodes", "3"]);
  await run(["topic", "create", "rolled", "--partitions", "3", "-b", before.addresses.join(",")]);
  await run(["produce", "rolled", "-b", before.addresses.join(",")], lines(0, 100).join("\n"));
  expect(await before.stop()).toEqual({ code: 0, signal: null });
  rmSync(join(data, "node-3"), { recursive: true });

  const after = await LocalCluster.start(data, ["--nodes", "3"]);
  await after.command.says(/"nodeId":3,.*"message":"this node voted with another disk/);
  await using client = new Cluster({ brokers: after.addresses });
  await inSync(client);
  // What the new disk holds is all that there is.
  process.kill(after.pidOf(1), "SIGTERM");
  await after.command.says(/"nodeId":1,"code":0,/);
  const read = await run(["consume", "rolled", "--until-end", "-b", after.addresses.slice(1).join(",")]);
  expect(read.out.trim().split("\n").toSorted()).toEqual(lines(0, 100).toSorted());
  await after.command.says(/(?:\(node 1\)[^]*){2}/);
  expect(await after.stop()).toEqual({ code: 0, signal: null });
});

test("two nodes: one controller; more nodes join, and none leaves", async () => {
  const data = join(root, "grows");
  const two = await LocalCluster.start(data, ["--nodes", "2"]);
  await run(["topic", "create", "before", "--partitions", "4", "-b", two.addresses.join(",")]);
  await run(["produce", "before", "-b", two.addresses.join(",")], "a\nb\n");
  expect(await two.stop()).toEqual({ code: 0, signal: null });
  const ports = readFileSync(join(data, "millrace.cluster"), "utf8");

  const three = await LocalCluster.start(data, ["--nodes", "3"]);
  expect(readFileSync(join(data, "millrace.cluster"), "utf8")).toBe(ports.replace("nodes=2", "nodes=3"));
  await using cluster = new Cluster({ brokers: three.addresses });
  await cluster.admin().topics.create({ name: "on-all", partitions: 1, replicationFactor: 3 });
  const described = (await run(["topic", "describe", "on-all", "-b", three.addresses.join(",")])).out;
  expect(described).toMatch(/replicas (?:\d,?){3} /);
  expect((await run(["consume", "before", "-e", "-b", three.addresses.join(",")])).out.split("\n")).toHaveLength(3);
  expect(await three.stop()).toEqual({ code: 0, signal: null });

  const fewer = await run(["start", "--data", data, "--nodes", "2"]);
  expect(fewer).toMatchObject({ code: 1, out: "" });
  expect(fewer.err).toBe(
    `millrace: ${data} holds a cluster of 3 nodes: with --nodes 2 replicas would be left behind\n`,
  );
  const single = await run(["start", "--data", data]);
  expect(single).toMatchObject({
    code: 1,
    err: `millrace: ${data} holds a cluster of 3 nodes: start it with --nodes 3\n`,
  });
});

test("the end of the process that watches over them is the end of the nodes, and a second signal ends all at once", async () => {
  const data = join(root, "orphans");
  const first = await LocalCluster.start(data, ["--nodes", "1"]);
  first.command.process.kill("SIGKILL");
  // Its standard error is that of the node, too: it ends with it.
  await first.command.ended;
  expect(first.command.err).toContain("broker stopping");

  const second = await LocalCluster.start(data, ["--nodes", "1"]);
  second.command.process.kill("SIGTERM");
  second.command.process.kill("SIGINT");
  const { code } = await second.command.ended;
  expect(code).toBeNull();
  expect(second.runningPids).toEqual([]);
});

test("--no-restart leaves a node where it ended, and the others run; a settings file is for all", async () => {
  const data = join(root, "left");
  const file = join(root, "all.properties");
  writeFileSync(file, "num.partitions=7\nmin.insync.replicas=1\n");
  const cluster = await LocalCluster.start(data, ["--nodes", "3", "--no-restart", "--config", file]);
  process.kill(cluster.pidOf(3), "SIGKILL");
  await cluster.command.says(/"nodeId":3,"signal":"SIGKILL","message":"the node has ended, and is not started again"/);
  await run(["topic", "create", "t", "--replication-factor", "2", "-b", cluster.addresses.join(",")]);
  const { out } = await run(["topic", "describe", "t", "-b", cluster.addresses.join(",")]);
  expect(out).toMatch(/partitions 7$/m);
  expect(cluster.runningPids).toHaveLength(2);
  expect(await cluster.stop()).toEqual({ code: 0, signal: null });
});

test("a rolling restart under load: no send fails, nothing is lost, nothing is there twice, and each partition keeps its order", async () => {
  const cluster = await LocalCluster.start(join(root, "rolling"), ["--nodes", "3"]);
  await using client = new Cluster({ brokers: cluster.addresses });
  await client.admin().topics.create({ name: "rolled", partitions: 6 });
  await using producer = client.producer();
  const failures: unknown[] = [];
  const acknowledged: string[] = [];
  const load: { isOver: boolean; next: { readonly count: number; resolve(): void } | null } = {
    isOver: false,
    next: null,
  };
  const write = async (partition: number): Promise<void> => {
    for (let at = 0; !load.isOver; at++) {
      const value = `${partition}/${at}`;
      await producer.send("rolled", { partition, value }).then(
        () => acknowledged.push(value),
        (error: unknown) => failures.push(error),
      );
      if (load.next !== null && (acknowledged.length >= load.next.count || failures.length > 0)) load.next.resolve();
    }
  };
  // Each waits for its answers one by one, so that the order of a partition is that of its writer.
  const writing = Promise.all([0, 1, 2, 3, 4, 5].map(write));
  const hasGrown = (by: number): Promise<void> =>
    new Promise((resolve) => (load.next = { count: acknowledged.length + by, resolve }));
  for (const nodeId of [1, 2, 3]) {
    await hasGrown(200);
    const pid = cluster.pidOf(nodeId);
    process.kill(pid, "SIGTERM");
    await cluster.command.says(new RegExp(`"nodeId":${nodeId},"code":0,.*"the node has ended, and is started again"`));
    await cluster.command.says(new RegExp(`(?:\\(node ${nodeId}\\)[^]*){2}`));
    await inSync(client);
  }
  await hasGrown(200);
  load.isOver = true;
  await writing;
  expect(failures).toEqual([]);

  await using consumer = client.consumer();
  const read = new Map<number, string[]>();
  for await (const { partition, value } of consumer.records("rolled", { untilEnd: true }))
    read.set(partition, [...(read.get(partition) ?? []), String(value)]);
  for (const [partition, values] of read) {
    expect(values).toEqual(Array.from({ length: values.length }, (_, at) => `${partition}/${at}`));
  }
  expect([...read.values()].flat().toSorted()).toEqual(acknowledged.toSorted());
  expect(await cluster.stop()).toEqual({ code: 0, signal: null });
});

/** Before the next node goes, the one before it has caught up: what the page on clusters tells an operator to wait for. */
async function inSync(client: Cluster): Promise<void> {
  for (;;) {
    const topic = await client.admin().topics.describe("rolled");
    if (topic.partitions.every(({ inSyncReplicas }) => inSyncReplicas.length === 3)) return;
  }
}

describe("what cannot be is said in one line", () => {
  test.for([
    [["--nodes", "0"], '--nodes: "0" is not a whole number between 1 and 9'],
    [["--nodes", "10"], '--nodes: "10" is not a whole number between 1 and 9'],
    [["--nodes", "three"], '--nodes: "three" is not a whole number between 1 and 9'],
    [["--nodes", "3", "--port", "65534"], '--port: "65534" is not a whole number between 0 and 65533'],
    [["--nodes", "3", "--set", "node.id=4"], "--set: node.id is another for each node, and --nodes sets it"],
    [
      ["--nodes", "3", "--set", "listeners=PLAINTEXT://:1"],
      "--set: listeners is another for each node, and --nodes sets it",
    ],
    [["--nodes", "3", "--data", ""], "--data: no directory is named"],
    [["--member", "1"], "--member is for nodes that --nodes has started"],
  ] as const)("%j", async ([args, message]) => {
    const outcome = await run(["start", "--data", join(root, "nothing"), ...args]);
    expect(outcome).toEqual({ code: 1, out: "", err: `millrace: ${message}\n` });
    expect(existsSync(join(root, "nothing"))).toBe(false);
  });

  test("the directory of a single node", async () => {
    const data = join(root, "single");
    const broker = await Broker.start(data);
    expect(await broker.stop()).toBe(0);
    const { code, err } = await run(["start", "--data", data, "--nodes", "3"]);
    expect([code, err]).toEqual([
      1,
      `millrace: ${data} belongs to a single node: start it without --nodes, or give a directory of its own\n`,
    ]);
  });

  test("a port that is taken ends all of them", async () => {
    const server = createServer();
    const port = await new Promise<number>((resolve) => {
      server.listen(0, "127.0.0.1", () => resolve((server.address() as { readonly port: number }).port));
    });
    const outcome = await run(["start", "--data", join(root, "taken"), "--nodes", "1", "--port", String(port)]);
    server.close();
    expect([outcome.code, outcome.out]).toEqual([1, ""]);
    expect(outcome.err).toContain(`millrace: port ${port} on 127.0.0.1 is already in use\n`);
    expect(outcome.err).toMatch(/"nodeId":1,"code":1,"message":"the node does not start"/);
  });
});
