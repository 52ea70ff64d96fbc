import type { Assignment, AssignorMember } from "./types.ts";

/** By UTF-16 code units, as Java compares strings: the same order on every host. */
export function compareTexts(left: string, right: string): number {
  if (left === right) return 0;
  return left < right ? -1 : 1;
}

export function isAlike(one: ReadonlySet<string>, other: ReadonlySet<string>): boolean {
  return one === other || (one.size === other.size && one.isSubsetOf(other));
}

/** The present assignment where the next one says the same, so that a caller sees by identity what it need not write. */
export function unlessChanged({ current }: AssignorMember, next: Assignment): Assignment {
  if (next.size !== current.size) return next;
  for (const [topicId, partitions] of next) {
    const before = current.get(topicId);
    if (before === undefined || before.length !== partitions.length) return next;
    if (before !== partitions && !partitions.every((partition, index) => partition === before[index])) return next;
  }
  return current;
}
