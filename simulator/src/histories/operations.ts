import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { HistoryEvent, Isolation, Place, PolledRecord } from "./history.ts";

/** A number for each partition that the history names. */
export type PartitionId = number;
/** A number for each client. */
export type ClientId = number;
/** Where an event stands in the history; `Infinity` when it never came. */
export type EventIndex = number;

export type Outcome = "ok" | "fail" | "info";

interface Operation {
  readonly client: ClientId;
  readonly invokedAt: EventIndex;
  /** Of the completion; a call without one has the outcome "info". */
  completedAt: EventIndex;
  outcome: Outcome;
}

export interface Write extends Operation {
  /** Its index among all writes. */
  readonly id: number;
  readonly value: string;
  readonly partition: PartitionId;
  readonly transaction: Transaction | null;
  /** As it was acknowledged; −1 when it was not, or when the cluster did not say. */
  offset: number;
  /** Which kinds of readers saw it. */
  isReadBy: Record<Isolation, boolean>;
}

export interface Read {
  readonly partition: PartitionId;
  readonly offset: number;
  readonly value: string;
  /** Null for a value that nobody sent there. */
  readonly write: Write | null;
}

export interface Poll extends Operation {
  readonly isolation: Isolation;
  readonly transaction: Transaction | null;
  /** Nothing unless it is ok. */
  reads: readonly Read[];
}

/**
 * `committed` and `aborted` when its client was told so, or could not have been told otherwise: what was never asked to
 * be committed is aborted whoever ends it. `indeterminate` when a commit was asked for and not answered.
 */
export type Fate = "committed" | "aborted" | "indeterminate";

export interface Transaction {
  readonly client: ClientId;
  readonly number: number;
  readonly invokedAt: EventIndex;
  completedAt: EventIndex;
  commitAskedAt: EventIndex;
  /** Commits that were asked for and did not fail. */
  commitsOpen: number;
  fate: Fate;
  readonly writes: Write[];
  readonly polls: Poll[];
  readonly commits: OffsetCommit[];
}

export interface OffsetCommit extends Operation {
  readonly group: string;
  readonly positions: readonly PartitionPlace[];
  readonly transaction: Transaction | null;
}

export interface PositionQuery extends Operation {
  readonly group: string;
  positions: readonly PartitionPlace[];
}

export interface PartitionPlace {
  readonly partition: PartitionId;
  readonly offset: number;
}

/** What a consumer is told about its partitions between its polls. */
export interface Ownership {
  readonly kind: "assigned" | "revoked" | "lost";
  readonly client: ClientId;
  readonly group: string;
  readonly partitions: readonly PartitionId[];
  readonly at: EventIndex;
}

/** What changes where a consumer stands, in the order of time. */
export type Step =
  | { readonly kind: "poll"; readonly poll: Poll }
  | { readonly kind: "stand"; readonly client: ClientId; readonly positions: readonly PartitionPlace[] }
  | { readonly kind: "leave"; readonly client: ClientId; readonly partitions: readonly PartitionId[] };

export interface Operations {
  readonly events: readonly HistoryEvent[];
  readonly partitionNames: readonly string[];
  readonly clientNames: readonly string[];
  readonly writes: readonly Write[];
  readonly polls: readonly Poll[];
  readonly transactions: readonly Transaction[];
  readonly offsetCommits: readonly OffsetCommit[];
  readonly positionQueries: readonly PositionQuery[];
  readonly ownerships: readonly Ownership[];
  /** When a client's process ended, where somebody saw it. */
  readonly crashedAt: ReadonlyMap<ClientId, EventIndex>;
  readonly steps: readonly Step[];
}

type Invocation = Extract<HistoryEvent, { type: "invoke" }>;
type Completion = Extract<HistoryEvent, { type: "ok" | "fail" | "info" }>;

type Open =
  | { readonly name: "send"; readonly operation: Write }
  | { readonly name: "poll"; readonly operation: Poll }
  | { readonly name: "commit" | "abort"; readonly operation: Operation; readonly transaction: Transaction }
  | { readonly name: "commit-offsets"; readonly operation: OffsetCommit }
  | { readonly name: "position"; readonly operation: PositionQuery };

interface ClientState {
  readonly id: ClientId;
  isolation: Isolation;
  readonly open: Map<number, Open>;
  readonly transactions: Map<number, Transaction>;
}

