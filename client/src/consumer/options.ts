import { KafkaError } from "../errors.ts";
import type { RawTopic } from "../topic.ts";
import type { TopicPartition } from "../topic-partition.ts";
import type { MembershipOptions } from "./membership/options.ts";
import type { StartAt } from "./positions.ts";

/** What may be set of a consumer. Times are milliseconds, sizes bytes. */
export interface ConsumerOptions {
  /** The group whose members share the partitions and the committed offsets. Absent: all is read, and nothing is committed. */
  readonly group?: string;
  /**
   * How the group finds out who reads what: "classic" by its members, as every client can; "consumer" by the broker (KIP-848,
   * Kafka 4.0), which moves one partition without stopping others. Default "classic".
   */
  readonly protocol?: "classic" | "consumer";
  /** The same name after a restart gets the same partitions back without a rebalance (KIP-345). */
  readonly instanceId?: string;
  /** Classic groups: a member that is silent for so long is given up. Default 45,000. With "consumer" the broker says it. */
  readonly sessionTimeoutMs?: number;
  /** Classic groups. Default 3,000. */
  readonly heartbeatIntervalMs?: number;
  /** So long a member may take to give partitions up. Default 60,000. */
  readonly rebalanceTimeoutMs?: number;
  /** Classic groups, see MembershipOptions. Default ["cooperative-sticky", "range"]. */
  readonly assignors?: MembershipOptions["assignors"];
  /** Groups of the protocol "consumer": "uniform", "range", or what else the brokers have. Default: their first. */
  readonly serverAssignor?: string;
  /** Where we are: brokers may then send from a replica nearby (KIP-392), and assign by it. */
  readonly rack?: string;
  /** Default "read_uncommitted". */
  readonly isolation?: "read_uncommitted" | "read_committed";
  /** Default 1. */
  readonly minBytes?: number;
  /** Default 500. */
  readonly maxWaitMs?: number;
  /** Of one answer of a broker. Default 50 MiB. */
  readonly maxBytes?: number;
  /** Of one partition in one answer; so much of it is fetched ahead. Default 1 MiB. */
  readonly partitionMaxBytes?: number;
  /** So much is fetched ahead in all, but for the answer that is on its way. Default 64 MiB. */
  readonly bufferBytesMax?: number;
  /**
   * "auto": what is done is committed every `commitIntervalMs`, when partitions are given up, and at the end. "manual": by
   * `consumer.commit()` and `batch.commit()` alone. Default "auto".
   */
  readonly commit?: "auto" | "manual";
  /** Default 5,000. */
  readonly commitIntervalMs?: number;
  /** Handlers may take so long to end when their partition is given up, then it is given up without them. Default 30,000. */
  readonly revokeTimeoutMs?: number;
  /** So long brokers may be away before reading fails. Default: for ever in a group, 60,000 without. */
  readonly outageMsMax?: number;
}

/** What to do with a record that cannot be deserialized: end, leave it out, or send it elsewhere as it is. */
export type BadRecords = "fail" | "skip" | { readonly deadLetters: string | RawTopic };

/** Where to begin, when to end, and when a record is done. */
export interface ReadOptions {
  /**
   * Where a partition begins that has no committed offset; a function is asked for each topic. Default "latest" in a group,
   * "earliest" without.
   */
  readonly from?: StartAt | ((topic: string) => StartAt);
  /**
   * What to do where the log does not have the position (any more). Default "fail" without a group, "earliest" in one, which
   * misses nothing that is still there.
   */
  readonly outOfRange?: "fail" | "earliest" | "latest";
  /** Without a group: these partitions only. */
  readonly partitions?: readonly number[];
  /** Without a group: ends by itself where each partition ended when reading began. */
  readonly untilEnd?: boolean;
  /**
   * What to do with a record that cannot be deserialized: end with the error, leave it out, or send it, as it is, to a topic
   * of dead letters with headers that say why and whence. Default "fail".
   */
  readonly badRecords?: BadRecords;
  /**
   * When a record, or a batch, is done: when the loop asks for the "next" one, or when its method done() is "called". Default
   * "next". What is done may be committed.
   */
  readonly done?: "next" | "called";
  /** Ends reading when it is aborted. */
  readonly signal?: AbortSignal;
}

