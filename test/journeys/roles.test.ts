import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { Cluster } from "@millrace/client";
import type { Producer } from "@millrace/client";
import { freePorts } from "../interop/broker-process.ts";
import { Command, killCommands } from "./command.ts";

/** Nodes that only agree, and nodes that only keep records: three and two, each a process, as an operator sets them up. */
const root = mkdtempSync(join(tmpdir(), "millrace-roles-"));
afterAll(() => {
  killCommands();
  rmSync(root, { recursive: true, force: true });
});

const controllerIds = [1, 2, 3];
const brokerIds = [4, 5];

async function run(...args: readonly string[]): Promise<string> {
  const command = new Command(args);
  const { code } = await command.ended;
  expect({ code, err: command.err }).toEqual({ code: 0, err: "" });
  return command.out.trim();
}

/** What is known of the nodes before any of them runs. */
class Setup {
  readonly #ports: ReadonlyMap<number, number>;

  private constructor(ports: ReadonlyMap<number, number>) {
    this.#ports = ports;
  }

  static async make(): Promise<Setup> {
    const ids = [...controllerIds, ...brokerIds];
    const ports = await freePorts(ids.length);
    return new Setup(new Map(ids.map((id, index) => [id, ports[index] ?? 0])));
  }

  get bootstrap(): readonly string[] {
    return brokerIds.map((id) => `127.0.0.1:${this.#ports.get(id)}`);
  }

  /** Settings of one node, as its file would have them. */
  of(nodeId: number): string[] {
    const isController = controllerIds.includes(nodeId);
    const address = `127.0.0.1:${this.#ports.get(nodeId)}`;
    const settings = {
      "node.id": nodeId,
      "process.roles": isController ? "controller" : "broker",
      listeners: `${isController ? "CONTROLLER" : "PLAINTEXT"}://${address}`,
      "controller.listener.names": "CONTROLLER",
      "controller.quorum.voters": controllerIds.map((id) => `${id}@127.0.0.1:${this.#ports.get(id)}`).join(","),
      "broker.session.timeout.ms": 3_000,
      "broker.heartbeat.interval.ms": 500,
    };
    return ["-d", join(root, `${nodeId}`), ...Object.entries(settings).map(([key, value]) => `--set=${key}=${value}`)];
  }

  async format(): Promise<void> {
    const [clusterId = "", ...directoryIds] = [0, ...controllerIds].map(() =>
      Buffer.from(randomUUID().slice(0, 16)).toString("base64url"),
    );
    const initial = controllerIds.map((id, at) => `${id}@127.0.0.1:${this.#ports.get(id)}:${directoryIds[at]}`).join();
    const formats = [
      ...controllerIds.map((id) => run("format", "-t", clusterId, ...this.of(id), "--initial-controllers", initial)),
      ...brokerIds.map((id) => run("format", "-t", clusterId, ...this.of(id), "--no-initial-controllers")),
    ];
    for (const out of await Promise.all(formats)) expect(out).toContain(`is formatted: cluster ${clusterId}, node `);
  }
}

class Nodes {
  readonly #setup: Setup;
  readonly #commands = new Map<number, Command>();

  constructor(setup: Setup) {
    this.#setup = setup;
  }

  async start(...ids: readonly number[]): Promise<void> {
    const commands = ids.map((id) => new Command(["start", ...this.#setup.of(id)]));
    for (const [at, id] of ids.entries()) this.#commands.set(id, commands[at] as Command);
    await Promise.all(commands.map((command) => command.says(/^millrace ready on \S+ in \d+ ms$/m)));
  }

  async end(id: number, signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    const command = this.#commands.get(id) as Command;
    command.process.kill(signal);
    const { code } = await command.ended;
    if (signal === "SIGTERM") expect(code, command.err).toBe(0);
  }

  stop(...ids: readonly number[]): Promise<void[]> {
    return Promise.all(ids.map((id) => this.end(id, "SIGTERM")));
  }

  /** Who led in the last term, by what the nodes have said. */
  get lastLeader(): number {
    let last = { term: -1, id: -1 };
    for (const [id, { err }] of this.#commands) {
      for (const [, term] of err.matchAll(/"kind":"leads","term":(\d+)/g)) {
        if (Number(term) > last.term) last = { term: Number(term), id };
      }
    }
    return last.id;
  }
}

/** Numbers, one after the other, until it is told to stop. */
class Writer {
  acknowledged = 0;
  readonly #producer: Producer;
  readonly #done: Promise<void>;
  #isStopping = false;

  constructor(producer: Producer) {
    this.#producer = producer;
    this.#done = this.#write();
  }

  async #write(): Promise<void> {
    while (!this.#isStopping) {
      await this.#producer.send("numbers", { key: "k", value: `${this.acknowledged}`, partition: 0 });
      this.acknowledged++;
    }
  }

  /** So many more. */
  async more(count: number): Promise<void> {
    const wanted = this.acknowledged + count;
    await expect.poll(() => this.acknowledged, { timeout: 20_000, interval: 20 }).toBeGreaterThanOrEqual(wanted);
  }

  async stop(): Promise<number> {
    this.#isStopping = true;
    await this.#done;
    return this.acknowledged;
  }
}

test("three controllers and two brokers: the active controller is killed, a broker restarted, and nothing is lost", async () => {
  const setup = await Setup.make();
  await setup.format();
  const nodes = new Nodes(setup);
  await nodes.start(...controllerIds, ...brokerIds);
  const bootstrap = setup.bootstrap.join(",");
  await run("topic", "create", "numbers", "--partitions", "1", "--replication-factor", "2", "-b", bootstrap);
  await using cluster = new Cluster({ brokers: setup.bootstrap, clientId: "roles" });
  const { topics } = cluster.admin();
  const inSync = async (): Promise<readonly number[]> => {
    const { partitions } = await topics.describe("numbers");
    return [...(partitions[0]?.inSyncReplicas ?? [])].sort();
  };
  expect(await inSync()).toEqual(brokerIds);
  const producer = cluster.producer();
  const writer = new Writer(producer);
  await writer.more(20);

  const active = nodes.lastLeader;
  expect(controllerIds).toContain(active);
  await nodes.end(active, "SIGKILL");
  await writer.more(20);
  // Another one decides, and the first one follows it when it is back.
  await topics.create({ name: "decided-by-another", partitions: 1, replicationFactor: 2 });
  expect(nodes.lastLeader).not.toBe(active);
  expect(controllerIds).toContain(nodes.lastLeader);
  await nodes.start(active);

  const [restarted = 0, other = 0] = brokerIds;
  await nodes.end(restarted, "SIGTERM");
  await writer.more(20);
  await nodes.start(restarted);
  await expect.poll(inSync, { timeout: 20_000 }).toEqual(brokerIds);
  // All that the other one has acknowledged alone meanwhile is here again.
  await nodes.end(other, "SIGKILL");
  await writer.more(20);
  await nodes.start(other);

  const count = await writer.stop();
  await producer.close();
  const values: string[] = [];
  for await (const { value } of cluster.consumer().records("numbers", { untilEnd: true })) values.push(`${value}`);
  expect(values).toEqual(Array.from({ length: count }, (_, at) => `${at}`));
  expect(await run("consume", "numbers", "--count", "1", "-b", bootstrap)).toBe("0");
  await nodes.stop(...brokerIds);
  await nodes.stop(...controllerIds);
}, 120_000);
