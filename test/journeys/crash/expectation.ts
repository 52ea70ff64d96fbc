import { partitionKey } from "./marks.ts";
import type { ExpectedTransaction, OpenTransaction } from "./transactions.ts";
import type { Commit, Mark, SentBatch, TopicMade } from "./marks.ts";

/** A partition as clients know it at some moment. */
export interface ExpectedPartition {
  readonly topic: TopicMade;
  readonly partition: number;
  /** By base offset: acknowledged to its producer, or given to a consumer. */
  readonly promised: Map<number, SentBatch>;
  /** By number: all that was sent, acknowledged or not. */
  readonly sent: Map<number, SentBatch>;
  /** DeleteRecords was answered with it: nothing below comes back. */
  startOffset: number;
  /** And may have reached this one, without an answer. */
  startOffsetMax: number;
}

/** What must hold after a crash at some moment, and what may: from the marks up to then and nothing else. */
export class Expectation {
  /** By name: may be there, since its creation was asked for. */
  readonly wanted = new Set<string>();
  /** By id: was created. */
  readonly topics = new Map<string, TopicMade>();
  /** Ids: deletion was asked for; deletion was answered. */
  readonly doomed = new Set<string>();
  readonly deleted = new Set<string>();
  readonly partitions = new Map<string, ExpectedPartition>();
  /** By group, topic and partition: the newest that was answered, and the newest that was sent. */
  readonly commits = new Map<string, { answered: Commit | null; sent: Commit }>();
  readonly settings = new Map<string, { answered: number | null; sent: number }>();
  readonly producerIds = new Set<number>();
  /** By number: those whose end was asked for. */
  readonly transactions = new Map<number, ExpectedTransaction>();
  /** By transactional id: the transaction that its producer was at. */
  readonly openTransactions = new Map<string, OpenTransaction>();

  constructor(marks: Iterable<Mark>) {
    for (const mark of marks) this.#apply(mark);
  }

  partition(topicId: string, partition: number): ExpectedPartition {
    const found = this.partitions.get(partitionKey(topicId, partition));
    if (found === undefined) throw new Error(`${topicId}-${partition} was used before it was created`);
    return found;
  }

  #apply(mark: Mark): void {
    switch (mark.kind) {
      case "creating":
        this.wanted.add(mark.topic);
        break;
      case "created":
        this.#created(mark.topic);
        break;
      case "deleting":
        this.doomed.add(mark.topicId);
        break;
      case "deleted":
        this.deleted.add(mark.topicId);
        break;
      case "sending":
        this.partition(mark.batch.topicId, mark.batch.partition).sent.set(mark.batch.number, mark.batch);
        break;
      case "stored":
      case "seen":
        this.partition(mark.batch.topicId, mark.batch.partition).promised.set(mark.baseOffset, mark.batch);
        break;
      case "trimming": {
        const partition = this.partition(mark.topicId, mark.partition);
        partition.startOffsetMax = Math.max(partition.startOffsetMax, mark.offset);
        break;
      }
      case "trimmed": {
        const partition = this.partition(mark.topicId, mark.partition);
        partition.startOffset = Math.max(partition.startOffset, mark.startOffset);
        break;
      }
      case "committing":
      case "committed": {
        const { commit } = mark;
        const key = `${commit.group}/${partitionKey(commit.topicId, commit.partition)}`;
        const before = this.commits.get(key);
        if (mark.kind === "committing") this.commits.set(key, { answered: before?.answered ?? null, sent: commit });
        else if (before !== undefined) before.answered = commit;
        break;
      }
      case "configuring":
      case "configured": {
        const before = this.settings.get(mark.topicId);
        if (mark.kind === "configured" && before !== undefined) before.answered = mark.retentionMs;
        else this.settings.set(mark.topicId, { answered: before?.answered ?? null, sent: mark.retentionMs });
        break;
      }
      case "producer-id":
        this.producerIds.add(mark.producerId);
        break;
      case "transaction-writing":
      case "transaction-written": {
        const { write } = mark;
        const before = this.openTransactions.get(write.transactionalId);
        const open = before?.number === write.number ? before : { number: write.number, writes: [], ending: null };
        this.openTransactions.set(write.transactionalId, open);
        if (mark.kind === "transaction-writing") open.writes.push({ write, isAnswered: false });
        else open.writes.findLast((each) => each.write.value === write.value)!.isAnswered = true;
        break;
      }
      case "transaction-fencing":
        this.openTransactions.delete(mark.transactionalId);
        break;
      case "transaction-ending":
      case "transaction-ended": {
        const { transaction } = mark;
        const isAnswered = mark.kind === "transaction-ended";
        this.transactions.set(transaction.number, { transaction, isAnswered });
        const open = this.openTransactions.get(transaction.transactionalId);
        if (isAnswered) this.openTransactions.delete(transaction.transactionalId);
        else if (open !== undefined) open.ending = transaction;
        break;
      }
    }
  }

  #created(topic: TopicMade): void {
    this.topics.set(topic.id, topic);
    for (let partition = 0; partition < topic.partitions; partition++) {
      this.partitions.set(partitionKey(topic.id, partition), {
        topic,
        partition,
        promised: new Map(),
        sent: new Map(),
        startOffset: 0,
        startOffsetMax: 0,
      });
    }
  }
}
