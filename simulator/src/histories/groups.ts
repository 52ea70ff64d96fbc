import { named } from "./findings.ts";
import type { Findings } from "./findings.ts";
import { indexAfter } from "./logs.ts";
import type { Logs } from "./logs.ts";
import { isKnownCommitted, placeName, transactionName } from "./operations.ts";
import type {
  ClientId,
  EventIndex,
  OffsetCommit,
  Operations,
  Ownership,
  PartitionId,
  PositionQuery,
  Transaction,
} from "./operations.ts";

/** What a group's coordinator knows of one partition, as far as its members' logs prove it. */
interface Seat {
  /** Who was assigned it and has not given it back, with the moment; the newest last. */
  readonly owners: Map<ClientId, EventIndex>;
  /** The furthest commit that was acknowledged, and the furthest that may have been made. */
  acknowledged: number;
  possible: number;
}

type Happening =
  | { readonly at: EventIndex; readonly kind: "ownership"; readonly ownership: Ownership }
  | { readonly at: EventIndex; readonly kind: "death"; readonly client: ClientId }
  | { readonly at: EventIndex; readonly kind: "asked"; readonly commit: OffsetCommit }
  | { readonly at: EventIndex; readonly kind: "answered"; readonly commit: OffsetCommit }
  | { readonly at: EventIndex; readonly kind: "position asked" | "position answered"; readonly query: PositionQuery };

interface GroupOptions {
  readonly logs: Logs;
  readonly sessionTimeoutMs: number;
  readonly isReadToEnd: boolean;
}

/**
 * What a group owes its members. A member owns a partition from onPartitionsAssigned until onPartitionsRevoked,
 * onPartitionsLost or the end of its process.
 *
 * - two owners: a partition was assigned while its owner's session cannot have ended, since a commit of that owner outside
 *   of transactions was accepted less than a session timeout before. A paused member may believe in its partitions for as
 *   long as it likes.
 * - stale commit: a member's commit was accepted though the partition had been assigned to another before it was made.
 * - position before commit, position beyond commits: a member goes on below what was acknowledged before it asked, or above
 *   all that anybody may have committed. Members commit forward only, and the group begins at offset 0.
 * - processed twice: two committed transactions of the group took the same record.
 * - never processed: the group has committed its way over a record that no member took, or took only in transactions that
 *   left nothing. The latter counts where each transaction that takes records also sends some.
 */
export function checkGroups(operations: Operations, options: GroupOptions, findings: Findings): void {
  if (operations.ownerships.length === 0 && operations.offsetCommits.length === 0) return;
  const groups = new Set([...operations.ownerships, ...operations.offsetCommits].map(({ group }) => group));
  for (const group of groups) new GroupCheck(operations, group, options).run(findings);
}

class GroupCheck {
  readonly #operations: Operations;
  readonly #group: string;
  readonly #options: GroupOptions;
  readonly #seats = new Map<PartitionId, Seat>();
  /** When each member's last accepted commit was asked for, which its session has outlived. */
  readonly #lastCommit = new Map<ClientId, EventIndex>();

  constructor(operations: Operations, group: string, options: GroupOptions) {
    this.#operations = operations;
    this.#group = group;
    this.#options = options;
  }

  run(findings: Findings): void {
    for (const happening of this.#happenings()) this.#take(happening, findings);
    this.#checkProcessing(findings);
  }

  #happenings(): Happening[] {
    const { ownerships, offsetCommits, positionQueries, crashedAt } = this.#operations;
    const happenings: Happening[] = [];
    const isOurs = ({ group }: { readonly group: string }): boolean => group === this.#group;
    for (const ownership of ownerships.filter(isOurs))
      happenings.push({ at: ownership.at, kind: "ownership", ownership });
    for (const query of positionQueries.filter(isOurs)) {
      happenings.push({ at: query.invokedAt, kind: "position asked", query });
      if (query.outcome === "ok") happenings.push({ at: query.completedAt, kind: "position answered", query });
    }
    for (const [client, at] of crashedAt) happenings.push({ at, kind: "death", client });
    for (const commit of offsetCommits.filter(isOurs)) {
      happenings.push({ at: commit.invokedAt, kind: "asked", commit });
      const answeredAt = acknowledgedAt(commit);
      if (answeredAt !== Infinity) happenings.push({ at: answeredAt, kind: "answered", commit });
    }
    return happenings.sort((a, b) => a.at - b.at);
  }

