/** What only a bug can do. The host is to stop: a log is better stopped than wrong. */
export function assert(condition: boolean, sentence: string): asserts condition {
  if (!condition) throw new Error(`raft: ${sentence}`);
}
