/**
 * A validator of any library that implements Standard Schema, version 1: zod, valibot, arktype and others do. `Input` is
 * what it accepts, `Output` what it makes of it.
 */
export interface StandardSchema<Input = unknown, Output = Input> {
  /** What Standard Schema asks of a validator. */
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => Validated<Output> | Promise<Validated<Output>>;
    /** Never read: carries the types. */
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
  };
}

export type Validated<Output> = Accepted<Output> | Refused;

interface Accepted<Output> {
  readonly value: Output;
  readonly issues?: undefined;
}

interface Refused {
  readonly issues: readonly Issue[];
}

interface Issue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

const issuesShownMax = 5;

/** "items.0.price: expected number", the first few of them. */
export function issuesText(issues: readonly Issue[]): string {
  const shown = issues.slice(0, issuesShownMax).map(({ message, path = [] }) => {
    const keys = path.map((step) => String(typeof step === "object" ? step.key : step));
    return keys.length === 0 ? message : `${keys.join(".")}: ${message}`;
  });
  const more = issues.length - shown.length;
  return more > 0 ? `${shown.join("; ")}; and ${more} more` : shown.join("; ");
}
