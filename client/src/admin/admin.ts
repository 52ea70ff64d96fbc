import { ErrorCode } from "kafka-protocol-ts/errors";
import { createTopics } from "kafka-protocol-ts/messages/19-create-topics";
import { deleteTopics } from "kafka-protocol-ts/messages/20-delete-topics";
import { describeConfigs } from "kafka-protocol-ts/messages/32-describe-configs";
import { incrementalAlterConfigs } from "kafka-protocol-ts/messages/44-incremental-alter-configs";
import { explain } from "kafka-protocol-ts/messages/10000-explain";
import { zeroUuid } from "kafka-protocol-ts/reader";
import type { TopicMetadata } from "../network/metadata.ts";
import type { Wire } from "../network/wire.ts";
import { brokerError, KafkaError } from "../errors.ts";

export interface NewTopic {
  readonly name: string;
  /** Absent: the broker's num.partitions. */
  readonly partitions?: number;
  /** Absent: the broker's default.replication.factor. */
  readonly replicationFactor?: number;
  readonly config?: Readonly<Record<string, string>>;
}

export interface TopicDescription extends TopicMetadata {
  /** Settings that differ from the defaults, by name. */
  readonly config: ReadonlyMap<string, string>;
}

const topicResource = 2;
const setOperation = 0;
const defaultSource = 5;

export type ExplainedKind = "group" | "producer" | "transaction" | "partition";

/** What Millrace says of something that does not get on. */
export interface Explanation {
  readonly kind: ExplainedKind;
  readonly name: string;
  readonly summary: string;
  readonly facts: readonly (readonly [label: string, value: string])[];
  readonly reasons: readonly string[];
  /** Oldest first; `at` is ISO 8601. */
  readonly events: readonly { readonly at: string; readonly text: string }[];
}

/** Administration of a cluster; each call throws the first item's error, naming the item. */
export class Admin {
  readonly #wire: Wire;
  readonly #timeoutMs = 30_000;

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  /** Why something is as it is. Only Millrace can say: against another cluster this fails with UNSUPPORTED_VERSION. */
  async explain(kind: ExplainedKind, name: string): Promise<Explanation> {
    const answer = await this.#wire.request(explain, { kind, name }).catch((error: unknown) => {
      if (!(error instanceof KafkaError) || error.code !== "UNSUPPORTED_VERSION") throw error;
      throw new KafkaError(
        "UNSUPPORTED_VERSION",
        "this cluster does not explain: it is not Millrace, or an older one",
        {
          cause: error,
        },
      );
    });
    if (answer.errorCode !== ErrorCode.NONE)
      throw brokerError(answer.errorCode, `${kind} ${name}`, answer.errorMessage);
    return JSON.parse(answer.explanation) as Explanation;
  }

  readonly topics = {
    create: async (topic: NewTopic): Promise<void> => {
      const answer = await this.#wire.request(createTopics, {
        topics: [
          {
            name: topic.name,
            numPartitions: topic.partitions ?? -1,
            replicationFactor: topic.replicationFactor ?? -1,
            assignments: [],
            configs: Object.entries(topic.config ?? {}).map(([name, value]) => ({ name, value })),
          },
        ],
        timeoutMs: this.#timeoutMs,
        validateOnly: false,
      });
      for (const { name, errorCode, errorMessage } of answer.topics) {
        if (errorCode !== ErrorCode.NONE) throw brokerError(errorCode, `topic ${name}`, errorMessage);
      }
      this.#wire.metadata.forget(topic.name);
    },

    delete: async (name: string): Promise<void> => {
      const answer = await this.#wire.request(deleteTopics, (version) =>
        version >= 6
          ? { topics: [{ name, topicId: zeroUuid }], timeoutMs: this.#timeoutMs }
          : { topicNames: [name], timeoutMs: this.#timeoutMs },
      );
      for (const { errorCode, errorMessage } of answer.responses) {
        if (errorCode !== ErrorCode.NONE) throw brokerError(errorCode, `topic ${name}`, errorMessage);
      }
      this.#wire.metadata.forget(name);
    },

    /** Sets some of a topic's settings; the others stay as they are. */
    configure: async (name: string, config: Readonly<Record<string, string>>): Promise<void> => {
      const answer = await this.#wire.request(incrementalAlterConfigs, {
        resources: [
          {
            resourceType: topicResource,
            resourceName: name,
            configs: Object.entries(config).map(([key, value]) => ({
              name: key,
              configOperation: setOperation,
              value,
            })),
          },
        ],
        validateOnly: false,
      });
      for (const { errorCode, errorMessage } of answer.responses) {
        if (errorCode !== ErrorCode.NONE) throw brokerError(errorCode, `topic ${name}`, errorMessage);
      }
    },

    list: async (): Promise<readonly TopicMetadata[]> => {
      const topics = await this.#wire.topics();
      return [...topics].sort((a, b) => (a.name < b.name ? -1 : 1));
    },

    describe: async (name: string): Promise<TopicDescription> => {
      this.#wire.metadata.forget(name);
      const topic = await this.#wire.topic(name);
      const answer = await this.#wire.request(describeConfigs, {
        resources: [{ resourceType: topicResource, resourceName: name, configurationKeys: null }],
      });
      const [result] = answer.results;
      if (result !== undefined && result.errorCode !== ErrorCode.NONE)
        throw brokerError(result.errorCode, `topic ${name}`, result.errorMessage);
      const config = new Map<string, string>();
      for (const { name: key, value, configSource } of result?.configs ?? []) {
        if (configSource !== defaultSource && value !== null) config.set(key, value);
      }
      return { ...topic, config };
    },
  } as const;
}
