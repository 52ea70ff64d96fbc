import { Prng } from "@millrace/base/prng";
import { Cluster, KafkaError, valuesOf } from "@millrace/client";
import type { TopicDescription } from "@millrace/client";
import { checkHistory } from "../histories/check.ts";
import type { HistoryEvent } from "../histories/history.ts";
import type { FindingKind } from "../histories/findings.ts";
import { SeededRandom } from "../seeded-random.ts";
import { VirtualClock } from "../virtual-clock.ts";
import { ClusterNetwork } from "./cluster-network.ts";
import { draw } from "./drawn.ts";
import type { Drawn, FaultName } from "./drawn.ts";
import { inspectNodes } from "./inspection.ts";
import { MetadataLoss } from "./metadata-loss.ts";
import { Nemesis } from "./nemesis.ts";
import { Node } from "./node.ts";
import { Process } from "./process.ts";
import { untilLevel } from "./replica-ends.ts";
import { Story, textOf } from "./story.ts";
import { Trace } from "./trace.ts";
import { AdminStorm } from "./workloads/admin.ts";
import { Group } from "./workloads/group.ts";
import { Moves } from "./workloads/moves.ts";
import { Retained } from "./workloads/retained.ts";
import { Table } from "./workloads/table.ts";
import { Transfers } from "./workloads/transfers.ts";
import type { Bench, ClientSeat, LastReading, ReadRecord, Workload } from "./workloads/workload.ts";
import { pause, untilDone } from "./workloads/workload.ts";
import { Writers } from "./workloads/writers.ts";

export interface RunOptions {
  readonly seed: number;
  /** Absent: those that the seed draws. */
  readonly faults?: readonly FaultName[];
}

export interface RunReport {
  readonly seed: number;
  readonly drawn: Drawn;
  /** The same for two runs with one seed. */
  readonly hash: string;
  readonly problems: readonly string[];
  readonly lines: readonly string[];
  readonly history: readonly HistoryEvent[];
  readonly virtualMs: number;
  readonly counts: Readonly<Record<string, number>>;
}

/** After all faults have ended: so long it may take until everybody has got on. */
const recoveryMs = 90_000;

/** A whole cluster with its clients, from one seed: faults, healing, and a look at all that was promised. */
export async function runCluster({ seed, faults }: RunOptions): Promise<RunReport> {
  const run = new ClusterRun(seed, faults ?? null);
  try {
    await run.live();
  } catch (error) {
    run.ended(error);
  }
  return run.report();
}

class ClusterRun implements Bench {
  readonly clock = new VirtualClock();
  readonly trace = new Trace();
  readonly story = new Story(this.clock);
  readonly prng: Prng;
  readonly drawn: Drawn;
  readonly network: ClusterNetwork;
  readonly nodes: readonly Node[];
  readonly #seed: number;
  /** By the term of the quorum. */
  readonly #leaders = new Map<number, string>();
  readonly #clients = new Set<string>();
  readonly #workloads: readonly Workload[];
  readonly #nemesis: Nemesis;
  readonly #metadataLoss: MetadataLoss;

