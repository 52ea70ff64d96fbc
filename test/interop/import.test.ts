import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync, unlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "@millrace/base/logger";
import { nodeWorld } from "@millrace/base/node/node-world";
import type { TimeMs } from "@millrace/base/units";
import { defaultLogConfig } from "@millrace/storage/log-config";
import { LogDirectory } from "@millrace/storage/log-directory";
import type { PartitionLog } from "@millrace/storage/log";
import type { LeaderEpoch } from "@millrace/storage/types";
import { trustBatch } from "@millrace/storage/validation";
import { installNodeAccelerators } from "kafka-protocol-ts/node";
import { encodeEndTransactionMarker } from "kafka-protocol-ts/records/control";
import { encodeBatch } from "kafka-protocol-ts/records/record";
import { afterAll, beforeAll, beforeEach, describe, expect } from "vitest";
import { compressions } from "./contract.ts";
import { quickGroups, skipWhenMissing, stepsOf } from "./journey.ts";
import { interopDirectory, paths, repositoryRoot, whyMissing } from "./runtimes.ts";
import { log4jOption } from "./kafka-commands.ts";
import { Target } from "./target.ts";

/*
 * Over and back: what Apache Kafka has on its disk is imported and served, and what Millrace then adds is put back under the
 * topics of that same Kafka. The Java client says what each of them holds.
 */

/** Topics that are empty in Kafka at first, and filled by Millrace: by a producer, and with transactions by its log. */
const replacedTopics = ["replaced", "replaced.transactional"] as const;

describe("a directory of Apache Kafka 4.3.1", () => {
  const missing = whyMissing("java");
  const parent = mkdtempSync(join(tmpdir(), "millrace-import-"));
  const from = [join(parent, "first"), join(parent, "second")];
  let kafka: Target;
  let millrace: Target;
  let before: readonly string[];
  let after: readonly string[];

  beforeAll(async () => {
    if (missing !== null) return;
    kafka = await Target.start({
      name: "kafka",
      directory: parent,
      settings: {
        ...quickGroups,
        "log.dirs": from.join(","),
        "log.cleaner.backoff.ms": "100",
        // Snapshots come within the test.
        "metadata.log.max.record.bytes.between.snapshots": "2000",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.num.partitions": "4",
      },
    });
    millrace = await Target.create({ name: "millrace", directory: parent });
  });
  afterAll(async () => {
    await millrace?.[Symbol.asyncDispose]();
    await kafka?.[Symbol.asyncDispose]();
    rmSync(parent, { recursive: true, force: true });
  });
  beforeEach((context) => skipWhenMissing(context, missing));

  const step = stepsOf("import");

  step("is not imported while its broker runs", async () => {
    cluster("fill", kafka.address);
    before = cluster("read", kafka.address);
    const refused = importTo(millrace.dataDirectory);
    expect(refused.stderr).toContain(`a broker runs in ${from[0]}: ${from[0]}/.lock is locked. Stop it first`);
    expect(refused.status).toBe(1);
    await kafka.stop();
  });

  step("is imported, and nothing in it is touched", () => {
    const snapshots = from
      .flatMap(treeOf)
      .filter((line) => /0{20}[1-9]\d*-.*\.checkpoint|[1-9]\d*-\d{10}\.checkpoint/.test(line));
    expect(snapshots.length, "a snapshot of the metadata is to be read").toBeGreaterThan(0);
    const tree = from.flatMap(treeOf);
    const imported = importTo(millrace.dataDirectory);
    expect(imported.stderr).toBe("");
    expect(imported.stdout).toMatch(
      /imported cluster \S{22}, node 1: 10 topics, \d+ partitions, \d+ bytes\nstart it with: /,
    );
    expect(from.flatMap(treeOf)).toEqual(tree);
  });

  step("serves the same topics, records and offsets of groups from Millrace", async () => {
    await appendTransactions(millrace.dataDirectory);
    await millrace.start();
    cluster("produce", millrace.address, replacedTopics[0]);
    after = cluster("read", millrace.address);
    expect(notReplaced(after)).toEqual(notReplaced(before));
    expect(notReplaced(before).filter((line) => line.startsWith("read_committed transactional-0"))).toHaveLength(15);
    expect(notReplaced(before).filter((line) => line.startsWith("read_uncommitted transactional-0"))).toHaveLength(30);
    expect(before).toContain("group in-transaction {plain-0=3 'kept' Optional.empty}");
    await millrace.stop();
  });

  step("takes the files of Millrace's partitions, and Kafka serves the same records", async () => {
    for (const topic of replacedTopics) putBack(`${topic}-0`);
    await kafka.start();
    const again = cluster("read", kafka.address);
    expect(onlyReplaced(again)).toEqual(onlyReplaced(after));
    const committed = onlyReplaced(after).filter((line) => line.startsWith("read_committed replaced.transactional-0"));
    expect(committed).toHaveLength(40);
    expect(onlyReplaced(after).filter((line) => line.startsWith("read_committed replaced-0"))).toHaveLength(3500);
    await kafka.stop();
  });

  function importTo(to: string): { readonly status: number | null; readonly stdout: string; readonly stderr: string } {
    const main = join(repositoryRoot, "cli", "millrace.js");
    const args = ["--conditions=source", main, "import", "--from-kafka", ...from, "--to", to];
    return spawnSync(process.execPath, args, { encoding: "utf8" });
  }

  /** All but `partition.metadata` comes from Millrace. */
  function putBack(name: string): void {
    const theirs = from.map((path) => join(path, name)).find((path) => treeOf(path).length > 0) ?? expect.unreachable();
    const ours = join(millrace.dataDirectory, name);
    const isKept = (file: string): boolean => file === "partition.metadata";
    for (const file of readdirSync(theirs)) if (!isKept(file)) unlinkSync(join(theirs, file));
    const files = readdirSync(ours).filter((file) => !isKept(file));
    for (const file of files) copyFileSync(join(ours, file), join(theirs, file));
    const suffixes = new Set(files.map((file) => file.replace(/^\d+/, "")));
    expect([...suffixes]).toEqual(
      expect.arrayContaining([".log", ".index", ".timeindex", ".snapshot", "leader-epoch-checkpoint"]),
    );
    if (name === "replaced.transactional-0") expect(suffixes).toContain(".txnindex");
  }
});

