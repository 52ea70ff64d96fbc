import type { TimeMs } from "@millrace/base/units";
import type { Ticket } from "../../coordinator/machine.ts";
import type {
  AddAnswer,
  DescribeAnswer,
  ListAnswer,
  ListCommand,
  Producer,
  ProducerAnswer,
  VerifyAnswer,
} from "../commands.ts";
import { TransactionShard } from "../transaction-shard.ts";
import type { TransactionSettings } from "../transaction-shard.ts";
import type { ClientVersion, Outcome, Transaction, TransactionState } from "../transaction.ts";
import type { MarkersToWrite, TransactionDecision, TransactionTimer } from "../types.ts";

const settings: TransactionSettings = {
  timeoutMaxMs: 900_000,
  idExpirationMs: 604_800_000,
  idExpirationCheckMs: 3_600_000,
};

/** Hosts one shard in a test: what it wants to be logged goes through bytes, and everything that it asks for is kept. */
export class TransactionHost {
  shard: TransactionShard = new TransactionShard(settings);
  readonly log: { readonly key: Uint8Array; readonly value: Uint8Array | null }[] = [];
  readonly timers = new Map<string, { readonly timer: TransactionTimer; readonly dueMs: number }>();
  /** Not written yet. */
  markers: MarkersToWrite[] = [];
  nowMs = 1_000_000;
  #tickets = 0;
  #nextProducerId = 1000;

  constructor() {
    this.#apply(this.shard.decideLoaded(this.nowMs as TimeMs));
  }

  transaction(id = "t"): Transaction | null {
    return this.shard.transactions.get(id) ?? null;
  }

  state(id = "t"): TransactionState | "no id" {
    return this.transaction(id)?.state ?? "no id";
  }

  init(
    options: { readonly id?: string; readonly expected?: Producer; readonly timeoutMs?: number } = {},
  ): ProducerAnswer {
    const { id: transactionalId = "t", expected = null, timeoutMs = 60_000 } = options;
    const ask = (newProducerId: number | null): ProducerAnswer =>
      this.#ask<ProducerAnswer>((ticket) => {
        const command = { ticket, transactionalId, timeoutMs, expected, newProducerId };
        return this.shard.decideInit(command, this.nowMs as TimeMs);
      });
    const answer = ask(null);
    return answer.kind === "needs-producer-id" ? ask(this.#nextProducerId++) : answer;
  }

  add(
    producer: Producer,
    partitions: readonly number[],
    options: { readonly id?: string; readonly clientVersion?: ClientVersion } = {},
  ): AddAnswer {
    const { id: transactionalId = "t", clientVersion = 1 } = options;
    return this.#ask<AddAnswer>((ticket) => {
      const topics = [{ topic: "orders", partitions }];
      return this.shard.decideAdd(
        { ticket, transactionalId, clientVersion, topics, when: "committed", ...producer },
        this.nowMs as TimeMs,
      );
    });
  }

  verify(producer: Producer, partition: number, id = "t"): VerifyAnswer["failure"] | boolean {
    const answer = this.#ask<VerifyAnswer>((ticket) =>
      this.shard.decideVerify({
        ticket,
        transactionalId: id,
        topics: [{ topic: "orders", partitions: [partition] }],
        ...producer,
      }),
    );
    return answer.failure ?? answer.isIn("orders", partition);
  }

  end(
    producer: Producer,
    outcome: Outcome,
    options: { readonly id?: string; readonly clientVersion?: ClientVersion } = {},
  ): ProducerAnswer {
    const { id: transactionalId = "t", clientVersion = 1 } = options;
    const ask = (newProducerId: number | null): ProducerAnswer =>
      this.#ask<ProducerAnswer>((ticket) => {
        const command = { ticket, transactionalId, outcome, clientVersion, newProducerId, ...producer };
        return this.shard.decideEnd(command, this.nowMs as TimeMs);
      });
    const answer = ask(null);
    return answer.kind === "needs-producer-id" ? ask(this.#nextProducerId++) : answer;
  }

  describe(transactionalIds: readonly string[]): DescribeAnswer["transactions"] {
    return this.#ask<DescribeAnswer>((ticket) => this.shard.decideDescribe({ ticket, transactionalIds })).transactions;
  }

  list(filter: Partial<Omit<ListCommand, "ticket">>): ListAnswer["transactions"] {
    const all = { states: new Set<TransactionState>(), producerIds: new Set<number>(), openForMs: null, pattern: null };
    return this.#ask<ListAnswer>((ticket) => this.shard.decideList({ ...all, ...filter, ticket }, this.nowMs as TimeMs))
      .transactions;
  }

  /** All that is asked for so far. */
  writeMarkers(): void {
    for (const marker of this.markers.splice(0)) this.#apply(this.shard.decideCompleted(marker, this.nowMs as TimeMs));
  }

  advance(ms: number): void {
    this.nowMs += ms;
    for (const { timer, dueMs } of [...this.timers.values()]) {
      if (dueMs > this.nowMs) continue;
      this.timers.delete(timer.id);
      this.#apply(this.shard.decideTimer(timer, this.nowMs as TimeMs));
    }
  }

  /** Another broker loads the log. What was being written may be lost, or may be there. */
  failover(): void {
    this.shard = this.replayed();
    this.timers.clear();
    this.markers = [];
    this.#apply(this.shard.decideLoaded(this.nowMs as TimeMs));
  }

  replayed(): TransactionShard {
    const shard = new TransactionShard(settings);
    for (const [offset, { key, value }] of this.log.entries()) {
      const record = shard.decode(key, value);
      if (record !== null) shard.replay(record);
      else throw new Error(`the record at ${offset} is of no known kind`);
    }
    return shard;
  }

  #ask<Answer>(decide: (ticket: Ticket<Answer>) => TransactionDecision): Answer {
    const ticket: Ticket<Answer> = { id: ++this.#tickets };
    const before = JSON.stringify([...this.shard.transactions]);
    const decision = decide(ticket);
    if (JSON.stringify([...this.shard.transactions]) !== before) throw new Error("T8: deciding changed something");
    const [reply, ...more] = this.#apply(decision);
    if (reply === undefined || more.length > 0 || reply.ticket !== ticket)
      throw new Error("T8: a request is answered exactly once");
    return reply.response as Answer;
  }

  #apply(decision: TransactionDecision): TransactionDecision["replies"] {
    for (const soft of decision.soft) this.shard.applySoft(soft);
    for (const record of decision.records) {
      const encoded = this.shard.encode(record);
      this.log.push(encoded);
      const decoded = this.shard.decode(encoded.key, encoded.value);
      if (decoded === null) throw new Error("what is encoded can be decoded");
      this.shard.replay(decoded);
    }
    for (const { timer, afterMs } of decision.timers) {
      if (afterMs === null) this.timers.delete(timer.id);
      else this.timers.set(timer.id, { timer, dueMs: this.nowMs + afterMs });
    }
    this.markers.push(...decision.effects);
    return decision.replies;
  }
}
