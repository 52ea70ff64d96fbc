import type { Cluster } from "@millrace/client";
import { Doings, isRetriable, makeTopic, pause } from "./workload.ts";
import type { Bench, Workload } from "./workload.ts";
import { textOf } from "../story.ts";

export const accountsTopic = "accounts";
const clerksCount = 2;

class OnPurpose extends Error {
  override readonly name = "OnPurpose";
}

/** Each transaction takes money from one partition and gives it to another: whoever reads what is committed finds as much as before. */
export class Transfers implements Workload {
  readonly name = "transfers";
  readonly #bench: Bench;
  readonly #doings: Doings;
  readonly #ending = new AbortController();
  #next = 0;

  constructor(bench: Bench) {
    this.#bench = bench;
    this.#doings = new Doings(bench.story);
  }

  get progress(): ReadonlyMap<string, number> {
    return this.#doings.progress;
  }

  prepare(): Promise<void> {
    const { partitions, topicConfig } = this.#bench.drawn;
    return makeTopic(this.#bench, accountsTopic, topicConfig, partitions + 1);
  }

  start(): void {
    for (let index = 0; index < clerksCount; index++)
      this.#doings.own(`clerk${index}`, this.#transfer(`clerk${index}`));
    this.#doings.own("auditor", this.#read("auditor"));
  }

  async stop(): Promise<void> {
    this.#doings.isStopping = true;
    this.#ending.abort();
    await this.#doings.settled();
  }

  async #transfer(name: string): Promise<void> {
    const { prng } = this.#bench;
    const { cluster, clock } = this.#bench.client(name);
    for (let life = 0; !this.#doings.isStopping; life++) {
      const transactionTimeoutMs = prng.pick([2_000, 8_000]);
      const producer = cluster.producer({ transactionalId: name, transactionTimeoutMs, deliveryTimeoutMs: 20_000 });
      for (let left = prng.between(5, 40); left > 0 && !this.#doings.isStopping; left--) {
        const isUsable = await this.#one(`${name}.${life}`, name, producer);
        if (!isUsable) break;
        await pause(clock, prng.between(5, 200));
      }
      await producer.close({ timeoutMs: 20_000 });
    }
    await cluster.close();
  }

  /** Whether the producer is of any more use. */
  async #one(client: string, name: string, producer: ReturnType<Cluster["producer"]>): Promise<boolean> {
    const { story, prng, drawn } = this.#bench;
    const transaction = this.#next++;
    const amount = prng.between(1, 100);
    let end: ReturnType<typeof story.invoke> | null = null;
    try {
      await producer.transaction(async (tx) => {
        const sides = [-amount, amount].map(async (money) => {
          const partition = prng.between(0, drawn.partitions);
          const value = `t${transaction}:${money}`;
          const settle = story.invoke(client, { name: "send", topic: accountsTopic, partition, value, transaction });
          try {
            const { offset } = await tx.send(accountsTopic, { value, partition });
            settle({ type: "ok", offset });
          } catch (error) {
            settle({ type: "info", error: textOf(error) });
            throw error;
          }
        });
        const settled = await Promise.allSettled(sides);
        for (const side of settled) if (side.status === "rejected") throw side.reason;
        if (prng.chance(0.2)) throw new OnPurpose();
        end = story.invoke(client, { name: "commit", transaction });
      });
      settleEnd(end, { type: "ok" });
      this.#doings.did(name);
      return true;
    } catch (error) {
      if (end === null) story.invoke(client, { name: "abort", transaction })({ type: "info", error: textOf(error) });
      else settleEnd(end, { type: "info", error: textOf(error) });
      if (error instanceof OnPurpose) return true;
      story.tell(`${client} cannot transfer: ${textOf(error)}`);
      return (error as { readonly fatal?: boolean }).fatal !== true;
    }
  }

  async #read(name: string): Promise<void> {
    const { story } = this.#bench;
    const { cluster, clock } = this.#bench.client(name);
    for (let life = 0; !this.#doings.isStopping; life++) {
      const client = `${name}.${life}`;
      story.opened(client, "read_committed");
      const consumer = cluster.consumer({ isolation: "read_committed", outageMsMax: Number.POSITIVE_INFINITY });
      consumer.on("moved", ({ reason, partition, before, now }) =>
        story.complain(`${client} was moved in ${accountsTopic}-${partition} from ${before} to ${now}: ${reason}`),
      );
      try {
        for await (const record of consumer.records(accountsTopic, { signal: this.#ending.signal })) {
          story.polled(client, [[accountsTopic, record.partition, record.offset, record.value?.toString() ?? ""]]);
          this.#doings.did(name);
        }
      } catch (error) {
        if (!isRetriable(error)) throw error;
        story.tell(`${client} cannot read: ${textOf(error)}`);
      }
      await consumer.close();
      await pause(clock, 100);
    }
    await cluster.close();
  }
}

function settleEnd(
  end: ReturnType<Bench["story"]["invoke"]> | null,
  completion: Parameters<ReturnType<Bench["story"]["invoke"]>>[0],
): void {
  end?.(completion);
}
