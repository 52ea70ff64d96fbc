import { spawn } from "node:child_process";
import { once } from "node:events";
import { availableParallelism, loadavg, release, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { freePorts } from "../../test/interop/broker-process.ts";
import { Target, whyTargetMissing } from "../../test/interop/target.ts";
import { paths, pythonCommand, whyMissing } from "../../test/interop/runtimes.ts";
import { createTopic, endOffsets } from "../ask.ts";
import { diskAtRest } from "../disk-at-rest.ts";
import { removeTopic, settingsOf, warmUp } from "../sampling.ts";
import { CompiledWorker } from "./compile.ts";
import { fillTopic } from "./fill.ts";
import { clientLoads, isConsuming, type ClientLoad } from "./loads.ts";
import { clientNames, type ClientName, type ClientPlan, type ClientResult } from "./plan.ts";
import { ClientReport, type ResultsByClient } from "./report.ts";
import { SlowLink } from "./slow-link.ts";

/**
 * `npm run bench -- client [--rounds N] [--seconds N] [--records N] [--flat-records N] [--batch-bytes N] [--only a,b]
 * [--clients a,b] [--target millrace|kafka] [--directory DIR] [--profile DIR]`; `--only` takes the names of plan.ts, or what
 * they begin with, and of a size only where it is added: `consume-batch/100`.
 *
 * Our client beside @platformatic/kafka, kafkajs, and librdkafka (by confluent-kafka for Python, where `npm run
 * interop:prepare -- python` was run), on one broker: each client in a process of its own, one at a time, in an order that changes from
 * round to round. `--profile` leaves CPU profiles of the Node clients in DIR.
 */
export async function run(args: readonly string[] = []): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: "string", default: "5" },
      seconds: { type: "string", default: "4" },
      records: { type: "string", default: "3000000" },
      "flat-records": { type: "string", default: "10000000" },
      "batch-bytes": { type: "string", default: `${batchBytesOfJava}` },
      only: { type: "string" },
      clients: { type: "string" },
      target: { type: "string", default: "millrace" },
      directory: { type: "string", default: tmpdir() },
      profile: { type: "string" },
    },
  });
  const name = values.target;
  if (name !== "millrace" && name !== "kafka") throw new Error("--target: choose from millrace, kafka");
  const missing = whyTargetMissing(name);
  if (missing !== null) throw new Error(missing);
  const only = values.only?.split(",");
  const loads = clientLoads.filter(({ kind, recordBytes }) => {
    const isNamed = (each: string): boolean => kind === each || kind.startsWith(`${each}-`);
    return only?.some((each) => isNamed(each) || each === `${kind}/${recordBytes}`) ?? true;
  });
  if (loads.length === 0)
    throw new Error(`no such load: choose from ${clientLoads.map(({ kind }) => kind).join(", ")}`);
  const report = new ClientReport();
  const clients = availableClients(values.clients?.split(","), report);
  const loadAtStart = loadavg()[0] ?? 0;
  const beganMs = performance.now();

  const settings = { ...settingsOf(name), "group.initial.rebalance.delay.ms": "0" };
  using worker = new CompiledWorker();
  await using target = await Target.start({ name, directory: values.directory, settings });
  if (only === undefined) await warmUp(target);
  const bench = new ClientBench(target, {
    clients,
    directory: values.directory,
    rounds: Number(values.rounds),
    measureMs: Number(values.seconds) * 1_000,
    records: Number(values.records),
    flatRecords: Number(values["flat-records"]),
    batchBytes: Number(values["batch-bytes"]),
    profile: values.profile ?? null,
    worker: worker.path,
    report,
  });
  for (const load of loads) {
    try {
      report.add(load, await bench.measure(load));
    } catch (error) {
      // What the other loads have taken minutes for is not lost.
      report.addFailure(load, error);
      process.exitCode = 1;
    }
  }
  console.log(
    report.render(
      `${name}; ${availableParallelism()} cores, ${(totalmem() / 2 ** 30).toFixed(0)} GiB, Linux ${release()}, Node ${process.version}; ${values.rounds} rounds of ` +
        `${values.seconds} s or ${values.records} records, ${((performance.now() - beganMs) / 60_000).toFixed(1)} minutes in all; load average ${loadAtStart.toFixed(1)} at the ` +
        `start, ${(loadavg()[0] ?? 0).toFixed(1)} at the end.`,
    ),
  );
}

