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
  /** What is read of transactions; the client's own default when it is missing. */
  readonly isolation?: Isolation;
}

export interface TransactArgs {
  /** Names an instance of a producer; it is opened when it is first named, and stays open. */
  readonly producer: string;
  readonly transactionalId: string;
  /** Records that a member of the group takes; their offsets become part of the transaction. It leaves at the end. */
  readonly take?: { readonly topic: string; readonly group: string; readonly count: number };
  readonly topic: string;
  /** Sent in this order, and acknowledged before the transaction ends. */
  readonly records: readonly (readonly [partition: number, value: string])[];
  /** Left open, it is ended by the command `end`. */
  readonly end: "commit" | "abort" | "open";
}

export interface EndArgs {
  readonly producer: string;
  readonly end: "commit" | "abort";
}

export type Isolation = "read_committed" | "read_uncommitted";

export interface DumpArgs {
  readonly topic: string;
  readonly isolation: Isolation;
  readonly output: string;
  readonly timeoutMs: number;
}

export type Answer =
  | { readonly id: number; readonly ok: object }
  | { readonly id: number; readonly error: string }
  | { readonly id: number; readonly progress: number };

/** How a group shares out its partitions: the classic protocol, in one step or two, with static members (range, too), or the newer protocol. */
export type GroupMode = "eager" | "cooperative" | "static" | "consumer";

/** What happens to a member of a group; programs of members append these to one log, with the member's name. */
export type MemberEvent =
  | { readonly event: "assigned" | "revoked" | "lost"; readonly partitions?: readonly number[] }
  /** Records of a partition are processed: the offsets from `from` to the one before `to`. */
  | { readonly event: "records"; readonly partition: number; readonly from: number; readonly to: number }
  | { readonly event: "committing" | "committed"; readonly offsets: Readonly<Record<string, number>> }
  /** A commit came too late: the partitions are another's. */
  | { readonly event: "uncommitted" }
  /** It leaves: from now on others may be given what it had, and it processes nothing of that any more. */
  | { readonly event: "closing" }
  | { readonly event: "closed" }
  | { readonly event: "failed"; readonly error: string }
  /** Written by the test, when the process is gone. */
  | { readonly event: "dead" };
