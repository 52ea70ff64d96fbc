import type { Extent } from "../loads.ts";
import type { CoordinatorPlan, TransactionPlan } from "./plan.ts";

/** A load of the coordinators' bench. What it must reach stands beside what is printed of it, in report.ts. */
export interface CoordinatorLoad {
  readonly name: CoordinatorLoadName;
  readonly what: string;
  /** Of the topic that it uses. It is a new one in each run, except where nothing is written to it. */
  readonly partitions: number;
  readonly isTopicKept: boolean;
  /** What a run waits for before it begins, since it would be measured otherwise. */
  readonly needs: readonly ("disk at rest" | "memory at hand")[];
  plan(place: LoadPlace, extent: Extent): CoordinatorPlan;
}

export type CoordinatorLoadName =
  | "txn-throughput"
  | "txn-rate"
  | "txn-latency"
  | "rebalance-classic"
  | "rebalance-consumer"
  | "heartbeats"
  | "commits";

export interface LoadPlace {
  readonly port: number;
  readonly topic: string;
  readonly topicId: string;
  /** A name that no other run has. */
  readonly run: string;
  /** Where this load may keep something for its next run against this broker. */
  readonly keptFile: string;
}

const oneRecord = { inFlight: 1, recordsPerBatch: 1, recordBytes: 1024, commitEveryMs: 0 } as const;

export const coordinatorLoads: readonly CoordinatorLoad[] = [
  transactions("txn-throughput", "60 x 1 KB, a commit each 100 ms", {
    ...{ producers: 1, partitions: 6, inFlight: 5, recordsPerBatch: 60, recordBytes: 1024, commitEveryMs: 100 },
  }),
  transactions("txn-rate", "50 producers, 1 x 1 KB each", { ...oneRecord, producers: 50, partitions: 6 }),
  transactions("txn-latency", "1 producer, 1 x 1 KB each", { ...oneRecord, producers: 1, partitions: 1 }),
  rebalance("rebalance-classic", "classic"),
  rebalance("rebalance-consumer", "consumer"),
  {
    name: "heartbeats",
    what: "2,000 groups of 10, each 3 s",
    partitions: 1,
    isTopicKept: true,
    needs: [],
    plan: ({ port, keptFile }, { warmUpMs, measureMs }) => ({
      ...{ kind: "heartbeats", port, warmUpMs, measureMs, membersFile: keptFile },
      ...{ groups: 2_000, membersPerGroup: 10, connections: 200, intervalMs: 3_000 },
    }),
  },
  {
    name: "commits",
    what: "100 groups, 1 commit on its way",
    partitions: 100,
    isTopicKept: true,
    needs: ["disk at rest"],
    plan: ({ port, topic, run }, { warmUpMs, measureMs }) => ({
      ...{ kind: "commits", port, warmUpMs, measureMs, topic, committers: 100, groupPrefix: `commits-${run}` },
    }),
  },
];

function transactions(
  kind: TransactionPlan["kind"],
  what: string,
  shape: Omit<TransactionPlan, "kind" | "port" | "topic" | "topicId" | "warmUpMs" | "measureMs" | "megabytesMax">,
): CoordinatorLoad {
  const { partitions } = shape;
  return {
    ...{ name: kind, what, partitions, isTopicKept: false },
    needs: kind === "txn-throughput" ? ["disk at rest", "memory at hand"] : ["disk at rest"],
    plan: ({ port, topic, topicId }, extent) => ({ kind, port, topic, topicId, ...shape, ...extent }),
  };
}

/** A member asks again so soon whether there is a rebalance: with a consumer's 3 s, or with 10 ms, that pause would be nearly all that is seen of either broker. */
const heartbeatMs = 2;

function rebalance(name: CoordinatorLoadName, protocol: "classic" | "consumer"): CoordinatorLoad {
  const partitions = 1_000;
  return {
    ...{ name, what: "100 members, 1,000 partitions", partitions, isTopicKept: true },
    needs: [],
    plan: ({ port, topic, topicId, run }, { measureMs }) => ({
      ...{ kind: "rebalance", port, warmUpMs: 0, measureMs, protocol, groupId: `rebalance-${run}` },
      ...{ topic, topicId, partitions, members: 100, heartbeatMs },
    }),
  };
}