/** What a producer in Java makes unless it is told otherwise: of such batches most topics consist. */
const batchBytesOfJava = 16_384;
const partitions = 3;
const warmUpMs = 1_500;
const endToEndPerSecond = 10_000;
/** Of what is read, before anything is measured. */
const warmUpShare = 0.2;
/** So large is the record of which `--records` says how many; of others there are so many for each of its. */
const smallBytes = 100;
const largeShare = 0.4;
/** What a slow broker takes. */
const slowBytesPerSecond = 1_000_000;

interface Scene {
  readonly clients: readonly ClientName[];
  readonly directory: string;
  readonly rounds: number;
  readonly measureMs: number;
  /** Of 100 bytes that are read; of larger ones so many fewer. */
  readonly records: number;
  readonly flatRecords: number;
  readonly batchBytes: number;
  readonly profile: string | null;
  /** The program of the clients of Node. */
  readonly worker: string;
  readonly report: ClientReport;
}

/** A topic that is only read, with what each reader must come to. */
interface Filled {
  readonly topic: string;
  readonly records: number;
  readonly checksum: number;
}

class ClientBench {
  readonly #target: Target;
  readonly #scene: Scene;
  readonly #filled = new Map<string, Filled>();
  #runs = 0;

  constructor(target: Target, scene: Scene) {
    this.#target = target;
    this.#scene = scene;
  }

