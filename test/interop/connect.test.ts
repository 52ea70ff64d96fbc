import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { beforeEach, describe, expect, test } from "vitest";
import { clients, javaProgram } from "./clients.ts";
import { dump, quickGroups, sessionTimeoutMs, skipWhenMissing, Workspace } from "./journey.ts";
import { ClientProgram } from "./program.ts";
import { Running, waitUntil } from "./running.ts";
import { whyMissing } from "./runtimes.ts";
import { freePorts } from "./broker-process.ts";
import { Target } from "./target.ts";

const linesPerPart = 500;
/** Connectors of Apache Kafka that need nothing but files. */
const connectors = { source: "FileStreamSourceConnector", sink: "FileStreamSinkConnector" } as const;

/** What a worker answers for `/connectors/NAME/status`. */
interface Status {
  readonly connector: { readonly state: string; readonly worker_id: string };
  readonly tasks: readonly { readonly state: string; readonly worker_id: string }[];
}

/**
 * Kafka Connect in distributed mode: a file goes into a topic, exactly once (KIP-618), and from there into another file,
 * at least once. Two workers share the work by a group protocol of their own; one is killed, the broker is, and all
 * workers are restarted.
 */
describe("Kafka Connect, distributed", () => {
  beforeEach((context) => skipWhenMissing(context, whyMissing("java")));

  test("a file is copied through a topic while a worker and the broker are killed and all are restarted", async () => {
    using workspace = new Workspace();
    await using target = await Target.start({ settings: quickGroups });
    await using program = ClientProgram.start(clients.java, target.address);
    await program.createTopic({ topic: "lines", partitions: 1 });
    const [from, to] = [workspace.path("from.txt"), workspace.path("to.txt")];
    writeFileSync(from, "");
    const lines: string[] = [];
    const append = (): void => {
      // In ASCII: the connector counts characters, and skips as many bytes when it goes on.
      const part = Array.from({ length: linesPerPart }, (_, index) => `line ${lines.length + index}`);
      lines.push(...part);
      appendFileSync(from, part.map((line) => `${line}\n`).join(""));
    };
    const copied = (): string[] => (existsSync(to) ? readFileSync(to, "utf8").split("\n").slice(0, -1) : []);
    const isCopied = (): boolean => copied().at(-1) === lines.at(-1);

    const ports = await freePorts(2);
    const workers = new Map<number, Running>();
    await using stack = new AsyncDisposableStack();
    const start = async (port: number): Promise<void> => {
      const file = workspace.path("worker.properties");
      writeFileSync(file, workerSettings(target.address, port));
      const worker = Running.start(
        `worker ${port}`,
        javaProgram("org.apache.kafka.connect.cli.ConnectDistributed", [file]),
      );
      workers.set(port, stack.use(worker));
      await worker.until("it answers", async () => (await ask(port, "/connectors")) !== null);
    };
    await Promise.all(ports.map(start));
    const [port] = ports;
    const create = async (name: string, connector: string, config: Readonly<Record<string, string>>): Promise<void> => {
      const body = { "connector.class": `org.apache.kafka.connect.file.${connector}`, "tasks.max": "1", ...config };
      // While the workers share out anew they refuse with 409.
      await waitUntil(
        `${name} is created`,
        async () => (await ask(port, `/connectors/${name}/config`, body)) !== null,
        () => workers.get(port)?.log ?? "",
      );
    };
    await create("source", connectors.source, { file: from, topic: "lines" });
    await create("sink", connectors.sink, { file: to, topics: "lines" });
    append();
    await waitUntil("the first part is copied", isCopied, () => allLogs(workers));

    // The worker with the source's task is killed while lines come; the other one takes it over.
    const victim = await workerOfTask(ports, "source");
    append();
    await workers.get(victim)?.kill();
    append();
    const survivor = ports.find((one) => one !== victim) ?? expect.unreachable();
    await waitUntil("all is copied by the worker that is left", isCopied, () => allLogs(workers));
    expect(await workerOfTask([survivor], "source")).toBe(survivor);

    // It comes back and gets its share.
    await start(victim);
    await waitUntil(
      "both workers have a task",
      async () => {
        const places = await Promise.all(["source", "sink"].map(async (name) => await workerOfTask([survivor], name)));
        return new Set(places).size === 2;
      },
      () => allLogs(workers),
    );
    append();
    await target.kill();
    await target.start();
    append();
    await waitUntil("what came then is copied", isCopied, () => allLogs(workers));

    // After a clean stop each of the two goes on just where its offsets say.
    const written = await dump(workspace, program, { topic: "lines", isolation: "read_committed" });
    const last = written.at(-1)?.offset ?? expect.unreachable();
    const isSinkCommitted = async (): Promise<boolean> => (await sinkOffset(port)) > last;
    await waitUntil("the sink has committed", isSinkCommitted, () => allLogs(workers));
    for (const worker of workers.values()) await worker.stop();
    const before = copied();
    append();
    // One after the other: a source's task that finds no leader to ask at its start fails for good.
    for (const one of ports) await start(one);
    await waitUntil("what came between is copied", isCopied, () => allLogs(workers));
    expect(copied().slice(before.length)).toEqual(lines.slice(-linesPerPart));

    const records = await dump(workspace, program, { topic: "lines", isolation: "read_committed" });
    expect(records.map(({ value }) => value?.toString())).toEqual(lines);
    expect([...new Set(copied())]).toEqual(lines);
    for (const worker of workers.values()) await worker.stop();
  });
});

