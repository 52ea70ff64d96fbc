/** The commands of a client program and their answers, one JSON line each (README.md). */
export type Compression = "none" | "gzip" | "snappy" | "lz4" | "zstd";
export const compressions: readonly Compression[] = ["none", "gzip", "snappy", "lz4", "zstd"];

/** What a client's own interface cannot express; the sample records given to it are without. */
export type Inability = "null-header-value" | "null-key-and-value";

export interface HelloAnswer {
  readonly version: string;
  readonly compressions: readonly Compression[];
  readonly cannot: readonly Inability[];
}

export interface CreateTopicArgs {
  readonly topic: string;
  readonly partitions: number;
  readonly configs?: Readonly<Record<string, string>>;
}

export interface ProduceArgs {
  readonly topic: string;
  readonly partitions: number;
  readonly compression: Compression;
  /** Records, one JSON line each. */
  readonly file: string;
  /** Asks for a line with `progress` after so many acknowledged records. */
  readonly progressEvery?: number;
}

export interface ProduceAnswer {
  /** Where each record of the file lies, in the order of the file. */
  readonly acks: readonly (readonly [partition: number, offset: number])[];
}

export interface ConsumeArgs {
  readonly topics: readonly string[];
  readonly group: string;
  /** Just so many records are taken, written and committed. */
  readonly count: number;
  /** Consumed records, one JSON line each. */
  readonly output: string;
  readonly timeoutMs: number;
  /** The member stays in its group, and the next `consume` of that group goes on with it. */
  readonly keep?: boolean;
  /** The group protocol, where the client knows both. */
  readonly protocol?: "classic" | "consumer";
}

export type Answer =
  | { readonly id: number; readonly ok: object }
  | { readonly id: number; readonly error: string }
  | { readonly id: number; readonly progress: number };
