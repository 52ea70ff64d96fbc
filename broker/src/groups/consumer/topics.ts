import { decisionOf } from "../draft.ts";
import type { GroupDecision } from "../types.ts";
import { ConsumerDraft } from "./draft.ts";
import type { ConsumerSurroundings } from "./draft.ts";
import type { ConsumerGroup } from "./group.ts";
import { metadataHash } from "./metadata-hash.ts";
import { resolveRegex } from "./update.ts";

/**
 * Looks at what topics have become: what regular expressions match, and whether the topics that a group reads are still
 * those that its target was made for. Where not, the group gets a new epoch, and its members a new target when they come.
 */
export function decideTopicsCheck(
  groups: Iterable<ConsumerGroup>,
  aroundOf: (groupId: string) => ConsumerSurroundings,
): GroupDecision {
  const decisions: GroupDecision[] = [];
  for (const group of groups) {
    if (group.memberCount === 0) continue;
    const draft = new ConsumerDraft(group, aroundOf(group.groupId));
    checkTopics(draft, group);
    decisions.push(draft.decision());
  }
  return decisionOf({
    records: decisions.flatMap(({ records }) => records),
    // Each record is true by itself: a regular expression matches so much, a group has such an epoch.
    isAtomic: false,
    events: decisions.flatMap(({ events }) => events),
  });
}

function checkTopics(draft: ConsumerDraft, group: ConsumerGroup): void {
  for (const regex of group.regexCounts.keys()) {
    const present = group.resolved(regex);
    const matching = draft.regexResolver.resolve(regex, draft.topics);
    if (present === null || !isSame(present.topics, matching)) resolveRegex(draft, regex);
  }
  if (metadataHash(draft.subscribedTopics(), draft.topics) !== group.metadataHash)
    draft.bumpEpoch("topics have changed");
}

function isSame(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  return a === b || (a.size === b.size && [...a].every((name) => b.has(name)));
}
