/** A bug in this program, never a fault of the world: the broker stops, since a stopped log is better than a wrong one. */
export class AssertionFailure extends Error {
  override readonly name = "AssertionFailure";
}

/** What only a bug can break. Stays on in production; the message may be lazy where building it costs. */
export function assert(condition: boolean, message: string | (() => string)): asserts condition {
  if (!condition) throw new AssertionFailure(typeof message === "string" ? message : message());
}

/** For the end of an exhaustive switch: does not compile while a case is missing. */
export function unreachable(value: never): never {
  throw new AssertionFailure(`unexpected case ${JSON.stringify(value)}`);
}

/** The value, where only a bug could make it missing. */
export function must<T>(value: T | undefined | null, what: string): T {
  if (value === undefined || value === null) throw new AssertionFailure(`${what} is missing`);
  return value;
}
