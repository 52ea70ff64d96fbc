import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { readText, repositoryFiles } from "../house/repository.ts";
import { freePorts } from "../interop/broker-process.ts";
import { Command, killCommands } from "./command.ts";

/** Nodes that are started one by one, each on a host of its own: here they are all on this one. */
const root = mkdtempSync(join(tmpdir(), "millrace-hosts-"));
afterAll(() => {
  killCommands();
  rmSync(root, { recursive: true, force: true });
});

async function run(args: readonly string[]): Promise<{ code: number | null; out: string; err: string }> {
  const command = new Command(args);
  const { code } = await command.ended;
  return { code, out: command.out, err: command.err };
}

interface Node {
  readonly command: Command;
  readonly address: string;
}

async function ready(command: Command): Promise<Node> {
  const [, address = ""] = await command.says(/^millrace ready on (\S+) in \d+ ms$/m);
  return { command, address };
}

async function stop(nodes: readonly Node[]): Promise<void> {
  for (const { command } of nodes) command.process.kill("SIGTERM");
  const ends = await Promise.all(nodes.map(({ command }) => command.ended));
  expect(ends).toEqual(nodes.map(() => ({ code: 0, signal: null })));
}

describe("the example of three hosts", () => {
  const example = readText("examples/cluster.properties");
  const keys = [...example.matchAll(/^#?([a-z.]+)=/gm)].map(([, key = ""]) => key);

  test("explains each key, and names none that is unknown or without effect", async () => {
    const paragraphs = example.split("\n\n");
    for (const key of keys) {
      const paragraph = paragraphs.find((each) => new RegExp(`^#?${key.replaceAll(".", "\\.")}=`, "m").test(each));
      expect(paragraph, key).toMatch(/^# [A-Z]/);
    }
    const config = readText("docs/config.md");
    expect(keys.filter((key) => !config.includes(`\`${key}\``))).toEqual([]);
  });

  test("starts three nodes, which become a cluster, and find each other again", async () => {
    const [a = 0, b = 0, c = 0, ...clientPorts] = await freePorts(6);
    const voters = { "one.example:9093": a, "two.example:9093": b, "three.example:9093": c };
    let text = example.replaceAll("/var/lib/millrace", join(root, "unused"));
    for (const [host, port] of Object.entries(voters)) text = text.replaceAll(host, `127.0.0.1:${port}`);
    const file = join(root, "cluster.properties");
    writeFileSync(file, text);
    const startOne = async (index: number): Promise<Node> => {
      const client = `PLAINTEXT://127.0.0.1:${clientPorts[index]}`;
      const own = {
        "node.id": index + 1,
        "advertised.listeners": client,
        // On one host they cannot have the same ports.
        listeners: `${client},CONTROLLER://127.0.0.1:${[a, b, c][index]}`,
      };
      const set = Object.entries(own).map(([key, value]) => `--set=${key}=${value}`);
      return ready(new Command(["start", "--config", file, "--data", join(root, `host-${index}`), ...set]));
    };
    const nodes = await Promise.all([0, 1, 2].map(startOne));
    const bootstrap = nodes.map(({ address }) => address).join(",");
    expect((await run(["topic", "create", "t", "-b", bootstrap])).err).toBe("");
    const { out } = await run(["topic", "describe", "t", "-b", bootstrap]);
    expect(out).toMatch(/ replicas (?:\d,?){3} /);
    for (const { command } of nodes) expect(command.err).not.toContain("is ignored");
    await stop(nodes);
    const again = await Promise.all([0, 1, 2].map(startOne));
    expect((await run(["topic", "list", "-b", bootstrap])).out).toBe("t\n");
    await stop(again);
  });
});

describe("format", () => {
  const settings = async (): Promise<{ readonly of: (nodeId: number) => string[]; readonly voters: string }> => {
    const [client1, client2, client3, ...controllers] = await freePorts(5);
    const clients = [client1, client2, client3];
    const voters = controllers.map((port, index) => `${index + 1}@127.0.0.1:${port}`);
    const of = (nodeId: number): string[] => {
      const controller = controllers[nodeId - 1];
      const client = `PLAINTEXT://127.0.0.1:${clients[nodeId - 1]}`;
      const own = {
        "node.id": nodeId,
        "process.roles": controller === undefined ? "broker" : "broker,controller",
        listeners: controller === undefined ? client : `${client},CONTROLLER://127.0.0.1:${controller}`,
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": voters.join(","),
      };
      return Object.entries(own).map(([key, value]) => `--set=${key}=${value}`);
    };
    return { of, voters: voters.join(",") };
  };
  const uuid = async (): Promise<string> => (await run(["random-uuid"])).out.trim();

  test("two first controllers, and a broker that joins them", async () => {
    const { of, voters } = await settings();
    const clusterId = await uuid();
    expect(clusterId).toMatch(/^[A-Za-z0-9_][\w-]{21}$/);
    const directoryIds = [await uuid(), await uuid()];
    const members = voters.split(",").map((voter, index) => `${voter}:${directoryIds[index]}`);
    const data = (nodeId: number): string => join(root, `formatted-${nodeId}`);
    const initial = ["--initial-controllers", members.join(",")];
    for (const nodeId of [1, 2]) {
      const { out, err } = await run(["format", "-t", clusterId, "-d", data(nodeId), ...of(nodeId), ...initial]);
      const expected = `cluster ${clusterId}, node ${nodeId}, directory id ${directoryIds[nodeId - 1]}`;
      expect([out, err]).toEqual([`${data(nodeId)} is formatted: ${expected}\n`, ""]);
    }
    const twice = await run(["format", "-t", clusterId, "-d", data(1), ...of(1), ...initial]);
    expect(twice).toEqual({
      code: 1,
      out: "",
      err: `millrace: ${data(1)} is formatted already, for cluster ${clusterId}\n`,
    });
    const ignored = await run(["format", "-t", clusterId, "-d", data(1), ...of(1), ...initial, "--ignore-formatted"]);
    expect([ignored.code, ignored.out]).toEqual([0, expect.stringContaining("was formatted already")]);
    const third = await run(["format", "-t", clusterId, "-d", data(3), ...of(3), "--no-initial-controllers"]);
    expect(third.code, third.err).toBe(0);

    const nodes = await Promise.all(
      [1, 2, 3].map((nodeId) => ready(new Command(["start", "-d", data(nodeId), ...of(nodeId)]))),
    );
    for (const { command } of nodes) await command.says(new RegExp(`"clusterId":"${clusterId}"`));
    const server = nodes[2]?.address ?? "";
    expect((await run(["topic", "create", "t", "--replication-factor", "3", "-b", server])).err).toBe("");
    await stop(nodes);
  });

  test("a node that was formatted for another cluster does not join this one", async () => {
    const { of, voters } = await settings();
    const [first = ""] = voters.split(",");
    const one = (nodeId: number): string[] => [...of(nodeId), `--set=controller.quorum.voters=${first}`];
    const data = join(root, "of-one");
    const clusterId = await uuid();
    expect((await run(["format", "-t", clusterId, "-d", data, ...one(1), "--standalone"])).code).toBe(0);
    const node = await ready(new Command(["start", "-d", data, ...one(1)]));
    const stranger = join(root, "stranger");
    const other = await uuid();
    await run(["format", "-t", other, "-d", stranger, ...one(3), "-N"]);
    const refused = await run(["start", "-d", stranger, ...one(3)]);
    expect([refused.code, refused.err.split("\n").at(-2)]).toEqual([
      1,
      `millrace: ${stranger} is to join cluster ${other}; the controllers are those of ${clusterId}`,
    ]);
    await stop([node]);
  });

  test.for([
    [["-t", "short", "--standalone"], 'cluster id "short" is not 22 characters of base64url'],
    [
      ["-t", "AAAAAAAAAAAAAAAAAAAAAA"],
      "format needs one of --standalone, --initial-controllers and --no-initial-controllers",
    ],
    [
      ["-t", "AAAAAAAAAAAAAAAAAAAAAA", "--standalone"],
      "a controller of a cluster needs a listener for it: one of controller.listener.names in listeners",
    ],
    [
      ["-t", "AAAAAAAAAAAAAAAAAAAAAA", "-N"],
      "controller.quorum.voters has to say where the controllers of the cluster are",
    ],
    [
      ["-t", "AAAAAAAAAAAAAAAAAAAAAA", "-I", "1@h:1"],
      '--initial-controllers: "1@h:1" is not ID@HOST:PORT:DIRECTORY-ID',
    ],
  ] as const)("%j is refused", async ([args, message]) => {
    const outcome = await run(["format", "-d", join(root, "refused"), ...args]);
    expect(outcome).toEqual({ code: 1, out: "", err: `millrace: ${message}\n` });
  });
});

describe("the manifest for Kubernetes", () => {
  const manifest = readText("examples/kubernetes/statefulset.yaml");
  const documents = new Map(
    manifest.split("\n---\n").map((text) => [/^kind: (\S+)$/m.exec(text)?.[1] ?? "", text] as const),
  );

  test("is a headless service, a budget, settings and a set whose names and ports agree", () => {
    expect([...documents.keys()]).toEqual(["Service", "PodDisruptionBudget", "ConfigMap", "StatefulSet"]);
    const [service = "", budget = "", , set = ""] = [...documents.values()];
    expect(service).toMatch(/^ {2}clusterIP: None$/m);
    expect(service).toMatch(/^ {2}publishNotReadyAddresses: true$/m);
    expect(budget).toMatch(/^ {2}maxUnavailable: 1$/m);
    expect(set).toMatch(/^ {2}serviceName: millrace$/m);
    expect(set).toMatch(/^ {2}podManagementPolicy: Parallel$/m);
    expect(set).toMatch(/requiredDuringSchedulingIgnoredDuringExecution:[^]*topologyKey: kubernetes\.io\/hostname/);
    expect(set).toMatch(/readinessProbe:\n +tcpSocket:\n +port: clients\n/);
    expect(set).toMatch(/volumeClaimTemplates:\n {4}- metadata:\n {8}name: data\n[^]*accessModes: \["ReadWriteOnce"\]/);
    expect(set).toMatch(/- name: data\n {14}mountPath: \/data\n/);
    // A node needs up to 15 s to hand over and 5 s for what is in flight.
    expect(Number(/terminationGracePeriodSeconds: (\d+)/.exec(set)?.[1])).toBeGreaterThanOrEqual(30);
    for (const text of [service, set]) {
      expect(text).toMatch(/name: clients\n +(?:containerPort|port): 9092$/m);
      expect(text).toMatch(/name: controllers\n +(?:containerPort|port): 9093$/m);
    }
    for (const text of documents.values()) expect(text).toMatch(/^ {2}name: millrace$/m);
    expect(manifest).not.toContain("\t");
  });

  test("its settings are those of the example, and its pods are the controllers that they name", () => {
    const block = /cluster\.properties: \|\n((?: {4}.*\n)+)/.exec(manifest)?.[1] ?? "";
    const pairs = (text: string): Map<string, string> =>
      new Map([...text.matchAll(/^ *([a-z.]+)=(.*)$/gm)].map(([, key = "", value = ""]) => [key, value]));
    const [ours, example] = [pairs(block), pairs(readText("examples/cluster.properties"))];
    const perHost = ["node.id", "advertised.listeners", "controller.quorum.voters", "log.dirs"];
    for (const key of perHost) example.delete(key);
    for (const [key, value] of example) expect([key, ours.get(key)]).toEqual([key, value]);
    const replicas = Number(/^ {2}replicas: (\d+)$/m.exec(manifest)?.[1]);
    const pods = Array.from({ length: replicas }, (_, ordinal) => `${ordinal + 1}@millrace-${ordinal}.millrace:9093`);
    expect(ours.get("controller.quorum.voters")).toBe(pods.join(","));
    expect(ours.get("log.dirs")).toBe("/data");
  });

  test.for([0, 2, 11])("pod %i is the node one above its ordinal, advertised by the name of the pod", (ordinal) => {
    const script = /args:\n +- \|\n((?: {14}.*\n)+)/.exec(manifest)?.[1] ?? "";
    const bin = join(root, "bin");
    mkdirSync(bin, { recursive: true });
    writeFileSync(join(bin, "node"), '#!/bin/sh\nprintf "%s\\n" "$@"\n');
    chmodSync(join(bin, "node"), 0o755);
    const env = { PATH: `${bin}:${process.env["PATH"]}`, HOSTNAME: `millrace-${ordinal}` };
    const { stdout, status } = spawnSync("sh", ["-c", script], { env, encoding: "utf8" });
    expect(status).toBe(0);
    expect(stdout.trim().split("\n")).toEqual([
      "cli/dist/main.js",
      "start",
      "--config",
      "/etc/millrace/cluster.properties",
      "--set",
      `node.id=${ordinal + 1}`,
      "--set",
      `advertised.listeners=PLAINTEXT://millrace-${ordinal}.millrace:9092`,
    ]);
  });

  test("each example is named by a page", () => {
    const pages = repositoryFiles("docs").filter((file) => file.endsWith(".md"));
    const text = pages.map(readText).join("\n");
    expect(repositoryFiles("examples").filter((file) => !text.includes(file))).toEqual([]);
  });
});