  #take(happening: Happening, findings: Findings): void {
    switch (happening.kind) {
      case "ownership":
        for (const partition of happening.ownership.partitions) this.#change(happening.ownership, partition, findings);
        return;
      case "death":
        for (const { owners } of this.#seats.values()) owners.delete(happening.client);
        return;
      case "asked":
        return this.#asked(happening.commit, findings);
      case "answered":
        return this.#answered(happening.commit);
      case "position asked":
        return this.#positionAsked(happening.query, findings);
      case "position answered":
        return this.#positionAnswered(happening.query, findings);
    }
  }

  #seat(partition: PartitionId): Seat {
    let seat = this.#seats.get(partition);
    if (seat === undefined) this.#seats.set(partition, (seat = { owners: new Map(), acknowledged: 0, possible: 0 }));
    return seat;
  }

  #change({ kind, client, at }: Ownership, partition: PartitionId, findings: Findings): void {
    const { owners } = this.#seat(partition);
    owners.delete(client);
    if (kind !== "assigned") return;
    const { events, clientNames, partitionNames } = this.#operations;
    const nowUs = events[at]?.atUs ?? 0;
    for (const owner of owners.keys()) {
      const lastCommitUs = events[this.#lastCommit.get(owner) ?? -1]?.atUs ?? -Infinity;
      const silentMs = (nowUs - lastCommitUs) / 1000;
      if (silentMs >= this.#options.sessionTimeoutMs) continue;
      findings.add("two owners", () => {
        return `${partitionNames[partition]} of ${this.#group} was assigned to ${clientNames[client]} while ${clientNames[owner]} owned it, ${Math.round(silentMs)} ms after its commit was accepted`;
      });
    }
    owners.set(client, at);
  }

  #asked(commit: OffsetCommit, findings: Findings): void {
    const { events, clientNames } = this.#operations;
    for (const { partition, offset } of commit.positions) {
      const seat = this.#seat(partition);
      const isPossible = commit.outcome !== "fail" && commit.transaction?.fate !== "aborted";
      if (isPossible) seat.possible = Math.max(seat.possible, offset);
      const [newest, assignedAt] = [...seat.owners].at(-1) ?? [commit.client, 0];
      const isStale = newest !== commit.client && seat.owners.has(commit.client);
      // Two events of one microsecond have no order.
      const isLater = (events[assignedAt]?.atUs ?? 0) < (events[commit.invokedAt]?.atUs ?? 0);
      if (!isStale || !isLater || commit.outcome !== "ok") continue;
      findings.add("stale commit", () => {
        return `${clientNames[commit.client]} of ${this.#group} committed ${placeName(this.#operations, partition, offset)} after it had been assigned to ${clientNames[newest]}`;
      });
    }
  }

  #answered(commit: OffsetCommit): void {
    if (commit.transaction === null) this.#lastCommit.set(commit.client, commit.invokedAt);
    for (const { partition, offset } of commit.positions) {
      const seat = this.#seat(partition);
      seat.acknowledged = Math.max(seat.acknowledged, offset);
    }
  }

  #positionAsked({ client, positions }: PositionQuery, findings: Findings): void {
    for (const { partition, offset } of positions) {
      const { acknowledged } = this.#seat(partition);
      if (offset >= acknowledged) continue;
      findings.add("position before commit", () => {
        return `${this.#standing(client, partition, offset)}, though ${acknowledged} had been committed`;
      });
    }
  }

  #positionAnswered({ client, positions }: PositionQuery, findings: Findings): void {
    for (const { partition, offset } of positions) {
      const { possible } = this.#seat(partition);
      if (offset <= possible) continue;
      findings.add("position beyond commits", () => {
        return `${this.#standing(client, partition, offset)}, though nobody had committed more than ${possible}`;
      });
    }
  }

  #standing(client: ClientId, partition: PartitionId, offset: number): string {
    const { clientNames } = this.#operations;
    return `${clientNames[client]} of ${this.#group} goes on at ${placeName(this.#operations, partition, offset)}`;
  }

  // --- Processing ----------------------------------------------------------------------------------------------------

  #checkProcessing(findings: Findings): void {
    const taken = this.#takenByTransactions(findings);
    const members = new Set<ClientId>(this.#ours(this.#operations.offsetCommits).map(({ client }) => client));
    for (const poll of this.#operations.polls) {
      if (poll.transaction !== null || !members.has(poll.client)) continue;
      for (const { partition, offset } of poll.reads) takenOf(taken, partition).set(offset, null);
    }
    // What was not read yet may have been processed.
    if (!this.#options.isReadToEnd) return;
    for (const [partition, { acknowledged }] of this.#seats) {
      const seen = this.#options.logs.seen.read_committed[partition] ?? new Float64Array();
      const ofPartition = takenOf(taken, partition);
      const missing = [...seen.subarray(0, indexAfter(seen, acknowledged - 1))].filter(
        (offset) => !ofPartition.has(offset),
      );
      if (missing.length === 0) continue;
      findings.add("never processed", () => {
        const where = this.#operations.partitionNames[partition];
        return `${this.#group} has committed ${acknowledged} of ${where} and left out ${named(missing.map(String))}`;
      });
    }
  }

  /** Records below the position that the transaction which polled them committed. */
  #takenByTransactions(findings: Findings): Map<PartitionId, Map<number, Transaction | null>> {
    const taken = new Map<PartitionId, Map<number, Transaction | null>>();
    const transactions = new Set(
      this.#ours(this.#operations.offsetCommits).flatMap(({ transaction }) => transaction ?? []),
    );
    for (const transaction of transactions) {
      if (!isKnownCommitted(transaction)) continue;
      const limits = new Map<PartitionId, number>();
      for (const { positions } of this.#ours(transaction.commits)) {
        for (const { partition, offset } of positions) limits.set(partition, offset);
      }
      for (const { partition, offset } of transaction.polls.flatMap(({ reads }) => reads)) {
        if (offset >= (limits.get(partition) ?? 0)) continue;
        const ofPartition = takenOf(taken, partition);
        const other = ofPartition.get(offset);
        ofPartition.set(offset, transaction);
        if (other === undefined || other === null || other === transaction) continue;
        findings.add("processed twice", () => {
          const names = [other, transaction].map((each) => transactionName(this.#operations, each));
          return `${placeName(this.#operations, partition, offset)} was taken by ${named(names)}`;
        });
      }
    }
    return taken;
  }

  #ours<T extends { readonly group: string }>(all: readonly T[]): readonly T[] {
    return all.filter(({ group }) => group === this.#group);
  }
}

function takenOf<T>(taken: Map<PartitionId, Map<number, T>>, partition: PartitionId): Map<number, T> {
  let ofPartition = taken.get(partition);
  if (ofPartition === undefined) taken.set(partition, (ofPartition = new Map<number, T>()));
  return ofPartition;
}

/** When all of it was acknowledged: within a transaction, that is when the transaction was. */
function acknowledgedAt({ outcome, completedAt, transaction }: OffsetCommit): EventIndex {
  if (outcome !== "ok") return Infinity;
  if (transaction === null) return completedAt;
  return transaction.fate === "committed" ? transaction.completedAt : Infinity;
}
