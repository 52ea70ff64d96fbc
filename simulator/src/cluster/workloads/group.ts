import { Doings, makeTopic, pause } from "./workload.ts";
import type { Bench, Workload } from "./workload.ts";
import { textOf } from "../story.ts";

const topic = "orders";
const group = "group";

/** A producer, a group whose members come and go, and somebody who looks at its commits: nothing is left out, and no commit goes back. */
export class Group implements Workload {
  readonly name = "group";
  readonly #bench: Bench;
  readonly #doings: Doings;
  readonly #ending = new AbortController();
  readonly #acknowledged = new Set<string>();
  readonly #handled = new Set<string>();
  readonly #committed = new Map<number, number>();
  #nextValue = 0;
  #nextMember = 0;
  #isWriting = true;

  constructor(bench: Bench) {
    this.#bench = bench;
    this.#doings = new Doings(bench.story);
  }

  get progress(): ReadonlyMap<string, number> {
    return this.#doings.progress;
  }

  prepare(): Promise<void> {
    const { partitions, topicConfig } = this.#bench.drawn;
    return makeTopic(this.#bench, topic, topicConfig, partitions + 1);
  }

  start(): void {
    this.#doings.own("customer", this.#write());
    this.#doings.own("inspector", this.#look());
    for (const seat of ["member0", "member1"]) this.#doings.own(seat, this.#beMembers(seat));
  }

  async stop(): Promise<void> {
    this.#isWriting = false;
    const { clock } = this.#bench.client("waiter");
    const isHandled = (): boolean => [...this.#acknowledged].every((value) => this.#handled.has(value));
    for (let left = 300; left > 0 && !isHandled(); left--) await pause(clock, 200);
    const missing = [...this.#acknowledged].filter((value) => !this.#handled.has(value));
    if (missing.length > 0)
      this.#bench.story.complain(
        `never processed: ${missing.length} records of the group, ${missing.slice(0, 5).join(" ")}`,
      );
    this.#doings.isStopping = true;
    this.#ending.abort();
    await this.#doings.settled();
  }

  async #write(): Promise<void> {
    const { story, prng, drawn } = this.#bench;
    const client = "customer";
    const { cluster, clock } = this.#bench.client(client);
    const producer = cluster.producer();
    const sent: Promise<void>[] = [];
    while (this.#isWriting) {
      const partition = prng.between(0, drawn.partitions);
      const value = `o${this.#nextValue++}`;
      const settle = story.invoke(client, { name: "send", topic, partition, value });
      sent.push(
        producer.send(topic, { value, partition }).then(
          ({ offset }) => {
            settle({ type: "ok", offset });
            this.#acknowledged.add(value);
            this.#doings.did(client);
          },
          (error: unknown) => settle({ type: "info", error: textOf(error) }),
        ),
      );
      await pause(clock, prng.between(5, 150));
    }
    await Promise.all(sent);
    await cluster.close();
  }

  async #beMembers(seat: string): Promise<void> {
    const { story, prng, drawn } = this.#bench;
    while (!this.#doings.isStopping) {
      const name = `${seat}.${this.#nextMember++}`;
      const { cluster, clock } = this.#bench.client(seat);
      const consumer = cluster.consumer({
        group,
        protocol: drawn.protocol,
        ...(drawn.protocol === "classic" ? { sessionTimeoutMs: 3_000, heartbeatIntervalMs: 500 } : {}),
        rebalanceTimeoutMs: 5_000,
        revokeTimeoutMs: 2_000,
        commitIntervalMs: 300,
      });
      const leaving = new AbortController();
      const signal = AbortSignal.any([leaving.signal, this.#ending.signal]);
      const isDeserter = prng.chance(0.3);
      clock.schedule(prng.between(2_000, 20_000), () => leaving.abort());
      try {
        for await (const record of consumer.records(topic, { from: "earliest", signal })) {
          this.#handled.add(record.value?.toString() ?? "");
          this.#doings.did(seat);
        }
        if (!isDeserter) await consumer.close();
      } catch (error) {
        story.complain(`${name} ended: ${textOf(error)}`);
      }
      await cluster.close();
      await pause(clock, prng.between(10, 500));
    }
  }

  async #look(): Promise<void> {
    const client = "inspector";
    const { cluster, clock } = this.#bench.client(client);
    while (!this.#doings.isStopping) {
      await pause(clock, 300);
      try {
        for (const outcome of await cluster.admin().groups.offsets(group, { timeoutMs: 5_000 })) {
          if (!outcome.ok || outcome.item.topic !== topic) continue;
          const { partition } = outcome.item;
          const before = this.#committed.get(partition) ?? -1;
          const offset = outcome.value.offset ?? -1;
          if (offset < before)
            this.#bench.story.complain(`the commit of ${topic}-${partition} went back: ${before} to ${offset}`);
          this.#committed.set(partition, offset);
        }
        this.#doings.did(client);
      } catch (error) {
        this.#bench.story.tell(`${client} cannot look: ${textOf(error)}`);
      }
    }
    await cluster.close();
  }
}
