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
  /** The largest record that the log takes: max.message.bytes of __consumer_offsets, less what a batch adds. */
  readonly recordBytesMax: number;
}

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
  recordBytesMax: 1_048_588 - 256,
};
