import type { ClientSeat } from "./workload.ts";
import { Doings, isRetriable, makeTopic, pause } from "./workload.ts";
import type { Bench, Workload } from "./workload.ts";
import { textOf } from "../story.ts";

const topic = "log";
const writersCount = 2;

/** Idempotent producers with acks=all, and readers of what they write: while all goes on, each record is seen as it comes. */
export class Writers implements Workload {
  readonly name = "writers";
  readonly #bench: Bench;
  readonly #doings: Doings;
  readonly #ending = new AbortController();
  #nextValue = 0;

  constructor(bench: Bench) {
    this.#bench = bench;
    this.#doings = new Doings(bench.story);
  }

  get progress(): ReadonlyMap<string, number> {
    return this.#doings.progress;
  }

  prepare(): Promise<void> {
    return makeTopic(this.#bench, topic, this.#bench.drawn.topicConfig);
  }

  start(): void {
    for (let index = 0; index < writersCount; index++)
      this.#doings.own(`writer${index}`, this.#write(`writer${index}`));
    this.#doings.own("reader0", this.#read("reader0", "read_uncommitted"));
    this.#doings.own("reader1", this.#read("reader1", "read_committed"));
  }

  async stop(): Promise<void> {
    this.#doings.isStopping = true;
    this.#ending.abort();
    await this.#doings.settled();
  }

  async #write(name: string): Promise<void> {
    const seat = this.#bench.client(name);
    const { cluster, clock } = seat;
    const { prng, drawn } = this.#bench;
    for (let life = 0; !this.#doings.isStopping; life++) {
      const producer = cluster.producer({ deliveryTimeoutMs: prng.pick([5_000, 60_000]), lingerMs: prng.pick([0, 5]) });
      const sent: Promise<void>[] = [];
      for (let left = prng.between(20, 200); left > 0 && !this.#doings.isStopping; left--) {
        for (let burst = prng.between(1, 3); burst > 0; burst--) {
          const partition = prng.between(0, drawn.partitions - 1);
          sent.push(this.#send(`${name}.${life}`, { seat, name, partition }, producer));
        }
        await pause(clock, prng.between(5, 200));
        if (prng.chance(0.3)) await sent.at(-1);
      }
      await Promise.all(sent);
      await producer.close();
    }
    await cluster.close();
  }

  async #send(
    client: string,
    { name, partition }: { readonly seat: ClientSeat; readonly name: string; readonly partition: number },
    producer: ReturnType<ClientSeat["cluster"]["producer"]>,
  ): Promise<void> {
    const value = `v${this.#nextValue++}`;
    const settle = this.#bench.story.invoke(client, { name: "send", topic, partition, value });
    try {
      const { offset } = await producer.send(topic, { key: `k${this.#nextValue % 7}`, value, partition });
      settle({ type: "ok", offset });
      this.#doings.did(name);
    } catch (error) {
      settle({ type: "info", error: textOf(error) });
      this.#bench.story.tell(`${client} cannot send ${value}: ${textOf(error)}`);
    }
  }

  async #read(name: string, isolation: "read_uncommitted" | "read_committed"): Promise<void> {
    const { story } = this.#bench;
    const { cluster, clock } = this.#bench.client(name);
    for (let life = 0; !this.#doings.isStopping; life++) {
      const client = `${name}.${life}`;
      story.opened(client, isolation);
      const consumer = cluster.consumer({ isolation, outageMsMax: Number.POSITIVE_INFINITY });
      consumer.on("moved", ({ reason, partition, before, now }) =>
        story.complain(`${client} was moved in ${topic}-${partition} from ${before} to ${now}: ${reason}`),
      );
      try {
        for await (const record of consumer.records(topic, { signal: this.#ending.signal })) {
          story.polled(client, [[topic, record.partition, record.offset, record.value?.toString() ?? ""]]);
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