/** Pairs invocations with completions. Fails for a history that no client can have written, with the event named. */
export function operationsOf(events: readonly HistoryEvent[]): Result<Operations, "malformed"> {
  const gathering = new Gathering(events);
  for (const [index, event] of events.entries()) {
    const problem = gathering.add(event, index);
    if (problem !== null) return failed("malformed", `event ${index} of ${event.client}: ${problem}`);
  }
  return ok(gathering.finish());
}

class Gathering implements Operations {
  readonly events: readonly HistoryEvent[];
  readonly partitionNames: string[] = [];
  readonly clientNames: string[] = [];
  readonly writes: Write[] = [];
  readonly polls: Poll[] = [];
  readonly transactions: Transaction[] = [];
  readonly offsetCommits: OffsetCommit[] = [];
  readonly positionQueries: PositionQuery[] = [];
  readonly ownerships: Ownership[] = [];
  readonly crashedAt = new Map<ClientId, EventIndex>();
  readonly steps: Step[] = [];
  readonly #clients = new Map<string, ClientState>();
  readonly #partitions = new Map<string, PartitionId[]>();
  readonly #writesByValue = new Map<string, Write>();
  /** Reads wait for their writes: the log of a reader may come before its writer's. */
  readonly #records = new Map<Poll, readonly PolledRecord[]>();

  constructor(events: readonly HistoryEvent[]) {
    this.events = events;
  }

  add(event: HistoryEvent, index: EventIndex): string | null {
    const client = this.#client(event.client);
    switch (event.type) {
      case "open":
        client.isolation = event.isolation;
        return null;
      case "invoke":
        return this.#invoke(client, event, index);
      case "ok":
      case "fail":
      case "info":
        return this.#complete(client, event, index);
      case "assigned":
      case "revoked":
      case "lost": {
        const partitions = event.partitions.map(([topic, partition]) => this.#partition(topic, partition));
        this.ownerships.push({ kind: event.type, client: client.id, group: event.group, partitions, at: index });
        this.steps.push({ kind: "leave", client: client.id, partitions });
        return null;
      }
      case "seek":
        this.steps.push({ kind: "stand", client: client.id, positions: this.#places(event.positions) });
        return null;
      case "crash":
        this.crashedAt.set(client.id, index);
        return null;
    }
  }

  finish(): this {
    for (const [poll, records] of this.#records) {
      poll.reads = records.map(([topic, partitionNumber, offset, value]) => {
        const partition = this.#partition(topic, partitionNumber);
        const write = this.#writesByValue.get(value);
        const isThere = write !== undefined && write.partition === partition;
        if (isThere) write.isReadBy[poll.isolation] = true;
        return { partition, offset, value, write: isThere ? write : null };
      });
    }
    for (const transaction of this.transactions) {
      if (transaction.fate === "indeterminate" && transaction.commitsOpen === 0) transaction.fate = "aborted";
    }
    return this;
  }

  #invoke(client: ClientState, event: Invocation, index: EventIndex): string | null {
    if (client.open.has(event.call)) return `call ${event.call} is under way already`;
    const transaction =
      "transaction" in event && event.transaction !== undefined
        ? this.#transaction(client, event.transaction, index)
        : null;
    const operation: Operation = { client: client.id, invokedAt: index, completedAt: Infinity, outcome: "info" };
    switch (event.name) {
      case "send": {
        if (this.#writesByValue.has(event.value)) return `${event.value} was sent before`;
        const partition = this.#partition(event.topic, event.partition);
        const isReadBy = { read_committed: false, read_uncommitted: false };
        const { value } = event;
        const id = this.writes.length;
        const write: Write = { ...operation, id, value, partition, transaction, offset: -1, isReadBy };
        this.writes.push(write);
        this.#writesByValue.set(event.value, write);
        transaction?.writes.push(write);
        client.open.set(event.call, { name: "send", operation: write });
        return null;
      }
      case "poll": {
        const poll: Poll = { ...operation, isolation: client.isolation, transaction, reads: [] };
        this.polls.push(poll);
        transaction?.polls.push(poll);
        client.open.set(event.call, { name: "poll", operation: poll });
        return null;
      }
      case "commit":
      case "abort":
        if (transaction === null) return `${event.name} names no transaction`;
        if (event.name === "commit") {
          transaction.commitAskedAt = Math.min(transaction.commitAskedAt, index);
          transaction.commitsOpen += 1;
        }
        client.open.set(event.call, { name: event.name, operation, transaction });
        return null;
      case "commit-offsets": {
        const positions = this.#places(event.positions);
        const commit: OffsetCommit = { ...operation, group: event.group, positions, transaction };
        this.offsetCommits.push(commit);
        transaction?.commits.push(commit);
        client.open.set(event.call, { name: "commit-offsets", operation: commit });
        return null;
      }
      case "position": {
        const query: PositionQuery = { ...operation, group: event.group, positions: [] };
        this.positionQueries.push(query);
        client.open.set(event.call, { name: "position", operation: query });
        return null;
      }
    }
  }

  #complete(client: ClientState, event: Completion, index: EventIndex): string | null {
    const open = client.open.get(event.call);
    if (open === undefined) return `call ${event.call} was not invoked, or has ended`;
    client.open.delete(event.call);
    const { operation } = open;
    operation.completedAt = index;
    operation.outcome = event.type;
    switch (open.name) {
      case "send":
        if (event.type === "ok") open.operation.offset = event.offset ?? -1;
        return null;
      case "poll":
        if (event.type === "ok") this.#records.set(open.operation, event.records ?? []);
        this.steps.push({ kind: "poll", poll: open.operation });
        return null;
      case "commit":
      case "abort":
        return settle(open.transaction, open.name, event.type, index);
      case "position":
        if (event.type === "ok") {
          open.operation.positions = this.#places(event.positions ?? []);
          this.steps.push({ kind: "stand", client: client.id, positions: open.operation.positions });
        }
        return null;
      case "commit-offsets":
        return null;
    }
  }

  #client(name: string): ClientState {
    let client = this.#clients.get(name);
    if (client === undefined) {
      const id = this.clientNames.push(name) - 1;
      client = { id, isolation: "read_uncommitted", open: new Map(), transactions: new Map() };
      this.#clients.set(name, client);
    }
    return client;
  }

  #partition(topic: string, partition: number): PartitionId {
    let ids = this.#partitions.get(topic);
    if (ids === undefined) this.#partitions.set(topic, (ids = []));
    return (ids[partition] ??= this.partitionNames.push(`${topic}-${partition}`) - 1);
  }

