import type { NextOffset } from "../consumer/consumed-offsets.ts";
import type { Consumption } from "../consumer/consumption.ts";
import { consumerEvents as events } from "./events.ts";
import { topicOffsets } from "./resolved-offsets.ts";
import type { ResolvedOffsets } from "./resolved-offsets.ts";
import type { RunParts } from "./run-parts.ts";

/** When what handlers have resolved is committed. */
export class RunCommits {
  readonly #parts: RunParts;
  readonly #consumption: Consumption;
  readonly #offsets: ResolvedOffsets;
  #lastCommitMs: number;

  constructor(
    parts: RunParts,
    { consumption, offsets }: { readonly consumption: Consumption; readonly offsets: ResolvedOffsets },
  ) {
    this.#parts = parts;
    this.#consumption = consumption;
    this.#offsets = offsets;
    this.#lastCommitMs = parts.clock.monotonicMs();
  }

  /** @param offsets absent: what is resolved. @throws KafkaError */
  async commit(offsets: readonly NextOffset[] = this.#offsets.uncommitted()): Promise<void> {
    const { clock, instrumentation, groupId } = this.#parts;
    if (offsets.length > 0) {
      const { memberId, epoch } = this.#consumption.identity();
      await this.#consumption.commit(offsets);
      this.#offsets.committed(offsets);
      instrumentation.emit(events.COMMIT_OFFSETS, {
        groupId,
        memberId,
        groupGenerationId: epoch,
        topics: topicOffsets(offsets),
      });
    }
    this.#lastCommitMs = clock.monotonicMs();
  }

  /** What cannot be committed now is committed with what follows it. */
  async auto(): Promise<void> {
    if (this.#parts.config.autoCommit === false) return;
    try {
      await this.commit();
    } catch (error) {
      this.#parts.logger.warn("offsets could not be committed", { groupId: this.#parts.groupId, error });
    }
  }

  /** Where the interval or the threshold of the configuration is passed. */
  async ifNecessary(): Promise<void> {
    const { autoCommitInterval, autoCommitThreshold } = this.#parts.config;
    const sinceMs = this.#parts.clock.monotonicMs() - this.#lastCommitMs;
    const isLate = typeof autoCommitInterval === "number" && sinceMs >= autoCommitInterval;
    const isMuch = typeof autoCommitThreshold === "number" && this.#offsets.uncommittedCount >= autoCommitThreshold;
    if (isLate || isMuch) await this.#autoCommitOrAsked();
  }

  async #autoCommitOrAsked(): Promise<void> {
    if (this.#parts.config.autoCommit === false) await this.commit();
    else await this.auto();
  }
}