/** One JVM a call: its lines. */
function cluster(...args: readonly string[]): readonly string[] {
  const java = ["-XX:TieredStopAtLevel=1", log4jOption, "-cp", join(paths.javaLibraries, "*")];
  const program = join(interopDirectory, "import", "Cluster.java");
  const run = spawnSync("java", [...java, program, ...args], { encoding: "utf8", maxBuffer: 1 << 28 });
  expect(run.status, run.stderr).toBe(0);
  return run.stdout.trimEnd().split("\n");
}

const isReplaced = (line: string): boolean =>
  replacedTopics.some((topic) => line.includes(` ${topic} `) || line.includes(`${topic}-0 `));
const onlyReplaced = (lines: readonly string[]): readonly string[] => lines.filter(isReplaced);
const notReplaced = (lines: readonly string[]): readonly string[] => lines.filter((line) => !isReplaced(line));

/** Names, modes, times and bytes of all that lies below, also of the directories themselves; nothing where it is missing. */
function treeOf(path: string): string[] {
  const found = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  if (found === undefined) return [];
  const { mode, mtimeNs, ino } = found;
  const content = found.isDirectory() ? "" : createHash("sha256").update(readFileSync(path)).digest("hex");
  const below = found.isDirectory()
    ? readdirSync(path)
        .sort()
        .flatMap((name) => treeOf(join(path, name)))
    : [];
  return [`${path} ${ino} ${mode.toString(8)} ${mtimeNs} ${content}`, ...below];
}

/** The broker cannot be made to write transactions yet, so its log is: of three, one is aborted. */
async function appendTransactions(path: string): Promise<void> {
  const world = nodeWorld();
  installNodeAccelerators();
  const opened = await LogDirectory.open({ path, ...world, logger: silentLogger, clusterId: null, nodeId: 1 });
  if (!opened.ok) throw new Error(opened.message);
  const directory = opened.value;
  await directory.load(() => ({ ...defaultLogConfig, "index.interval.bytes": 100 }));
  const log = [...directory.logs()].find(({ topic }) => topic === "replaced.transactional") ?? expect.unreachable();
  const now = Date.now() as TimeMs;
  const append = (bytes: Buffer, origin: "client" | "coordinator"): void => {
    const appended = log.append(trustBatch(bytes), { leaderEpoch: 0 as LeaderEpoch, origin, nowMs: now });
    if (!appended.ok) throw new Error(appended.failure.message);
  };
  for (let round = 0; round < 12; round++) {
    const producer = { producerId: 900_000, producerEpoch: 0 };
    const records = Array.from({ length: 5 }, (_, index) => ({
      timestamp: now - 1000 + round,
      key: Buffer.from(`key ${index}`),
      value: Buffer.from(`round ${round}`),
      headers: [{ key: "index", value: Buffer.from([index]) }],
    }));
    const compression = compressions[round % compressions.length] ?? "none";
    append(
      encodeBatch({ ...producer, records, baseSequence: round * 5, isTransactional: true, compression }),
      "client",
    );
    const isCommit = round % 3 > 0;
    append(encodeEndTransactionMarker({ ...producer, isCommit, coordinatorEpoch: 0, timestamp: now }), "coordinator");
  }
  await durable(log);
  await directory.close();
  await world.workers.close();
}

function durable(log: PartitionLog): Promise<void> {
  return new Promise((resolve) => {
    log.onProgress = () => {
      if (log.durableOffset === log.logEndOffset) resolve();
    };
    log.onProgress();
  });
}
