/** The name of a node: of one disk of one machine. A machine with a new disk is another node. */
export type NodeId = string;

/** Who votes. Whoever else follows the leader is a learner, of whom the configuration does not speak. */
export interface Configuration {
  readonly voters: readonly NodeId[];
}

/** An entry of the log. A leader begins its term with an empty one. */
export type Entry = DataEntry | EmptyEntry | ConfigurationEntry;

export interface DataEntry {
  readonly kind: "data";
  readonly index: number;
  readonly term: number;
  /** The host's; never looked at. */
  readonly data: Uint8Array;
}

export interface EmptyEntry {
  readonly kind: "empty";
  readonly index: number;
  readonly term: number;
}

/** In force from the moment in which it is in a node's log, committed or not (section 4.1 of the dissertation). */
export interface ConfigurationEntry {
  readonly kind: "configuration";
  readonly index: number;
  readonly term: number;
  readonly configuration: Configuration;
}

/** What a node must never forget: to be on its disk before a message leaves that tells of it. */
export interface HardState {
  readonly term: number;
  readonly votedFor: NodeId | null;
}

/** Up to where a snapshot stands for the log. */
export interface SnapshotPoint {
  readonly index: number;
  readonly term: number;
  readonly configuration: Configuration;
}

/** A part of a snapshot, which is a file of the host's. */
export interface SnapshotChunk extends SnapshotPoint {
  /** Bytes before it. */
  readonly offset: number;
  readonly data: Uint8Array;
  readonly isLast: boolean;
}

interface Envelope {
  readonly from: NodeId;
  readonly to: NodeId;
  /** That of the sender; of a pre-vote the one it would have. */
  readonly term: number;
}

/**
 * - pre-vote, vote: may I lead? (section 5.2; the pre-vote: section 9.6 of the dissertation)
 * - append: entries behind one that both should have, and how far is committed (section 5.3)
 * - heartbeat: I lead; `round` comes back in the answer, and proves to reads that I still do (section 6.4 of the dissertation)
 * - snapshot: a part of what stands for entries that are gone (section 7)
 * - time-out-now: stand for election at once (section 3.10 of the dissertation)
 * - join: a learner would follow, or one who may have been removed and not heard of it; whoever leads begins to send
 * - read: where may a read that came to me begin?
 * - recover: I have lost entries that I may have acknowledged, and have all up to `lastIndex`; where does your log end?
 */
export type Message =
  | (Envelope & { readonly kind: "pre-vote"; readonly lastIndex: number; readonly lastTerm: number })
  | (Envelope & { readonly kind: "pre-vote-answer"; readonly isGranted: boolean })
  | (Envelope & {
      readonly kind: "vote";
      readonly lastIndex: number;
      readonly lastTerm: number;
      /** The leader itself has asked for this election: it need not be silent first. */
      readonly isTransfer: boolean;
    })
  | (Envelope & { readonly kind: "vote-answer"; readonly isGranted: boolean })
  | (Envelope & {
      readonly kind: "append";
      readonly prevIndex: number;
      readonly prevTerm: number;
      readonly entries: readonly Entry[];
      readonly commitIndex: number;
    })
  | (Envelope & { readonly kind: "append-answer"; readonly outcome: AppendOutcome })
  | (Envelope & { readonly kind: "heartbeat"; readonly commitIndex: number; readonly round: number })
  | (Envelope & { readonly kind: "heartbeat-answer"; readonly round: number })
  | (Envelope & { readonly kind: "snapshot"; readonly chunk: SnapshotChunk })
  | (Envelope & {
      readonly kind: "snapshot-answer";
      readonly index: number;
      /** Bytes that are there: the next chunk begins behind them. */
      readonly nextOffset: number;
    })
  | (Envelope & { readonly kind: "time-out-now" })
  | (Envelope & {
      readonly kind: "join";
      readonly lastIndex: number;
      /** By one who does not lead. */
      readonly isPassedOn: boolean;
    })
  | (Envelope & { readonly kind: "read"; readonly token: number })
  | (Envelope & { readonly kind: "read-answer"; readonly token: number; readonly index: number | null })
  | (Envelope & { readonly kind: "recover"; readonly token: number; readonly lastIndex: number })
  | (Envelope & { readonly kind: "recover-answer"; readonly token: number; readonly endIndex: number });

export type MessageOf<Kind extends Message["kind"]> = Extract<Message, { readonly kind: Kind }>;

/** Taken: both logs are the same up to `matchIndex`, on the follower's disk, too. Else where the leader should look next. */
export type AppendOutcome =
  | { readonly isTaken: true; readonly matchIndex: number }
  | {
      readonly isTaken: false;
      /** The `prevIndex` that did not fit. */
      readonly prevIndex: number;
      /** The last entry that might: its term is not beyond `prevTerm`. */
      readonly hintIndex: number;
      readonly hintTerm: number;
    };
