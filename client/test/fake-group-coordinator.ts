import { ErrorCode } from "kafka-protocol-ts/errors";
import { findCoordinator } from "kafka-protocol-ts/messages/10-find-coordinator";
import { joinGroup } from "kafka-protocol-ts/messages/11-join-group";
import { heartbeat } from "kafka-protocol-ts/messages/12-heartbeat";
import { leaveGroup } from "kafka-protocol-ts/messages/13-leave-group";
import { syncGroup } from "kafka-protocol-ts/messages/14-sync-group";
import { consumerGroupHeartbeat } from "kafka-protocol-ts/messages/68-consumer-group-heartbeat";
import type { Asked, FakeBroker } from "./fake-broker.ts";
import { silence } from "./fake-broker.ts";
import { FakeClassicGroup } from "./fake-classic-group.ts";
import type { FakeCluster } from "./fake-cluster.ts";
import { FakeConsumerGroup } from "./fake-consumer-group.ts";

/** What happens to a request to the coordinator. */
export type GroupMishap =
  /** It is refused, and nothing else happens. */
  | { readonly code: number; readonly message?: string }
  /** It is carried out so much later; what comes behind it on the connection waits. */
  | { readonly afterMs: number }
  /** It never arrives, and the connection stays. */
  | "no answer"
  /** It never arrives, and the connection breaks. */
  | "cut"
  /** It is carried out, and the connection breaks before the answer. */
  | "answer lost";

type Api = "FindCoordinator" | "JoinGroup" | "SyncGroup" | "Heartbeat" | "LeaveGroup" | "ConsumerGroupHeartbeat";

type Answering = <Message, Answer>(
  asked: Asked<Message>,
  carryOut: () => Answer | Promise<Answer>,
  refuse: (mishap: { readonly code: number; readonly message?: string }) => Answer,
) => Promise<Answer | typeof silence>;

/** Coordinates groups of both protocols for all brokers of a fake cluster, from one of them. */
export class FakeGroupCoordinator {
  /** Where the coordinator is: the others refuse. */
  nodeId = 0;
  /** Called for each request that the coordinator gets; what it gives happens to the request. */
  intercept: ((api: Api, message: unknown) => GroupMishap | null) | null = null;
  readonly #cluster: FakeCluster;
  readonly #classic = new Map<string, FakeClassicGroup>();
  readonly #consumer = new Map<string, FakeConsumerGroup>();
  readonly #mishaps = new Map<Api, GroupMishap[]>();

  constructor(cluster: FakeCluster, { consumerVersions = [0, 1] as readonly [number, number] } = {}) {
    this.#cluster = cluster;
    for (const [nodeId, broker] of cluster.brokers.entries()) this.#serve(broker, nodeId, consumerVersions);
  }

  classic(groupId = "group"): FakeClassicGroup {
    const group = this.#classic.get(groupId) ?? new FakeClassicGroup(this.#cluster.world.clock);
    this.#classic.set(groupId, group);
    return group;
  }

  consumer(groupId = "group"): FakeConsumerGroup {
    const { topics } = this.#cluster;
    const view = {
      get names(): readonly string[] {
        return [...topics.keys()].sort();
      },
      id: (name: string): string => topics.get(name)?.topicId ?? "",
      partitionCount: (name: string): number => topics.get(name)?.partitions.length ?? 0,
    };
    const group = this.#consumer.get(groupId) ?? new FakeConsumerGroup(this.#cluster.world.clock, view);
    this.#consumer.set(groupId, group);
    return group;
  }

  /** To the next requests of this kind, one each. */
  next(api: Api, ...mishaps: readonly GroupMishap[]): void {
    this.#mishaps.set(api, [...(this.#mishaps.get(api) ?? []), ...mishaps]);
  }

  #serve(broker: FakeBroker, nodeId: number, consumerVersions: readonly [number, number]): void {
    const answer: Answering = async ({ api, message, connection }, carryOut, refuse) => {
      const mishap = this.#decide(nodeId, api as Api, message);
      if (mishap === "no answer") return new Promise<never>(() => {});
      if (mishap === "cut") {
        connection.destroy();
        return silence;
      }
      if (mishap === "answer lost") {
        void carryOut();
        connection.destroy();
        return silence;
      }
      if (mishap !== null && "code" in mishap) return refuse(mishap);
      const { afterMs = 0 } = mishap ?? {};
      if (afterMs > 0) await new Promise<void>((resolve) => void this.#cluster.world.clock.schedule(afterMs, resolve));
      return carryOut();
    };
    this.#serveFinding(broker, answer);
    this.#serveClassic(broker, answer);
    broker.on(
      consumerGroupHeartbeat,
      async (asked) =>
        answer(
          asked,
          () => this.consumer(asked.message.groupId).heartbeat(asked.message),
          ({ code, message }) => ({
            throttleTimeMs: 0,
            errorCode: code,
            errorMessage: message ?? null,
            memberEpoch: 0,
            heartbeatIntervalMs: 0,
          }),
        ),
      consumerVersions,
    );
  }

  #decide(nodeId: number, api: Api, message: unknown): GroupMishap | null {
    const mishap = this.#mishaps.get(api)?.shift() ?? this.intercept?.(api, message) ?? null;
    if (mishap !== null || api === "FindCoordinator") return mishap;
    return nodeId === this.nodeId ? null : { code: ErrorCode.NOT_COORDINATOR };
  }

  #serveFinding(broker: FakeBroker, answer: Answering): void {
    broker.on(findCoordinator, async (asked) => {
      const [key = ""] = asked.message.coordinatorKeys;
      const { address } = this.#cluster.brokers[this.nodeId] ?? broker;
      const place = { key, nodeId: this.nodeId, ...address, errorCode: 0, errorMessage: null };
      return answer(
        asked,
        () => ({ coordinators: [place] }),
        ({ code }) => ({ coordinators: [{ ...place, errorCode: code }] }),
      );
    });
  }

  #serveClassic(broker: FakeBroker, answer: Answering): void {
    broker.on(joinGroup, async (asked) =>
      answer(
        asked,
        async () => this.classic(asked.message.groupId).join(asked.message),
        ({ code }) => ({
          errorCode: code,
          protocolName: null,
          leader: "",
          memberId: asked.message.memberId,
          members: [],
        }),
      ),
    );
    broker.on(syncGroup, async (asked) =>
      answer(
        asked,
        async () => this.classic(asked.message.groupId).sync(asked.message),
        ({ code }) => ({ errorCode: code, assignment: Buffer.alloc(0) }),
      ),
    );
    broker.on(heartbeat, async (asked) =>
      answer(
        asked,
        () => ({ errorCode: this.classic(asked.message.groupId).heartbeat(asked.message) }),
        ({ code }) => ({ errorCode: code }),
      ),
    );
    broker.on(leaveGroup, async (asked) =>
      answer(
        asked,
        () => {
          const { groupId, members } = asked.message;
          const left = members.map(({ memberId, groupInstanceId }) => ({
            memberId,
            groupInstanceId,
            errorCode: this.classic(groupId).leave(memberId),
          }));
          return { errorCode: 0, members: left };
        },
        ({ code }) => ({ errorCode: code, members: [] }),
      ),
    );
  }
}