  #places(positions: readonly Place[]): PartitionPlace[] {
    return positions.map(([topic, partition, offset]) => ({ partition: this.#partition(topic, partition), offset }));
  }

  #transaction(client: ClientState, number: number, index: EventIndex): Transaction {
    let transaction = client.transactions.get(number);
    if (transaction === undefined) {
      transaction = {
        client: client.id,
        number,
        invokedAt: index,
        completedAt: Infinity,
        commitAskedAt: Infinity,
        commitsOpen: 0,
        fate: "indeterminate",
        writes: [],
        polls: [],
        commits: [],
      };
      client.transactions.set(number, transaction);
      this.transactions.push(transaction);
    }
    return transaction;
  }
}

/** A commit may be asked for again after it was not answered; what was answered once stands. */
function settle(
  transaction: Transaction,
  name: "commit" | "abort",
  outcome: Outcome,
  index: EventIndex,
): string | null {
  if (outcome === "fail" && name === "commit") transaction.commitsOpen -= 1;
  if (outcome !== "ok") return null;
  const fate: Fate = name === "commit" ? "committed" : "aborted";
  if (transaction.fate !== "indeterminate" && transaction.fate !== fate) {
    return `transaction ${transaction.number} is ${transaction.fate} and cannot be ${fate}`;
  }
  transaction.fate = fate;
  transaction.completedAt = index;
  return null;
}

// --- Words -----------------------------------------------------------------------------------------------------------

export function isPromised({ outcome, transaction }: Write): boolean {
  return outcome === "ok" && (transaction === null || transaction.fate === "committed");
}

/** Its writes were seen by a committed reader, or its client was told: it must have been committed. */
export function isKnownCommitted(transaction: Transaction): boolean {
  if (transaction.fate !== "indeterminate") return transaction.fate === "committed";
  return transaction.writes.some(({ isReadBy }) => isReadBy.read_committed);
}

export function transactionName({ clientNames }: Operations, { client, number }: Transaction): string {
  return `transaction ${number} of ${clientNames[client]}`;
}

export function placeName({ partitionNames }: Operations, partition: PartitionId, offset: number): string {
  return `${partitionNames[partition]}@${offset}`;
}
