import { Cluster } from "@millrace/client";
import type { Producer } from "@millrace/client";
import { expect } from "vitest";

const accountsCount = 10;

interface Transfer {
  readonly number: number;
  readonly account: number;
  readonly amount: number;
}

/**
 * A producer with transactions that moves money: each transaction takes from one account and gives to another one in another
 * partition, so that the sum of all that is committed is zero whenever all of it is read.
 */
export class TransferFlow implements AsyncDisposable {
  readonly #topic: string;
  readonly #partitions: number;
  readonly #brokers: readonly string[];
  readonly #cluster: Cluster;
  readonly #committed: number[] = [];
  readonly #unknown: string[] = [];
  readonly #moving: Promise<void>;
  #producer: Producer;
  #isOver = false;

  constructor(brokers: readonly string[], options: { readonly topic: string; readonly partitions: number }) {
    this.#topic = options.topic;
    this.#partitions = options.partitions;
    this.#brokers = brokers;
    this.#cluster = new Cluster({ brokers, clientId: `${options.topic}-flow` });
    this.#producer = this.#newProducer();
    this.#moving = this.#move();
  }

  get committedCount(): number {
    return this.#committed.length;
  }

  /** No more are begun. What is committed is there as a whole, each once; the sum is zero. */
  async end(): Promise<void> {
    this.#isOver = true;
    await this.#moving;
    await this.#producer.close();
    await using cluster = new Cluster({ brokers: this.#brokers, clientId: `${this.#topic}-reader` });
    const seen = new Map<number, number[]>();
    const reader = cluster.consumer({ isolation: "read_committed" });
    for await (const { value } of reader.records(this.#topic, { from: "earliest", untilEnd: true })) {
      const { number, amount } = JSON.parse(value?.toString() ?? "") as Transfer;
      seen.set(number, [...(seen.get(number) ?? []), amount]);
    }
    const torn = [...seen].filter(([, amounts]) => amounts.length !== 2 || (amounts[0] ?? 0) + (amounts[1] ?? 0) !== 0);
    expect(torn, "transfers that are not there as a whole").toEqual([]);
    expect(
      this.#committed.filter((number) => !seen.has(number)),
      "committed transfers that are not there",
    ).toEqual([]);
    // What was neither committed nor aborted for the producer may be either.
    console.log(
      `transfers: ${this.#committed.length} committed, ${this.#unknown.length} failed: ${this.#unknown.join("; ")}`,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    await this.#cluster.close();
    await this.#moving;
  }

  #newProducer(): Producer {
    return this.#cluster.producer({ transactionalId: this.#topic, transactionTimeoutMs: 20_000 });
  }

  async #move(): Promise<void> {
    for (let number = 0; !this.#isOver; number++) {
      const amount = 1 + (number % 7);
      try {
        await this.#producer.transaction(async (transaction) => {
          const write = async (account: number, change: number): Promise<unknown> =>
            await transaction.send(this.#topic, {
              partition: account % this.#partitions,
              value: JSON.stringify({ number, account, amount: change } satisfies Transfer),
            });
          await write(number % accountsCount, -amount);
          await write((number + 1) % accountsCount, amount);
        });
        this.#committed.push(number);
      } catch (error) {
        if (this.#isOver) return;
        this.#unknown.push(String(error));
        // One that cannot go on is followed by another one, which ends what it has left open.
        await this.#producer.close().catch(() => undefined);
        this.#producer = this.#newProducer();
      }
    }
  }
}
