import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Cluster } from "@millrace/client";
import { afterAll, expect, test } from "vitest";
import { repositoryRoot } from "../house/repository.ts";
import { freePorts } from "../interop/broker-process.ts";
import { Broker, killCommands } from "./command.ts";

/**
 * Data directories of a single broker from before there were clusters, whose metadata log was its own: one that was stopped, and
 * one that was killed. Written by commit a67e2b2: topics orders (2 partitions, 200 records with keys, retention.ms=-1) and settings
 * (compacted), one that was deleted, and group readers, which had committed 119 of the records.
 */
const root = mkdtempSync(join(tmpdir(), "millrace-former-"));
afterAll(() => {
  killCommands();
  rmSync(root, { recursive: true, force: true });
});

function unpacked(name: string): string {
  const archive = join(repositoryRoot, "test", "journeys", "former", `${name}.tgz`);
  const data = join(root, name);
  mkdirSync(data);
  const { status, stderr } = spawnSync("tar", ["-xzf", archive, "-C", data, "--strip-components=1"]);
  expect(status, String(stderr)).toBe(0);
  return data;
}

/** What stays the same, whatever opens the directory. */
async function lookThrough(address: string): Promise<unknown> {
  await using client = new Cluster({ brokers: [address] });
  const { topics, groups } = client.admin();
  const names: string[] = [];
  for await (const { name, partitions } of topics.list()) names.push(`${name} ${partitions.length}`);
  await using consumer = client.consumer();
  const values: string[] = [];
  for await (const { key, value } of consumer.records("orders", { untilEnd: true })) values.push(`${key} ${value}`);
  const offsets = await groups.offsets("readers");
  return { names: names.toSorted(), values: values.toSorted(), offsets };
}

test.for(["stopped", "killed"])(
  "a %s broker's directory from before clusters opens, serves, and can grow",
  async (name) => {
    const data = unpacked(name);
    const single = await Broker.start(data);
    const found = await lookThrough(single.address);
    const values = Array.from({ length: 200 }, (_, index) => `key ${index + 1} order ${index + 1}`);
    expect(found).toMatchObject({ names: ["orders 2", "settings 1"], values: values.toSorted() });
    expect(JSON.stringify(found)).toContain('"orders"');
    expect(readdirSync(join(data, "metadata")).toSorted()).toEqual([
      "quorum-00000000000000000000.log",
      "quorum-snapshot",
    ]);
    expect(await single.stop()).toBe(0);

    // The same directory as that of the first node of a cluster, which another one joins.
    const [client1, client2, controller] = await freePorts(3);
    const both = [`controller.quorum.voters=1@127.0.0.1:${controller}`, "controller.listener.names=CONTROLLER"];
    const of = (nodeId: number, listeners: string, roles: string): string[] =>
      [...both, `node.id=${nodeId}`, `listeners=${listeners}`, `process.roles=${roles}`].map((each) => `--set=${each}`);
    const listeners = `PLAINTEXT://127.0.0.1:${client1},CONTROLLER://127.0.0.1:${controller}`;
    const first = await Broker.start(data, of(1, listeners, "broker,controller"));
    const second = await Broker.start(`${data}-2`, of(2, `PLAINTEXT://127.0.0.1:${client2}`, "broker"));
    expect(await lookThrough(second.address)).toEqual(found);
    await using client = new Cluster({ brokers: [second.address] });
    await client.admin().topics.create({ name: "on-both", partitions: 1, replicationFactor: 2 });
    expect(await second.stop()).toBe(0);
    expect(await first.stop()).toBe(0);
  },
);
