/** What the world may do is an answer: a value, or the word for what went wrong. */
export type Result<T, Failure> = Ok<T> | Failed<Failure>;

export interface Ok<T> {
  readonly ok: true;
  readonly value: T;
}

export interface Failed<Failure> {
  readonly ok: false;
  readonly failure: Failure;
  /** A sentence for the person who asked; names the offending thing. */
  readonly message?: string;
}

export function ok<T>(value: T): Ok<T> {
  return { ok: true, value };
}

export function failed<Failure>(failure: Failure, message?: string): Failed<Failure> {
  return message === undefined ? { ok: false, failure } : { ok: false, failure, message };
}