  async measure(load: ClientLoad): Promise<ResultsByClient> {
    const clients = this.#scene.clients.filter((name) => load.clients.includes(name));
    const results = new Map(clients.map((name) => [name, [] as ClientResult[]]));
    if (load.kind === "memory-produce") {
      for (const client of clients) results.get(client)?.push(await this.#sampleSlow(load, client));
      return results;
    }
    if (load.kind.startsWith("flat-") || load.kind === "memory-consume") {
      for (const client of clients) results.get(client)?.push(await this.#sample(load, client));
      return results;
    }
    // The first run of a load is the broker's warm-up, and is not counted.
    const [first] = clients;
    if (first !== undefined) await this.#sample(load, first);
    for (let round = 0; round < this.#scene.rounds; round++) {
      const at = round % clients.length;
      for (const client of [...clients.slice(at), ...clients.slice(0, at)]) {
        results.get(client)?.push(await this.#sample(load, client));
      }
    }
    return results;
  }

  async #sample(load: ClientLoad, client: ClientName): Promise<ClientResult> {
    if (isConsuming(load)) return await this.#consume(load, client);
    const topic = `bench-${load.kind}-${this.#runs++}`;
    const { port } = this.#target;
    await createTopic(port, topic, partitions);
    await diskAtRest(this.#scene.directory);
    const result = await this.#run({ ...this.#planOf(load, client), topic });
    await this.#expectAll(topic, client, result);
    await removeTopic(this.#target, topic);
    return result;
  }

  async #consume(load: ClientLoad, client: ClientName): Promise<ClientResult> {
    const { topic, records, checksum } = await this.#fill(load);
    const plan = { ...this.#planOf(load, client), topic, records, warmUpRecords: Math.floor(records * warmUpShare) };
    const result = await this.#run(plan);
    if (load.kind !== "memory-consume" && result.checksum !== checksum) {
      throw new Error(`${client} has read ${result.recordsInAll} records with sum ${result.checksum}, not ${checksum}`);
    }
    return result;
  }

  async #fill({ kind, recordBytes }: ClientLoad): Promise<Filled> {
    const isFlat = kind === "flat-consume";
    const key = isFlat ? kind : `${recordBytes}`;
    const found = this.#filled.get(key);
    if (found !== undefined) return found;
    const { port } = this.#target;
    const { batchBytes, flatRecords } = this.#scene;
    const records = isFlat ? flatRecords : recordsOf(recordBytes, this.#scene.records);
    const topic = `bench-filled-${key}`;
    // Its records are of long ago: retention would take them while they are read.
    await createTopic(port, topic, partitions, { "retention.ms": "-1" });
    const checksum = await fillTopic({ port, topic, partitions, records, recordBytes, batchBytes });
    const filled = { topic, records, checksum };
    this.#filled.set(key, filled);
    return filled;
  }

  /** A broker of its own, to which every client comes through a link that takes little. */
  async #sampleSlow(load: ClientLoad, client: ClientName): Promise<ClientResult> {
    const { name } = this.#target;
    const [port] = await freePorts(1);
    await using target = await Target.start({ name, directory: this.#scene.directory, advertisedPort: port });
    await using _link = new SlowLink({ port, brokerPort: target.port }, slowBytesPerSecond);
    await createTopic(target.port, "bench-slow", partitions);
    return await this.#run({ ...this.#planOf(load, client), port, topic: "bench-slow" });
  }

  #planOf({ kind, recordBytes }: ClientLoad, client: ClientName): Omit<ClientPlan, "topic"> {
    return {
      client,
      kind,
      port: this.#target.port,
      partitions,
      recordBytes,
      warmUpMs,
      // A few slow syncs are the last percent, and each client is to meet its share of them.
      measureMs: this.#scene.measureMs * (kind === "end-to-end" ? 2 : 1),
      warmUpRecords: 0,
      records: this.#scene.flatRecords,
      recordsPerSecond: endToEndPerSecond,
    };
  }

  /** Nothing that was acknowledged is missing. A client that is not idempotent may have written something twice. */
  async #expectAll(topic: string, client: ClientName, { recordsInAll }: ClientResult): Promise<void> {
    const ends = await endOffsets(this.#target.port, topic, partitions);
    const written = ends.reduce((sum, end) => sum + end, 0);
    const isRight = client === "ours" ? written === recordsInAll : written >= recordsInAll;
    if (!isRight) throw new Error(`${client} says that ${recordsInAll} records were written, and there are ${written}`);
  }

  /** A client that stands still is given another chance, and the report says so. */
  async #run(plan: ClientPlan): Promise<ClientResult> {
    for (let attempt = 1; ; attempt++) {
      const result = await this.#runOnce(plan);
      if (result !== null) return result;
      const text = `${plan.client} did not come to an end of ${plan.kind} within ${runMsMax / 1000} s`;
      if (attempt === attemptsMax) throw new Error(text);
      this.#scene.report.note(`${text}, and was started again.`);
    }
  }

  /** Null: it took too long. */
  async #runOnce(plan: ClientPlan): Promise<ClientResult | null> {
    const [command = "", ...args] = commandOf(plan, this.#scene);
    const child = spawn(command, [...args, JSON.stringify(plan)], {
      stdio: ["ignore", "pipe", "inherit"],
      env: { ...process.env, ...environmentOf(plan.client) },
    });
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      child.kill("SIGKILL");
    }, runMsMax);
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
    await once(child, "close");
    clearTimeout(timer);
    if (isLate) return null;
    if (child.exitCode !== 0) throw new Error(`${plan.client} ended with ${child.exitCode ?? child.signalCode}`);
    return JSON.parse(output) as ClientResult;
  }
}

/** Of larger records fewer, but more bytes in all: reading takes as long for each size, and much longer than a client's start. */
function recordsOf(recordBytes: number, ofSmall: number): number {
  const share = recordBytes <= smallBytes ? 1 : largeShare;
  return Math.round(ofSmall * share);
}

const runMsMax = 120_000;
const attemptsMax = 3;

function commandOf({ client, kind }: ClientPlan, { profile, worker }: Scene): readonly string[] {
  if (client === "librdkafka") return [pythonCommand() ?? "python3", "-B", join(import.meta.dirname, "librdkafka.py")];
  const name = `--cpu-prof-name=${client}-${kind}-${Date.now()}.cpuprofile`;
  const profiling = profile === null ? [] : ["--cpu-prof", `--cpu-prof-dir=${profile}`, name];
  return [process.execPath, ...profiling, worker];
}

function environmentOf(client: ClientName): Readonly<Record<string, string>> {
  return client === "librdkafka" ? { PYTHONPATH: paths.pythonPackages } : {};
}

function availableClients(wanted: readonly string[] | undefined, report: ClientReport): readonly ClientName[] {
  const chosen = clientNames.filter((name) => wanted?.includes(name) ?? true);
  if (chosen.length === 0) throw new Error(`no such client: choose from ${clientNames.join(", ")}`);
  return chosen.filter((name) => {
    const reason = name === "librdkafka" ? whyMissing("python") : null;
    if (reason === null) return true;
    const text = `librdkafka is left out, since something is missing: ${reason}`;
    console.error(text);
    report.note(text);
    return false;
  });
}
