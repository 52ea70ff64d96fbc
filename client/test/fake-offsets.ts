import { ErrorCode } from "kafka-protocol-ts/errors";
import { offsetCommit } from "kafka-protocol-ts/messages/08-offset-commit";
import { offsetFetch } from "kafka-protocol-ts/messages/09-offset-fetch";
import type { Asked } from "./fake-broker.ts";
import { silence } from "./fake-broker.ts";
import type { FakeCluster } from "./fake-cluster.ts";
import type { GroupMishap } from "./fake-group-coordinator.ts";

type Api = "OffsetCommit" | "OffsetFetch";

/** One partition of a request for offsets. */
export interface AskedOffset {
  readonly api: Api;
  /** "orders-0" */
  readonly key: string;
  readonly memberId: string | null;
  readonly epoch: number;
}

/** The committed offsets of one group, as its coordinator keeps them for all brokers of a fake cluster. */
export class FakeOffsets {
  /** By "topic-partition". */
  readonly committed = new Map<string, number>();
  /** The leader epochs that were committed with them, where a test wants some. */
  readonly committedEpochs = new Map<string, number>();
  /** Each commit that was stored: "orders-0@5 orders-1@7". */
  readonly commits: string[] = [];
  /** A code for single partitions; 0: it is served. */
  codeFor: (asked: AskedOffset) => number = () => 0;
  /** A code for the whole request; 0: it is served. */
  groupCode: (api: Api) => number = () => 0;
  readonly #cluster: FakeCluster;
  readonly #mishaps = new Map<Api, GroupMishap[]>();

  constructor(
    cluster: FakeCluster,
    { versions = {} }: { readonly versions?: Partial<Record<Api, readonly [number, number]>> } = {},
  ) {
    this.#cluster = cluster;
    for (const broker of cluster.brokers) {
      broker.on(offsetCommit, async (asked) => this.#commit(asked), versions.OffsetCommit);
      broker.on(offsetFetch, async (asked) => this.#fetch(asked), versions.OffsetFetch);
    }
  }

  /** To the next requests of this kind, one each. */
  next(api: Api, ...mishaps: readonly GroupMishap[]): void {
    this.#mishaps.set(api, [...(this.#mishaps.get(api) ?? []), ...mishaps]);
  }

  async #happens(api: Api, { connection }: Asked<unknown>): Promise<number | "lost" | "silence"> {
    const mishap = this.#mishaps.get(api)?.shift();
    if (mishap === undefined) return this.groupCode(api);
    if (mishap === "no answer") return new Promise<never>(() => {});
    if (mishap === "answer lost") return "lost";
    if (mishap !== "cut") return "code" in mishap ? mishap.code : this.groupCode(api);
    connection.destroy();
    return "silence";
  }

  async #commit(asked: Asked<Parameters<typeof offsetCommit.request.write>[1] & object>) {
    const happens = await this.#happens("OffsetCommit", asked);
    if (happens === "silence") return silence;
    const message = asked.message as unknown as {
      readonly memberId: string;
      readonly generationIdOrMemberEpoch: number;
      readonly topics: readonly {
        readonly name: string;
        readonly topicId: string;
        readonly partitions: readonly { readonly partitionIndex: number; readonly committedOffset: number }[];
      }[];
    };
    const stored: string[] = [];
    const topics = message.topics.map(({ name, topicId, partitions }) => {
      const topic = this.#nameOf(name, topicId);
      return {
        name,
        topicId,
        partitions: partitions.map(({ partitionIndex, committedOffset }) => {
          const key = `${topic}-${partitionIndex}`;
          const about = { key, memberId: message.memberId, epoch: message.generationIdOrMemberEpoch };
          const known = topic === null ? ErrorCode.UNKNOWN_TOPIC_ID : this.codeFor({ api: "OffsetCommit", ...about });
          const errorCode = typeof happens === "number" && happens !== 0 ? happens : known;
          if (errorCode === 0) {
            this.committed.set(key, committedOffset);
            stored.push(`${key}@${committedOffset}`);
          }
          return { partitionIndex, errorCode };
        }),
      };
    });
    if (stored.length > 0) this.commits.push(stored.join(" "));
    if (happens !== "lost") return { topics };
    asked.connection.destroy();
    return silence;
  }

  async #fetch(asked: Asked<unknown>) {
    const happens = await this.#happens("OffsetFetch", asked);
    if (happens === "silence") return silence;
    if (happens === "lost") {
      asked.connection.destroy();
      return silence;
    }
    interface Wanted {
      readonly name: string;
      readonly topicId?: string;
      readonly partitionIndexes: readonly number[];
    }
    const message = asked.message as {
      readonly groupId: string;
      readonly topics: readonly Wanted[] | null;
      readonly groups: readonly {
        readonly groupId: string;
        readonly memberId: string | null;
        readonly memberEpoch: number;
        readonly topics: readonly Wanted[] | null;
      }[];
    };
    const answer = (topics: readonly Wanted[] | null, memberId: string | null, epoch: number) =>
      (topics ?? []).map(({ name, topicId, partitionIndexes }) => ({
        name,
        topicId: topicId ?? "",
        partitions: partitionIndexes.map((partitionIndex) => {
          const topic = this.#nameOf(name, topicId);
          const key = `${topic}-${partitionIndex}`;
          const known = this.codeFor({ api: "OffsetFetch", key, memberId, epoch });
          const errorCode = topic === null ? ErrorCode.UNKNOWN_TOPIC_ID : known;
          const committedOffset = errorCode === 0 ? (this.committed.get(key) ?? -1) : -1;
          const committedLeaderEpoch = this.committedEpochs.get(key) ?? -1;
          return { partitionIndex, committedOffset, committedLeaderEpoch, metadata: "", errorCode };
        }),
      }));
    if (asked.version < 8) {
      return { errorCode: happens, topics: happens === 0 ? answer(message.topics, null, -1) : [] };
    }
    return {
      groups: message.groups.map(({ groupId, memberId, memberEpoch, topics }) => ({
        groupId,
        errorCode: happens,
        topics: happens === 0 ? answer(topics, memberId, memberEpoch) : [],
      })),
    };
  }

  #nameOf(name: string, topicId: string | undefined): string | null {
    if (name !== "") return name;
    for (const [each, topic] of this.#cluster.topics) if (topic.topicId === topicId) return each;
    return null;
  }
}
