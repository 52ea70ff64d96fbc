import type { Prng } from "@millrace/base/prng";
import type { Call, HistoryEvent, Isolation, PolledRecord } from "./history.ts";

/**
 * A cluster that keeps its promises, as small as it can be, and clients whose steps a seed interleaves: what they note is
 * a history that a correct cluster may show. Calls go unanswered, clients die between any two steps, members are paused
 * and replaced, and what was unanswered happens later, or never.
 */
export function modelHistory(
  prng: Prng,
  options: { readonly steps: number; readonly areWritesIsolated?: boolean },
): HistoryEvent[] {
  const cluster = new ModelCluster(prng);
  const { areWritesIsolated = false } = options;
  const crew = new Crew(cluster, prng, areWritesIsolated);
  for (let step = 0; step < options.steps; step++) crew.step();
  crew.finish();
  return cluster.events;
}

const topics: Readonly<Record<string, number>> = { in: 2, out: 2, mixed: 3 };
const lanes: readonly string[] = Object.entries(topics).flatMap(([topic, count]) =>
  Array.from({ length: count }, (_, partition) => `${topic}-${partition}`),
);

interface Transaction {
  state: "open" | "committing" | "committed" | "aborted";
  readonly offsets: Map<string, number>;
  readonly touched: Set<string>;
}

/** One record, or the marker at the end of a transaction, whose value is null. */
interface Entry {
  readonly value: string | null;
  readonly transaction: Transaction | null;
}

class ModelCluster {
  readonly events: HistoryEvent[] = [];
  readonly logs: ReadonlyMap<string, Entry[]> = new Map(lanes.map((lane) => [lane, []]));
  /** Of the one group, which reads the topic `in`. */
  readonly committed: Map<string, number> = new Map();
  /** What was asked for and not answered: it may happen at any moment from now on. */
  readonly loose: (() => void)[] = [];
  readonly #prng: Prng;
  #nowUs = 0;
  #calls = 0;
  #values = 0;

  constructor(prng: Prng) {
    this.#prng = prng;
  }

