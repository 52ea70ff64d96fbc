import { Doings, pause } from "./workload.ts";
import type { Bench, Workload } from "./workload.ts";
import { textOf } from "../story.ts";

const topics = ["log", "orders", "accounts", "keys", "recent", "__consumer_offsets", "__transaction_state"];

/** Replicas move from node to node, moves are called off, and leaders go back to where they are preferred. */
export class Moves implements Workload {
  readonly name = "moves";
  readonly #bench: Bench;
  readonly #doings: Doings;

  constructor(bench: Bench) {
    this.#bench = bench;
    this.#doings = new Doings(bench.story);
  }

  get progress(): ReadonlyMap<string, number> {
    return this.#doings.progress;
  }

  async prepare(): Promise<void> {}

  start(): void {
    this.#doings.own("mover", this.#move("mover"));
  }

  async stop(): Promise<void> {
    this.#doings.isStopping = true;
    await this.#doings.settled();
  }

  async #move(name: string): Promise<void> {
    const { prng, drawn, story } = this.#bench;
    const { cluster, clock } = this.#bench.client(name);
    const { partitions } = cluster.admin();
    const options = { timeoutMs: 8_000 };
    while (!this.#doings.isStopping) {
      await pause(clock, prng.between(100, 1_500));
      const at = { topic: prng.pick(topics), partition: prng.between(0, drawn.partitions - 1) };
      const nodes = prng.shuffle(Array.from({ length: drawn.nodes }, (_, index) => index + 1));
      const replicas = nodes.slice(0, drawn.replicas);
      const kind = prng.pick(["move", "move", "elect", "cancel"] as const);
      const what = `${kind} ${at.topic}-${at.partition}${kind === "move" ? ` to ${replicas.join(",")}` : ""}`;
      try {
        const [outcome] =
          kind === "move"
            ? await partitions.reassign([{ ...at, replicas }], options)
            : kind === "elect"
              ? await partitions.electLeaders([at], options)
              : await partitions.cancelReassignments([at], options);
        story.tell(`${name} was answered: ${what}${outcome?.ok === true ? "" : `: ${textOf(outcome?.error)}`}`);
        // That there is no such topic, or no move, is an answer, too.
        this.#doings.did(name);
      } catch (error) {
        story.tell(`${name} cannot ${what}: ${textOf(error)}`);
      }
    }
    await cluster.close();
  }
}
