import { adaptiveLinger } from "../coordinator/gathering.ts";
import { rangeAssignor } from "./assignors/range.ts";
import type { Assignor } from "./assignors/types.ts";
import { uniformAssignor } from "./assignors/uniform.ts";

/** What the group coordinator takes from the broker's configuration. */
export interface GroupSettings {
  /** group.min.session.timeout.ms */
  readonly sessionTimeoutMinMs: number;
  /** group.max.session.timeout.ms */
  readonly sessionTimeoutMaxMs: number;
  /** group.initial.rebalance.delay.ms */
  readonly initialRebalanceDelayMs: number;
  /** group.max.size */
  readonly groupSizeMax: number;
  /** Members of a shard that were given a member id and have not come back with it. */
  readonly pendingMembersMax: number;
  /** How long the first JoinGroup of a member may stay unanswered: its client has no member id to send heartbeats with. */
  readonly newMemberJoinTimeoutMs: number;
  /** offset.metadata.max.bytes */
  readonly offsetMetadataMax: number;
  /** offsets.retention.minutes */
  readonly offsetsRetentionMs: number;
  /** offsets.retention.check.interval.ms */
  readonly offsetsRetentionCheckMs: number;
  /** offsets.commit.timeout.ms */
  readonly commitTimeoutMs: number;
  /** group.coordinator.append.linger.ms; −1: adaptive. */
  readonly appendLingerMs: number;
  /** The largest record that the log takes: max.message.bytes of __consumer_offsets, less what a batch adds. */
  readonly recordBytesMax: number;
  readonly consumer: ConsumerGroupSettings;
}

/** What counts for groups of the consumer protocol (KIP-848). */
export interface ConsumerGroupSettings {
  /** group.coordinator.rebalance.protocols names them. */
  readonly isServed: boolean;
  /** group.consumer.max.size */
  readonly sizeMax: number;
  /** group.consumer.assignors, the first is the default. */
  readonly assignors: readonly Assignor[];
  /** group.consumer.migration.policy */
  readonly canUpgrade: boolean;
  readonly canDowngrade: boolean;
  /** Neither: then classic members may not even join a consumer group. */
  readonly isMigrationDisabled: boolean;
  /** group.consumer.regex.refresh.interval.ms */
  readonly regexRefreshMs: number;
  /** The settings of one group where it has some, and those of the broker. */
  ofGroup(groupId: string): ConsumerGroupTimes;
}

export interface ConsumerGroupTimes {
  /** consumer.session.timeout.ms */
  readonly sessionTimeoutMs: number;
  /** consumer.heartbeat.interval.ms */
  readonly heartbeatIntervalMs: number;
  /** consumer.assignment.interval.ms: between two target assignments. */
  readonly assignmentIntervalMs: number;
}

const defaultTimes: ConsumerGroupTimes = {
  sessionTimeoutMs: 45_000,
  heartbeatIntervalMs: 5_000,
  assignmentIntervalMs: 1_000,
};

/** Every assignor that group.consumer.assignors may name. */
export const knownAssignors: readonly Assignor[] = [uniformAssignor, rangeAssignor];

export const defaultConsumerGroupSettings: ConsumerGroupSettings = {
  isServed: true,
  sizeMax: 0x7fff_ffff,
  assignors: knownAssignors,
  canUpgrade: true,
  canDowngrade: true,
  isMigrationDisabled: false,
  regexRefreshMs: 600_000,
  ofGroup: () => defaultTimes,
};

export const defaultGroupSettings: GroupSettings = {
  sessionTimeoutMinMs: 6_000,
  sessionTimeoutMaxMs: 1_800_000,
  initialRebalanceDelayMs: 3_000,
  groupSizeMax: 0x7fff_ffff,
  pendingMembersMax: 10_000,
  newMemberJoinTimeoutMs: 5 * 60_000,
  offsetMetadataMax: 4_096,
  offsetsRetentionMs: 7 * 86_400_000,
  offsetsRetentionCheckMs: 600_000,
  commitTimeoutMs: 5_000,
  appendLingerMs: adaptiveLinger,
  recordBytesMax: 1_048_588 - 256,
  consumer: defaultConsumerGroupSettings,
};