  note(client: string, event: object): void {
    this.#nowUs += this.#prng.between(1, 50);
    this.events.push({ client, atUs: this.#nowUs, ...event } as HistoryEvent);
  }

  invoke(client: string, call: Call): number {
    const id = this.#calls++;
    this.note(client, { type: "invoke", call: id, ...call });
    return id;
  }

  ok(client: string, call: number, result: object = {}): void {
    this.note(client, { type: "ok", call, ...result });
  }

  freshValue(): string {
    return `v${this.#values++}`;
  }

  append(lane: string, value: string, transaction: Transaction | null): number {
    transaction?.touched.add(lane);
    return this.log(lane).push({ value, transaction }) - 1;
  }

  end(transaction: Transaction, state: "committed" | "aborted"): void {
    if (transaction.state === "committed" || transaction.state === "aborted") return;
    transaction.state = state;
    for (const lane of transaction.touched) this.log(lane).push({ value: null, transaction });
    if (state === "committed") for (const [lane, offset] of transaction.offsets) this.committed.set(lane, offset);
  }

  read(
    lane: string,
    position: number,
    options: { readonly isolation: Isolation; readonly max: number },
  ): { readonly records: PolledRecord[]; readonly next: number } {
    const log = this.log(lane);
    const isCommitted = options.isolation === "read_committed";
    const open = log.findIndex(
      ({ transaction }) => transaction?.state === "open" || transaction?.state === "committing",
    );
    const end = isCommitted && open !== -1 ? open : log.length;
    const records: PolledRecord[] = [];
    let next = position;
    for (; next < end && records.length < options.max; next++) {
      const entry = log[next];
      if (entry === undefined || entry.value === null) continue;
      if (isCommitted && entry.transaction?.state === "aborted") continue;
      records.push([...parsed(lane), next, entry.value]);
    }
    return { records, next };
  }

  log(lane: string): Entry[] {
    const log = this.logs.get(lane);
    if (log === undefined) throw new Error(`${lane} is no partition`);
    return log;
  }
}

function parsed(lane: string): [topic: string, partition: number] {
  const [topic = "", partition = ""] = lane.split("-");
  return [topic, Number(partition)];
}

function lanesOf(topic: string): string[] {
  return lanes.filter((lane) => lane.startsWith(`${topic}-`));
}

/** Between two steps of one client the others go on. */
type Steps = Generator<undefined, undefined, undefined>;

/** One life of one client. */
interface Client {
  readonly name: string;
  readonly steps: Steps;
  readonly kind: Kind;
  transaction: Transaction | null;
  /** Of a member of the group: its partitions, with where it goes on. */
  readonly owned: Map<string, number>;
  /** A paused member takes no steps; the group goes on without it. */
  isPaused: boolean;
  isEvicted: boolean;
}

type Kind = "plain" | "transactional" | "reader" | "uncommitted reader" | "member";

/** All clients, who of them takes the next step, who dies, and which partitions each member has. */
class Crew {
  readonly #cluster: ModelCluster;
  readonly #prng: Prng;
  readonly #clients: Client[] = [];
  readonly #areWritesIsolated: boolean;
  /** Under isolation of writes: who may have a transaction, or a send, under way. */
  #turn: Client | null = null;
  #lives = 0;

  constructor(cluster: ModelCluster, prng: Prng, areWritesIsolated: boolean) {
    this.#cluster = cluster;
    this.#prng = prng;
    this.#areWritesIsolated = areWritesIsolated;
    const kinds: readonly Kind[] = [
      "plain",
      "plain",
      "transactional",
      "transactional",
      "reader",
      "uncommitted reader",
      "member",
      "member",
    ];
    for (const kind of kinds) this.#clients.push(this.#born(kind));
    this.#rebalance();
  }

  #born(kind: Kind): Client {
    const name = `${kind.replace(" ", "-")}.${this.#lives++}`;
    const isolation: Isolation = kind === "uncommitted reader" ? "read_uncommitted" : "read_committed";
    this.#cluster.note(name, { type: "open", isolation });
    const work: Readonly<Record<Kind, (client: Client) => Steps>> = {
      plain: (client) => this.#plain(client),
      transactional: (client) => this.#transactional(client),
      reader: (client) => this.#reader(client, isolation),
      "uncommitted reader": (client) => this.#reader(client, isolation),
      member: (client) => this.#member(client),
    };
    const client: Client = {
      name,
      kind,
      transaction: null,
      owned: new Map(),
      isPaused: false,
      isEvicted: false,
      get steps(): Steps {
        return steps;
      },
    };
    const steps = work[kind](client);
    return client;
  }

  step(): void {
    const prng = this.#prng;
    const { loose } = this.#cluster;
    if (loose.length > 0 && prng.chance(0.05)) loose.splice(prng.between(0, loose.length - 1), 1)[0]?.();
    if (prng.chance(0.004)) return this.#crash(prng.pick(this.#clients));
    if (prng.chance(0.01)) return this.#rebalance();
    const client = prng.pick(this.#clients);
    if (client.kind === "member" && prng.chance(0.01)) client.isPaused = !client.isPaused;
    if (client.isPaused || (this.#turn !== null && this.#turn !== client && isWriter(client))) return;
    if (this.#areWritesIsolated && isWriter(client)) this.#turn = client;
    client.steps.next();
  }

  /** Faults end, what is loose is decided, and a reader goes through everything. */
  finish(): void {
    for (const client of [...this.#clients]) if (client.kind !== "reader") this.#crash(client);
    for (const happen of this.#cluster.loose.splice(0)) happen();
    const name = "final";
    this.#cluster.note(name, { type: "open", isolation: "read_committed" });
    this.#cluster.note(name, { type: "seek", positions: lanes.map((lane) => [...parsed(lane), 0]) });
    for (const lane of this.#prng.shuffle(lanes)) {
      const call = this.#cluster.invoke(name, { name: "poll" });
      this.#cluster.ok(name, call, {
        records: this.#cluster.read(lane, 0, { isolation: "read_committed", max: Infinity }).records,
      });
    }
  }

  #crash(client: Client): void {
    const cluster = this.#cluster;
    const { transaction } = client;
    client.steps.return(undefined);
    if (this.#turn === client) this.#turn = null;
    if (!this.#prng.chance(0.2)) cluster.note(client.name, { type: "crash" });
    else if (client.kind === "member")
      cluster.note(client.name, { type: "lost", group: "g", partitions: [...client.owned.keys()].map(parsed) });
    if (transaction !== null) {
      const state = transaction.state === "committing" && this.#prng.chance(0.5) ? "committed" : "aborted";
      // Whoever is given its partitions waits for its transaction, and so does the next writer of isolated ones.
      if (client.kind === "member" || this.#areWritesIsolated) cluster.end(transaction, state);
      else cluster.loose.push(() => cluster.end(transaction, state));
    }
    const next = this.#born(client.kind);
    this.#clients[this.#clients.indexOf(client)] = next;
    if (client.kind === "member") this.#rebalance();
  }

  // --- The group -----------------------------------------------------------------------------------------------------

  /** Gives the partitions of `in` to members that are not in the middle of a transaction. Those that do not answer lose theirs. */
  #rebalance(): void {
    const members = this.#clients.filter(({ kind }) => kind === "member");
    const present = members.filter(
      ({ isPaused, transaction, isEvicted }) => !isPaused && transaction === null && !isEvicted,
    );
    if (present.length === 0) return;
    const cluster = this.#cluster;
    for (const member of members.filter((each) => !present.includes(each))) {
      member.isEvicted = true;
      if (member.transaction !== null) cluster.end(member.transaction, "aborted");
    }
    for (const { name, owned } of present) {
      if (owned.size > 0)
        cluster.note(name, { type: "revoked", group: "g", partitions: [...owned.keys()].map(parsed) });
      owned.clear();
    }
    for (const lane of lanesOf("in")) this.#prng.pick(present).owned.set(lane, -1);
    for (const { name, owned } of present) {
      const partitions = [...owned.keys()].map(parsed);
      cluster.note(name, { type: "assigned", group: "g", partitions });
      const call = cluster.invoke(name, { name: "position", group: "g" });
      for (const lane of owned.keys()) owned.set(lane, cluster.committed.get(lane) ?? 0);
      cluster.ok(name, call, { positions: [...owned].map(([lane, offset]) => [...parsed(lane), offset]) });
    }
  }

  *#member(client: Client): Steps {
    const { name, owned } = client;
    const cluster = this.#cluster;
    for (let number = 0; ; number++) {
      yield;
      if (client.isEvicted) {
        // It learns what has happened, and comes back empty-handed.
        cluster.note(name, { type: "lost", group: "g", partitions: [...owned.keys()].map(parsed) });
        owned.clear();
        client.isEvicted = false;
        continue;
      }
      const polling = cluster.invoke(name, { name: "poll", transaction: number });
      const records: PolledRecord[] = [];
      for (const [lane, position] of owned) {
        const found = cluster.read(lane, position, { isolation: "read_committed", max: 2 });
        records.push(...found.records);
        owned.set(lane, found.next);
      }
      cluster.ok(name, polling, { records });
      if (records.length === 0) continue;
      const transaction = this.#begin(client);
      yield;
      for (const _record of records) yield* this.#send(client, this.#prng.pick(lanesOf("out")), number);
      const positions = [...owned].map(([lane, offset]) => [...parsed(lane), offset] as const);
      const committing = cluster.invoke(name, { name: "commit-offsets", group: "g", positions, transaction: number });
      yield;
      if (client.isEvicted) {
        cluster.note(name, { type: "fail", call: committing, error: "illegal generation" });
        client.transaction = null;
        continue;
      }
      for (const [lane, offset] of owned) transaction.offsets.set(lane, offset);
      cluster.ok(name, committing);
      yield* this.#end(client, number);
      if (transaction.state !== "committed" && !client.isEvicted) {
        for (const lane of owned.keys()) owned.set(lane, cluster.committed.get(lane) ?? 0);
        cluster.note(name, { type: "seek", positions: [...owned].map(([lane, offset]) => [...parsed(lane), offset]) });
      }
    }
  }

  // --- Producers -----------------------------------------------------------------------------------------------------

  #begin(client: Client): Transaction {
    client.transaction = { state: "open", offsets: new Map(), touched: new Set() };
    return client.transaction;
  }

  *#send(client: Client, lane: string, number: number): Steps {
    const cluster = this.#cluster;
    const { name, transaction } = client;
    const [topic, partition] = parsed(lane);
    const value = cluster.freshValue();
    const call = cluster.invoke(name, { name: "send", topic, partition, value, transaction: number });
    yield;
    if (transaction === null || transaction.state !== "open") {
      cluster.note(name, { type: "info", call, error: "fenced" });
      return;
    }
    const offset = cluster.append(lane, value, transaction);
    yield;
    cluster.ok(name, call, { offset });
  }

  /** Commits or aborts; what is not answered the client does not outlive. */
  *#end(client: Client, number: number): Steps {
    const cluster = this.#cluster;
    const prng = this.#prng;
    const { name, transaction } = client;
    if (transaction === null) return;
    const isAborted = prng.chance(0.3);
    if (isAborted) {
      const call = cluster.invoke(name, { name: "abort", transaction: number });
      yield;
      cluster.end(transaction, "aborted");
      cluster.ok(name, call);
    } else {
      const call = cluster.invoke(name, { name: "commit", transaction: number });
      if (transaction.state === "aborted") {
        cluster.note(name, { type: "fail", call, error: "fenced" });
        client.transaction = null;
        return;
      }
      transaction.state = "committing";
      yield;
      const isEnded = (): boolean => transaction.state !== "committing";
      if (isEnded()) {
        cluster.note(name, { type: "info", call, error: "fenced" });
        client.transaction = null;
        return;
      }
      cluster.end(transaction, "committed");
      yield;
      cluster.ok(name, call);
    }
    client.transaction = null;
    if (this.#turn === client) this.#turn = null;
  }

  *#transactional(client: Client): Steps {
    const all = [...lanesOf("in"), ...lanesOf("mixed")];
    for (let number = 0; ; number++) {
      yield;
      this.#begin(client);
      for (let left = this.#prng.between(1, 4); left > 0; left--)
        yield* this.#send(client, this.#prng.pick(all), number);
      yield* this.#end(client, number);
    }
  }

  /** Several on their way at once, which are appended and answered in order. */
  *#plain(client: Client): Steps {
    const cluster = this.#cluster;
    const prng = this.#prng;
    const { name } = client;
    const all = [...lanesOf("in"), ...lanesOf("mixed")];
    // What comes after its time would lie among the writes of others.
    const isLate = (): boolean => !this.#areWritesIsolated && prng.chance(0.5);
    const underWay: { readonly call: number; readonly lane: string; readonly value: string; offset: number }[] = [];
    try {
      for (;;) {
        yield;
        const next = underWay.find(({ offset }) => offset === -1);
        const first = underWay[0];
        if (underWay.length < (this.#areWritesIsolated ? 1 : 4) && prng.chance(0.4)) {
          const lane = prng.pick(all);
          const [topic, partition] = parsed(lane);
          const value = cluster.freshValue();
          underWay.push({
            call: cluster.invoke(name, { name: "send", topic, partition, value }),
            lane,
            value,
            offset: -1,
          });
        } else if (next !== undefined && prng.chance(0.5)) {
          next.offset = cluster.append(next.lane, next.value, null);
        } else if (first !== undefined && first.offset !== -1) {
          underWay.shift();
          if (prng.chance(0.05)) cluster.note(name, { type: "info", call: first.call, error: "timed out" });
          else cluster.ok(name, first.call, { offset: prng.chance(0.02) ? null : first.offset });
          if (this.#turn === client) this.#turn = null;
        } else if (first !== undefined && prng.chance(0.05)) {
          underWay.shift();
          cluster.note(name, { type: "info", call: first.call, error: "timed out" });
          if (isLate()) cluster.loose.push(() => cluster.append(first.lane, first.value, null));
          if (this.#turn === client) this.#turn = null;
        }
      }
    } finally {
      for (const { lane, value, offset } of underWay) {
        if (offset === -1 && isLate()) cluster.loose.push(() => cluster.append(lane, value, null));
      }
    }
  }

  // --- Readers -------------------------------------------------------------------------------------------------------

  *#reader({ name }: Client, isolation: Isolation): Steps {
    const cluster = this.#cluster;
    const prng = this.#prng;
    const positions = new Map(lanes.map((lane) => [lane, 0]));
    const seek = (): void => {
      cluster.note(name, {
        type: "seek",
        positions: [...positions].map(([lane, offset]) => [...parsed(lane), offset]),
      });
    };
    seek();
    for (;;) {
      yield;
      if (prng.chance(0.02)) {
        for (const lane of lanes) positions.set(lane, prng.between(0, cluster.log(lane).length));
        seek();
      }
      const call = cluster.invoke(name, { name: "poll" });
      const lane = prng.pick(lanes);
      yield;
      const found = cluster.read(lane, positions.get(lane) ?? 0, { isolation, max: prng.between(1, 6) });
      if (prng.chance(0.02)) {
        cluster.note(name, { type: "info", call, error: "interrupted" });
        positions.set(lane, found.next);
        continue;
      }
      yield;
      positions.set(lane, found.next);
      cluster.ok(name, call, { records: found.records });
    }
  }
}

function isWriter({ kind }: Client): boolean {
  return kind === "plain" || kind === "transactional" || kind === "member";
}