/** What a listener of a consumer is called with. Listeners are awaited. */
export interface ConsumerEvents {
  /** Read from now on. */
  readonly assigned: readonly TopicPartition[];
  /** Given up in order: all work on them has ended, or had its time. Before the commit. */
  readonly revoked: readonly TopicPartition[];
  /** Somebody else may own them already. */
  readonly lost: readonly TopicPartition[];
  /** A position that is not in the log (any more) was changed for another. */
  readonly moved: PositionMoved;
  /** Trouble that is tried again. */
  readonly trouble: TopicPartition & { readonly error: KafkaError };
}

/** A position that is not in the log, and what was taken instead. */
export interface PositionMoved extends TopicPartition {
  /**
   * "out-of-range": deleted by retention, or beyond the end; "truncated": a new leader did not have what was read (KIP-320);
   * "recreated": the topic is another one of the same name.
   */
  readonly reason: "out-of-range" | "truncated" | "recreated";
  /** The offset that was to be read. */
  readonly before: number;
  /** The offset that is read instead. */
  readonly now: number;
}

type OfMembership =
  | "protocol"
  | "instanceId"
  | "sessionTimeoutMs"
  | "heartbeatIntervalMs"
  | "rebalanceTimeoutMs"
  | "assignors"
  | "serverAssignor";

export type ResolvedOptions = Required<Omit<ConsumerOptions, "group" | OfMembership>> & {
  readonly group: string | null;
  /** Null without a group. */
  readonly membership: Omit<MembershipOptions, "subscription"> | null;
};

const MiB = 1024 * 1024;

/** @throws KafkaError INVALID_CONFIG, naming the option. */
export function resolveOptions(options: ConsumerOptions): ResolvedOptions {
  const { group, protocol, instanceId, sessionTimeoutMs, heartbeatIntervalMs, rebalanceTimeoutMs, ...others } = options;
  const { assignors, serverAssignor, ...reading } = others;
  const ofMembership = present({
    protocol,
    instanceId,
    sessionTimeoutMs,
    heartbeatIntervalMs,
    rebalanceTimeoutMs,
    assignors,
    serverAssignor,
    rack: options.rack,
  });
  const resolved: ResolvedOptions = {
    rack: "",
    isolation: "read_uncommitted",
    minBytes: 1,
    maxWaitMs: 500,
    maxBytes: 50 * MiB,
    partitionMaxBytes: MiB,
    bufferBytesMax: 64 * MiB,
    commit: "auto",
    commitIntervalMs: 5_000,
    revokeTimeoutMs: 30_000,
    outageMsMax: group === undefined ? 60_000 : Number.POSITIVE_INFINITY,
    ...reading,
    group: group ?? null,
    membership: group === undefined ? null : { groupId: group, ...ofMembership },
  };
  if (group === "") throw invalid("group", "a group has a name");
  if (group === undefined && instanceId !== undefined) throw invalid("instanceId", "only members of a group have one");
  for (const name of ["partitionMaxBytes", "maxBytes", "bufferBytesMax", "commitIntervalMs"] as const) {
    if (!(resolved[name] > 0)) throw invalid(name, `${resolved[name]} is not above 0`);
  }
  return resolved;
}

/** Without what was left out. */
function present<Options extends object>(options: Options): { [Name in keyof Options]?: NonNullable<Options[Name]> } {
  const entries = Object.entries(options).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [Name in keyof Options]?: NonNullable<Options[Name]> };
}

function invalid(option: string, reason: string): KafkaError {
  return new KafkaError("INVALID_CONFIG", `${option}: ${reason}`);
}
