import type { GroupFailure } from "../failures.ts";
import type { TopicLookup } from "../topic-lookup.ts";
import type { ConsumerGroup } from "./group.ts";
import type { ConsumerMember } from "./member.ts";

/** Whoever commits: a member of either protocol, or somebody from outside. */
export interface CommitterOfConsumerGroup {
  readonly memberId: string;
  readonly instanceId: string | null;
  /** A member epoch, or a generation; −1: from outside. */
  readonly generation: number;
  /** As part of a transaction; then a producer that says nothing of a group is from outside, too. */
  readonly isTransactional: boolean;
  /** OffsetCommit before v9 has no place for the errors of the consumer protocol. */
  readonly knowsMemberEpochs: boolean;
  readonly offsets: readonly { readonly topic: string; readonly topicId: string | null; readonly partition: number }[];
}

/**
 * A member commits with the epoch that it knows. It may be an older one as long as the partition was the member's then
 * and is still: an epoch is bumped for others, too, and a commit that is under way must not be lost for it (KIP-1251).
 */
export function refuseConsumerCommit(
  group: ConsumerGroup,
  { memberId, instanceId, generation, isTransactional, knowsMemberEpochs, offsets }: CommitterOfConsumerGroup,
  topics: TopicLookup,
): GroupFailure | null {
  if (generation < 0 && group.memberCount === 0) return null;
  if (isTransactional && generation === -1 && memberId === "" && instanceId === null) return null;
  const member = group.member(memberId);
  if (member === null) return "unknown-member-id";
  if (member.classic === null && !isTransactional && !knowsMemberEpochs) return "unsupported-version";
  if (generation === member.memberEpoch) return null;
  const stale = staleFailure(member);
  if (generation > member.memberEpoch) return stale;
  for (const { topic, topicId, partition } of offsets) {
    const id = topicId ?? topics.byName(topic)?.id ?? "";
    const sinceEpoch = member.assigned.get(id)?.get(partition) ?? member.pendingRevocation.get(id)?.get(partition);
    if (sinceEpoch === undefined || generation < sinceEpoch) return stale;
  }
  return null;
}

/** A member that reads its offsets says who it is; a tool does not. */
export function refuseConsumerFetch(
  group: ConsumerGroup,
  { memberId, memberEpoch }: { readonly memberId: string | null; readonly memberEpoch: number },
): GroupFailure | null {
  if (memberId === null && memberEpoch < 0) return null;
  const member = memberId === null ? null : group.member(memberId);
  if (member === null) return "unknown-member-id";
  return member.memberEpoch === memberEpoch ? null : staleFailure(member);
}

function staleFailure({ classic }: ConsumerMember): "illegal-generation" | "stale-member-epoch" {
  return classic === null ? "stale-member-epoch" : "illegal-generation";
}