  constructor(seed: number, faults: readonly FaultName[] | null) {
    this.#seed = seed;
    const prng = new Prng(seed);
    const apart = new Prng(seed + 2 ** 32);
    this.drawn = draw(prng.fork(), apart.fork(), faults);
    this.prng = prng.fork();
    this.network = new ClusterNetwork(this.clock, prng.fork(), this.trace);
    const { clock, network, trace, story, drawn } = this;
    const controllers = drawn.roles.flatMap((role, index) => (role === "broker" ? [] : [index + 1]));
    const host = {
      ...{ clock, network, trace, prng: prng.fork(), controllers, settings: drawn.settings },
      tell: (line: string) => story.tell(line),
      leads: (term: number, node: string) => this.#leads(term, node),
      fault: (text: string) => story.fault(text),
    };
    this.nodes = drawn.roles.map((role, index) => {
      const wallSkewMs = drawn.wallSkewMs === 0 ? 0 : prng.between(-drawn.wallSkewMs, drawn.wallSkewMs);
      return new Node(index + 1, host, { wallSkewMs, role });
    });
    this.#workloads = drawn.workloads.map((name) => {
      switch (name) {
        case "writers":
          return new Writers(this);
        case "group":
          return new Group(this);
        case "transfers":
          return new Transfers(this);
        case "admin":
          return new AdminStorm(this);
        case "table":
          return new Table(this);
        case "retained":
          return new Retained(this);
        case "moves":
          return new Moves(this);
      }
    });
    const { nodes } = this;
    const quorumLeader = (): string | null => [...this.#leaders.values()].at(-1) ?? null;
    const clientNames = (): readonly string[] => [...this.#clients];
    this.#nemesis = new Nemesis({ drawn, clock, network, nodes, quorumLeader, clientNames, prng: prng.fork(), story });
    this.#metadataLoss = new MetadataLoss({ nodes, clock, prng: apart.fork(), story });
  }

  client(name: string): ClientSeat {
    this.#clients.add(name);
    const process = new Process(name, this.clock);
    const { clock } = process;
    const cluster = new Cluster({
      brokers: this.nodes.filter(({ role }) => role !== "controller").map(({ address }) => address),
      clientId: name,
      ...{ requestTimeoutMs: 4_000, connectTimeoutMs: 2_000, metadataMaxAgeMs: 30_000 },
      world: { clock, network: this.network.of(process), random: new SeededRandom(this.prng.uint32()) },
    });
    return { process, clock, cluster };
  }

  async live(): Promise<void> {
    for (const node of this.nodes) node.start();
    await this.#until("all nodes are up", 60_000, () => this.nodes.every(({ state }) => state === "up"));
    await this.#await(
      "what the workloads need",
      recoveryMs,
      Promise.all(this.#workloads.map((each) => each.prepare())),
    );
    for (const workload of this.#workloads) workload.start();
    this.#nemesis.begin();
    if (this.drawn.losesMetadata) this.#metadataLoss.begin();
    await this.clock.advance(this.drawn.faultyMs);
    this.#metadataLoss.end();
    this.#nemesis.heal();
    await this.#recover();
    this.story.tell("workloads end");
    await this.#await("the end of the workloads", recoveryMs, Promise.all(this.#workloads.map((each) => each.stop())));
    // A broker may not have heard yet of what the controller has answered last.
    await this.clock.advance(1_000);
    await this.#whole();
    await this.#decided();
    await this.#await("the last reading", recoveryMs, this.#readAll());
    await this.#look();
    if (this.#leaders.size === 0) this.story.fault("nobody was heard to lead the quorum");
    this.#nemesis.isWatching = false;
    if (this.story.isSpoilt) return;
    this.story.tell("waits: all replicas are level");
    const uneven = await untilLevel(this.clock, this.nodes, recoveryMs);
    if (uneven !== "") throw new Stuck(`stuck: not within ${recoveryMs} ms: all replicas are level: ${uneven}`);
    for (const node of this.nodes) void node.stop();
    await this.#until("all nodes have stopped", recoveryMs, () => this.nodes.every(({ state }) => state === "stopped"));
    await this.#await("the inspection", recoveryMs, inspectNodes(this));
  }

  /** One leader a term at most. */
  #leads(term: number, node: string): void {
    const before = this.#leaders.get(term) ?? node;
    if (before !== node) this.story.fault(`two leaders: ${before} and ${node} lead the quorum in term ${term}`);
    this.#leaders.set(term, node);
  }

  /** It could not be lived to its end. */
  ended(error: unknown): void {
    const isExpected = this.story.isSpoilt && (error instanceof Stuck || error instanceof KafkaError);
    if (!isExpected) return this.story.fault(textOf(error));
    this.story.tell(`ends early: ${textOf(error)}`);
    this.#check();
  }

  // --- Liveness ---------------------------------------------------------------------------------------------------------

  async #recover(): Promise<void> {
    await this.#until("all nodes are up again", recoveryMs, () => this.nodes.every(({ state }) => state === "up"));
    const haveAll = (): boolean => this.nodes.every(({ hasLostMetadata }) => !hasLostMetadata);
    await this.#until("all nodes have their metadata again", recoveryMs, haveAll);
    const before = new Map(this.#workloads.map((each) => [each, new Map(each.progress)]));
    const isOn = (workload: Workload): boolean =>
      [...workload.progress].every(([client, count]) => count > (before.get(workload)?.get(client) ?? 0));
    const whoIsNot = (): string =>
      this.#workloads
        .flatMap((each) =>
          [...each.progress].filter(([client, count]) => count <= (before.get(each)?.get(client) ?? 0)),
        )
        .map(([client]) => client)
        .join(" ");
    await this.#until("every client gets on", recoveryMs, () => this.#workloads.every(isOn), whoIsNot);
    await this.#whole();
  }

  /** Also of replicas that a move has just brought to their nodes. */
  async #whole(): Promise<void> {
    let trouble = "nobody has answered";
    const watcher = this.client("watcher");
    const isWhole = (async () => {
      for (;;) {
        trouble = await untilDone(watcher.clock, () => whatIsNotInSync(watcher.cluster));
        if (trouble === "") return;
        await pause(watcher.clock, 300);
      }
    })();
    await this.#await("all partitions have leaders and full ISRs", recoveryMs, isWhole, () => trouble);
    await watcher.cluster.close();
  }

  // --- The end ----------------------------------------------------------------------------------------------------------

  /**
   * A commit is answered when it is decided, as in Kafka: its markers are on their way to other brokers then, and whoever reads committed
   * records ends before the first transaction that has none. One that was left open is aborted in its time.
   */
  async #decided(): Promise<void> {
    const { cluster, clock } = this.client("notary");
    const topics = readTopics.filter(([workload]) => this.drawn.workloads.includes(workload)).map(([, topic]) => topic);
    let open = "nobody has answered";
    const areDecided = (async () => {
      for (;;) {
        open = await untilDone(clock, async () => whatIsUndecided(cluster, topics));
        if (open === "") return;
        await pause(clock, 50);
      }
    })();
    await this.#await("all transactions have their markers", recoveryMs, areDecided, () => open);
    await cluster.close();
  }

  /** Everything to its end, as a committed reader sees it. */
  async #readAll(): Promise<void> {
    for (const [workload, topic] of readTopics) {
      if (!this.drawn.workloads.includes(workload)) continue;
      const name = `last reader of ${topic}`;
      const { cluster } = this.client(name);
      this.story.opened(name, "read_committed");
      const consumer = cluster.consumer({ isolation: "read_committed" });
      let sum = 0;
      for await (const record of consumer.records(topic, { untilEnd: true })) {
        const value = record.value?.toString() ?? "";
        this.story.polled(name, [[topic, record.partition, record.offset, value]]);
        if (workload === "transfers") sum += Number(value.split(":")[1]);
      }
      if (sum !== 0) this.story.complain(`money: what is committed sums up to ${sum}`);
      await cluster.close();
    }
    for (const { lastReading } of this.#workloads) if (lastReading !== undefined) await this.#read(lastReading);
  }

  async #read({ topic, check }: LastReading): Promise<void> {
    const { cluster, clock } = this.client(`last reader of ${topic}`);
    const consumer = cluster.consumer({ isolation: "read_committed" });
    const begunMs = clock.now();
    const records: ReadRecord[] = [];
    for await (const { partition, offset, key, value, headers } of consumer.records(topic, { untilEnd: true }))
      records.push({
        ...{ partition, offset, key: key?.toString() ?? "", value: value?.toString() ?? "" },
        number: Number(headers.get("number") ?? 0),
      });
    check(records, begunMs);
    await cluster.close();
  }

  async #look(): Promise<void> {
    this.#check();
    const storm = this.#workloads.find((each) => each instanceof AdminStorm);
    if (storm === undefined) return;
    // A broker may lag behind the controller that has answered.
    await this.clock.advance(3_000);
    const { cluster, clock } = this.client("surveyor");
    const found = await this.#await(
      "the list of topics",
      recoveryMs,
      untilDone(clock, async () => {
        const topics = new Map<string, TopicDescription>();
        for await (const topic of cluster.admin().topics.list()) topics.set(topic.name, topic);
        return topics;
      }),
    );
    storm.verify(found);
    await cluster.close();
  }

  #check(): void {
    const { isSpoilt } = this.story;
    const checked = checkHistory(this.story.history, { isReadToEnd: !isSpoilt });
    if (!checked.ok) return this.story.fault(`the history is malformed: ${checked.message}`);
    for (const { kind, text } of checked.value.findings) if (!isSpoilt || untruths.has(kind)) this.story.fault(text);
  }

  report(): RunReport {
    const { story, trace, drawn, clock } = this;
    const progress = this.#workloads.flatMap(({ progress: each }) => [...each]);
    return {
      ...{
        seed: this.#seed,
        drawn,
        hash: trace.hash,
        problems: story.problems,
        lines: story.lines,
        history: story.history,
      },
      virtualMs: clock.monotonicMs(),
      counts: {
        ...Object.fromEntries(progress),
        ...Object.fromEntries(this.#nemesis.counts),
        ...(this.drawn.losesMetadata ? { "rot of metadata": this.#metadataLoss.count } : {}),
        events: trace.events,
      },
    };
  }

  // --- Waiting ----------------------------------------------------------------------------------------------------------

  async #await<T>(what: string, withinMs: number, work: Promise<T>, more: () => string = () => ""): Promise<T> {
    let isSettled = false;
    const settle = (): void => void (isSettled = true);
    work.then(settle, settle);
    await this.#until(what, withinMs, () => isSettled, more);
    return work;
  }

  async #until(what: string, withinMs: number, condition: () => boolean, more: () => string = () => ""): Promise<void> {
    this.story.tell(`waits: ${what}`);
    try {
      await this.clock.runUntil(condition, { withinMs });
    } catch {
      throw new Stuck(`stuck: not within ${withinMs} ms: ${what}: ${more()}`);
    }
  }
}

