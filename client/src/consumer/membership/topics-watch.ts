import type { Timer } from "@millrace/base/world";
import type { TopicMetadata } from "../../network/metadata.ts";
import type { Wire } from "../../network/wire.ts";
import type { AssignorTopic } from "../assignors/assignor.ts";

/** A topic that is subscribed to and not there is looked for so often. */
const missingTopicMs = 5_000;

/** Looks at the cluster's topics from time to time, for what makes a group rebalance. */
export class TopicsWatch {
  readonly #wire: Wire;
  #timer: Timer | null = null;
  #round = 0;

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  /** Names that the pattern matches, without internal topics; in their order. */
  async matching(pattern: RegExp): Promise<readonly string[]> {
    const topics = await this.#wire.topics();
    const expression = stateless(pattern);
    const names = topics.filter(({ isInternal, name }) => !isInternal && expression.test(name)).map(({ name }) => name);
    return names.sort();
  }

  /** What assignors want to know; a topic that is not there is missing. */
  async describe(names: readonly string[]): Promise<ReadonlyMap<string, AssignorTopic>> {
    const found = await this.#wire.lookUp(names);
    return new Map(Array.from(found, ([name, topic]) => [name, this.#assignorTopic(topic)]));
  }

  /**
   * Looks again and again until `stop` or the next `start`; failures pass. What `look` finds is told once.
   */
  start(
    look: () => Promise<string | null>,
    { isAnyMissing, onChange }: { readonly isAnyMissing: boolean; readonly onChange: (reason: string) => void },
  ): void {
    this.stop();
    const round = this.#round;
    const { metadataMaxAgeMs, world, logger } = this.#wire;
    const intervalMs = isAnyMissing ? Math.min(missingTopicMs, metadataMaxAgeMs) : metadataMaxAgeMs;
    const lookOnce = async (): Promise<void> => {
      let reason: string | null = null;
      try {
        reason = await look();
      } catch (error) {
        logger.debug("the topics of a group could not be looked at", { error });
      }
      if (round !== this.#round) return;
      if (reason === null) schedule();
      else onChange(reason);
    };
    const schedule = (): void => {
      this.#timer = world.clock.schedule(intervalMs, () => void lookOnce());
    };
    schedule();
  }

  stop(): void {
    this.#round++;
    this.#timer?.cancel();
  }

  #assignorTopic({ partitions }: TopicMetadata): AssignorTopic {
    const { brokers } = this.#wire.metadata;
    const racks = partitions.map(({ replicas }) =>
      replicas.flatMap((nodeId): readonly string[] => {
        const rack = brokers.get(nodeId)?.rack ?? null;
        return rack === null ? [] : [rack];
      }),
    );
    const partitionCount = partitions.length;
    return racks.every((each) => each.length === 0) ? { partitionCount } : { partitionCount, racks };
  }
}

/** With /g and /y a RegExp goes on where it stopped, in another name. */
function stateless(pattern: RegExp): RegExp {
  return new RegExp(pattern.source, pattern.flags.replaceAll(/[gy]/g, ""));
}

/** Null where both are alike; else what is different, in words. */
export function changeOf(
  before: ReadonlyMap<string, AssignorTopic>,
  now: ReadonlyMap<string, AssignorTopic>,
): string | null {
  for (const name of new Set([...before.keys(), ...now.keys()])) {
    const old = before.get(name)?.partitionCount ?? 0;
    const count = now.get(name)?.partitionCount ?? 0;
    if (old !== count) return `topic ${name} has ${count} partitions, not ${old}`;
  }
  return null;
}