function workerSettings(bootstrap: string, port: number): string {
  const quick = (prefix: string): Record<string, string> => ({
    [`${prefix}session.timeout.ms`]: `${sessionTimeoutMs}`,
    [`${prefix}heartbeat.interval.ms`]: "500",
  });
  const topics = ["config", "offset", "status"].map((kind) => [
    [`${kind}.storage.topic`, `connect-${kind}s`],
    [`${kind}.storage.replication.factor`, "1"],
  ]);
  const converter = "org.apache.kafka.connect.storage.StringConverter";
  const settings: Readonly<Record<string, string>> = {
    "bootstrap.servers": bootstrap,
    "group.id": "connect",
    ...(Object.fromEntries(topics.flat()) as Record<string, string>),
    "offset.storage.partitions": "3",
    "status.storage.partitions": "1",
    "key.converter": converter,
    "value.converter": converter,
    listeners: `http://127.0.0.1:${port}`,
    "rest.advertised.host.name": "127.0.0.1",
    "plugin.discovery": "service_load",
    "exactly.once.source.support": "enabled",
    "consumer.isolation.level": "read_committed",
    "offset.flush.interval.ms": "500",
    // Not to wait for a worker that may come back.
    "scheduled.rebalance.max.delay.ms": "0",
    ...quick(""),
    ...quick("consumer."),
  };
  return Object.entries(settings)
    .map(([key, value]) => `${key}=${value}\n`)
    .join("");
}

/** Null when the worker is not ready for it; with a body it is a PUT. */
async function ask(port: number, path: string, body?: object): Promise<unknown> {
  const put = { method: "PUT", body: JSON.stringify(body), headers: { "content-type": "application/json" } };
  try {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, body === undefined ? {} : put);
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

/** The port of the worker that runs the task of a connector. */
async function workerOfTask(ports: readonly number[], connector: string): Promise<number> {
  const [port = 0] = ports;
  const status = (await ask(port, `/connectors/${connector}/status`)) as Status | null;
  return Number(status?.tasks[0]?.worker_id.split(":")[1]);
}

/** Up to where the sink has committed (KIP-875). */
async function sinkOffset(port: number): Promise<number> {
  const answer = (await ask(port, "/connectors/sink/offsets")) as {
    readonly offsets: readonly { readonly offset: { readonly kafka_offset: number } }[];
  } | null;
  return answer?.offsets[0]?.offset.kafka_offset ?? 0;
}

function allLogs(workers: ReadonlyMap<number, Running>): string {
  return [...workers.values()].map((worker) => worker.log).join("\n");
}
