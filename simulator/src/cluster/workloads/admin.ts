import type { TopicDescription } from "@millrace/client";
import { Doings, pause } from "./workload.ts";
import type { Bench, Workload } from "./workload.ts";
import { textOf } from "../story.ts";

/** What was promised of a topic. Null: a call was not answered, or another one stands against it. */
interface Promised {
  /** As the answer to its making said. */
  topicId: string | null;
  isThere: boolean | null;
  partitionsMin: number;
  retentionMs: string | null;
}

const topicsMax = 6;

/** Topics are made, grow, are set and deleted: what was answered holds in the end. */
export class AdminStorm implements Workload {
  readonly name = "admin";
  readonly #bench: Bench;
  readonly #doings: Doings;
  readonly #topics = new Map<string, Promised>();
  #next = 0;

  constructor(bench: Bench) {
    this.#bench = bench;
    this.#doings = new Doings(bench.story);
  }

  get progress(): ReadonlyMap<string, number> {
    return this.#doings.progress;
  }

  async prepare(): Promise<void> {}

  start(): void {
    this.#doings.own("operator", this.#storm());
  }

  async stop(): Promise<void> {
    this.#doings.isStopping = true;
    await this.#doings.settled();
  }

  async #storm(): Promise<void> {
    const client = "operator";
    const { story, prng, drawn } = this.#bench;
    const { cluster, clock } = this.#bench.client(client);
    const admin = cluster.admin();
    const options = { timeoutMs: 8_000 };
    while (!this.#doings.isStopping) {
      await pause(clock, prng.between(20, 600));
      const known = [...this.#topics].filter(([, { isThere }]) => isThere === true);
      const kind = known.length === 0 ? "create" : prng.pick(["create", "delete", "grow", "set", "set"]);
      if (kind === "create" && known.length >= topicsMax) continue;
      const [name, topic] =
        kind === "create"
          ? ([`temp${this.#next++}`, { topicId: null, isThere: null, partitionsMin: 1, retentionMs: null }] as [
              string,
              Promised,
            ])
          : prng.pick(known);
      this.#topics.set(name, topic);
      try {
        if (kind === "create") {
          const partitions = prng.between(1, 2);
          const made = await admin.topics.create(
            { name, partitions, replicationFactor: prng.between(1, drawn.replicas) },
            options,
          );
          topic.topicId = made.topicId;
          topic.isThere = true;
          topic.partitionsMin = partitions;
        } else if (kind === "delete") {
          topic.isThere = null;
          await admin.topics.delete(name, options);
          topic.isThere = false;
        } else if (kind === "grow") {
          await admin.topics.createPartitions({ topic: name, count: topic.partitionsMin + 1 }, options);
          topic.partitionsMin++;
        } else {
          const retentionMs = `${prng.between(1, 1_000) * 1_000_000}`;
          topic.retentionMs = null;
          await admin.configs.alter(
            { type: "topic", name, changes: { set: { "retention.ms": retentionMs } } },
            options,
          );
          topic.retentionMs = retentionMs;
        }
        this.#doings.did(client);
        story.tell(`${client} was answered: ${kind} ${name}`);
      } catch (error) {
        story.tell(`${client} cannot ${kind} ${name}: ${textOf(error)}`);
        // It may have grown, and asking for less is refused.
        if (kind === "grow") topic.isThere = null;
      }
    }
    await cluster.close();
  }

  /** Compares with what there is: topics with their numbers of partitions. */
  verify(found: ReadonlyMap<string, TopicDescription>): void {
    const { story } = this.#bench;
    for (const [name, { topicId, isThere, partitionsMin }] of this.#topics) {
      const partitions = found.get(name)?.partitions.length;
      // A creation that was given up may come late and make another one of the name: that is not the one that was deleted.
      const isSame = found.get(name)?.topicId === topicId;
      if (isThere === true && partitions === undefined) story.fault(`lost topic: ${name} was made and is not there`);
      if (isThere === false && partitions !== undefined && isSame)
        story.fault(`undead topic: ${name} was deleted and is there`);
      if (isThere === true && partitions !== undefined && partitions < partitionsMin)
        story.fault(`lost partitions: ${name} has ${partitions} of ${partitionsMin}`);
    }
  }

  /** The settings that were answered, by topic. */
  get retentions(): ReadonlyMap<string, string> {
    const answered = new Map<string, string>();
    for (const [name, { isThere, retentionMs }] of this.#topics)
      if (isThere === true && retentionMs !== null) answered.set(name, retentionMs);
    return answered;
  }
}
