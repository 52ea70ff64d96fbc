import { setTimeout as sleep } from "node:timers/promises";
import { partitionCount, type Workspace } from "./journey.ts";
import type { ClientProgram } from "./program.ts";
import { writeRecords } from "./records.ts";

const roundMs = 30;

export interface Written {
  readonly key: string;
  readonly value: string;
}

/** Records that keep coming, so that whatever is killed is in the middle of something: a load, not a wait. */
export class Flow implements AsyncDisposable {
  /** What was acknowledged, in order. */
  readonly written: Written[] = [];
  readonly #stopped = new AbortController();
  readonly #flow: Promise<void>;

  constructor(
    workspace: Workspace,
    program: ClientProgram,
    { topic, next }: { readonly topic: string; next(): readonly Written[] },
  ) {
    this.#flow = this.#write(workspace.path(`${topic}.jsonl`), program, { topic, next });
    // Who stops it hears of its failure.
    this.#flow.catch(() => undefined);
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#flow;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop().catch(() => undefined);
  }

  async #write(
    file: string,
    program: ClientProgram,
    { topic, next }: { readonly topic: string; next(): readonly Written[] },
  ): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      const records = next();
      writeRecords(
        file,
        records.map(({ key, value }) => ({
          ...{ key: Buffer.from(key), value: Buffer.from(value) },
          ...{ headers: [], timestamp: Date.now() },
        })),
      );
      await program.produce({ topic, partitions: partitionCount, compression: "none", file });
      this.written.push(...records);
      await sleep(roundMs);
    }
  }
}