/** What nobody may be told, whatever became of a disk. */
const untruths: ReadonlySet<FindingKind> = new Set([
  ...(["duplicate", "inconsistent offsets", "phantom read", "G1a", "precommitted read"] as const),
  ...(["internal nonmonotonic poll", "external nonmonotonic poll"] as const),
]);

/** What each workload writes to. */
const readTopics = [
  ["writers", "log"],
  ["group", "orders"],
  ["transfers", "accounts"],
] as const;

class Stuck extends Error {
  override readonly name = "Stuck";
  readonly code = "STUCK";
}

/** Empty: every partition has a leader, and all its replicas in sync. */
async function whatIsNotInSync(cluster: Cluster): Promise<string> {
  const lacking: string[] = [];
  for await (const { name, partitions } of cluster.admin().topics.list({ includeInternal: true, timeoutMs: 5_000 })) {
    for (const { index, leaderId, replicas, inSyncReplicas } of partitions) {
      if (leaderId === -1 || inSyncReplicas.length !== replicas.length)
        lacking.push(`${name}-${index} leader ${leaderId} isr ${inSyncReplicas.join(",")} of ${replicas.join(",")}`);
    }
  }
  return lacking.join("; ");
}

/** Empty: nothing is hidden from whoever reads committed records. */
async function whatIsUndecided(cluster: Cluster, topics: readonly string[]): Promise<string> {
  const admin = cluster.admin();
  const undecided: string[] = [];
  for (const topic of topics) {
    // The end first: what comes between the answers is not taken for hidden.
    const ends = valuesOf(await admin.topics.offsets(topic, "latest", { timeoutMs: 5_000 }));
    const options = { isolation: "read_committed", timeoutMs: 5_000 } as const;
    const stable = valuesOf(await admin.topics.offsets(topic, "latest", options));
    for (const [index, { offset }] of ends.entries()) {
      const stableOffset = stable[index]?.offset ?? -1;
      if (stableOffset < (offset ?? 0)) undecided.push(`${topic}-${index} at ${stableOffset} of ${offset}`);
    }
  }
  return undecided.join("; ");
}
