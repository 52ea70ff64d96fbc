// Without the native part of the package: a start would load it, and frames do not need it.
import { Packr } from "msgpackr/pack";
import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import { MalformedMessage } from "kafka-protocol-ts/malformed";
import type { AppendOutcome, Entry, Message, MessageOf, NodeId, SnapshotChunk } from "raft-ts-lite";
import { StrictUnpacker } from "./strict-unpacker.ts";

/*
 *     frame:   version (one byte, 0)   msgpack array [kind, from, to, term, ...what the kind has]
 *     entry:   [index, term, kind, ...]    0: empty   1: data, bytes   2: configuration, [voters]
 *
 * A new layout is a new version. Nodes of different versions agree on one by the version of the API that carries the frames.
 */

const frameVersion = 0;
const nodeIdBytesMax = 255;
/** Each is an object in memory and takes four bytes in a frame. */
const entriesMax = 100_000;
const votersMax = 1_000;

type Kind = Message["kind"];
type Envelope = Pick<Message, "from" | "to" | "term">;
type Values = readonly (string | number | boolean | null | Uint8Array | Values)[];

interface Layout<K extends Kind> {
  /** Never given to another kind. */
  readonly code: number;
  /** How many values `write` gives. */
  readonly count: number;
  write(message: MessageOf<K>): Values;
  /** @throws MalformedMessage */
  read(unpacker: StrictUnpacker, envelope: Envelope): MessageOf<K>;
}

const layouts: { readonly [K in Kind]: Layout<K> } = {
  "pre-vote": {
    code: 0,
    count: 2,
    write: ({ lastIndex, lastTerm }) => [lastIndex, lastTerm],
    read: (from, head) => ({ kind: "pre-vote", ...head, lastIndex: from.number(), lastTerm: from.number() }),
  },
  "pre-vote-answer": {
    code: 1,
    count: 1,
    write: ({ isGranted }) => [isGranted],
    read: (from, head) => ({ kind: "pre-vote-answer", ...head, isGranted: from.bool() }),
  },
  vote: {
    code: 2,
    count: 3,
    write: ({ lastIndex, lastTerm, isTransfer }) => [lastIndex, lastTerm, isTransfer],
    read: (from, head) => ({
      ...{ kind: "vote", ...head, lastIndex: from.number(), lastTerm: from.number(), isTransfer: from.bool() },
    }),
  },
  "vote-answer": {
    code: 3,
    count: 1,
    write: ({ isGranted }) => [isGranted],
    read: (from, head) => ({ kind: "vote-answer", ...head, isGranted: from.bool() }),
  },
  append: { code: 4, count: 4, write: appendValues, read: readAppend },
  "append-answer": {
    code: 5,
    count: 1,
    write: ({ outcome }) => [outcomeValues(outcome)],
    read: (from, head) => ({ kind: "append-answer", ...head, outcome: readOutcome(from) }),
  },
  heartbeat: {
    code: 6,
    count: 2,
    write: ({ commitIndex, round }) => [commitIndex, round],
    read: (from, head) => ({ kind: "heartbeat", ...head, commitIndex: from.number(), round: from.number() }),
  },
  "heartbeat-answer": {
    code: 7,
    count: 1,
    write: ({ round }) => [round],
    read: (from, head) => ({ kind: "heartbeat-answer", ...head, round: from.number() }),
  },
  snapshot: {
    code: 8,
    count: 6,
    write: ({ chunk: { index, term, configuration, offset, data, isLast } }) => [
      ...[index, term, configuration.voters, offset, data, isLast],
    ],
    read: (from, head) => ({ kind: "snapshot", ...head, chunk: readChunk(from) }),
  },
  "snapshot-answer": {
    code: 9,
    count: 2,
    write: ({ index, nextOffset }) => [index, nextOffset],
    read: (from, head) => ({ kind: "snapshot-answer", ...head, index: from.number(), nextOffset: from.number() }),
  },
  "time-out-now": { code: 10, count: 0, write: () => [], read: (_, head) => ({ kind: "time-out-now", ...head }) },
  join: {
    code: 11,
    count: 2,
    write: ({ lastIndex, isPassedOn }) => [lastIndex, isPassedOn],
    read: (from, head) => ({ kind: "join", ...head, lastIndex: from.number(), isPassedOn: from.bool() }),
  },
  read: {
    code: 12,
    count: 1,
    write: ({ token }) => [token],
    read: (from, head) => ({ kind: "read", ...head, token: from.number() }),
  },
  "read-answer": {
    code: 13,
    count: 2,
    write: ({ token, index }) => [token, index],
    read: (from, head) => ({
      ...{ kind: "read-answer", ...head, token: from.number(), index: from.isNull() ? null : from.number() },
    }),
  },
  recover: {
    code: 14,
    count: 2,
    write: ({ token, lastIndex }) => [token, lastIndex],
    read: (from, head) => ({ kind: "recover", ...head, token: from.number(), lastIndex: from.number() }),
  },
  "recover-answer": {
    code: 15,
    count: 2,
    write: ({ token, endIndex }) => [token, endIndex],
    read: (from, head) => ({ kind: "recover-answer", ...head, token: from.number(), endIndex: from.number() }),
  },
};

const envelopeCount = 4;
const layoutOfCode: ReadonlyMap<number, Layout<Kind>> = new Map(
  Object.values(layouts).map((layout) => [layout.code, layout as Layout<Kind>]),
);
const packr = new Packr({ useRecords: false, variableMapSize: true });

export function encodeMessage(message: Message): Buffer {
  const { code, write } = layouts[message.kind] as Layout<Kind>;
  const { from, to, term } = message;
  const packed = packr.pack([code, from, to, term, ...write(message)]);
  const frame = Buffer.allocUnsafe(1 + packed.length);
  frame[0] = frameVersion;
  packed.copy(frame, 1);
  return frame;
}

/**
 * A stranger may send anything. What comes out is a message as a node of this version writes it: its entries follow each other, their
 * terms do not fall, and no number is beyond what a number can say. Whether it is true is another matter: raft believes its peers.
 * Bytes are views of the frame.
 */
export function decodeMessage(frame: Buffer): Result<Message, "malformed"> {
  try {
    return ok(read(frame));
  } catch (error) {
    if (!(error instanceof MalformedMessage)) throw error;
    return failed("malformed", error.message);
  }
}

function read(frame: Buffer): Message {
  const version = frame[0];
  if (version !== frameVersion) throw new MalformedMessage(`a frame of version ${version ?? "none"}`);
  const unpacker = new StrictUnpacker(frame, 1);
  const count = unpacker.arrayLength();
  const code = unpacker.number();
  const layout = layoutOfCode.get(code);
  if (layout === undefined) throw new MalformedMessage(`a message of kind ${code}`);
  if (count !== envelopeCount + layout.count)
    throw new MalformedMessage(`${count} values, where ${envelopeCount + layout.count} belong`);
  const envelope: Envelope = { from: readNodeId(unpacker), to: readNodeId(unpacker), term: unpacker.number() };
  const message = layout.read(unpacker, envelope);
  unpacker.end();
  return message;
}

function readNodeId(unpacker: StrictUnpacker): NodeId {
  const id = unpacker.text(nodeIdBytesMax);
  if (id === "") throw new MalformedMessage("a node without a name");
  return id;
}

// --- Entries ------------------------------------------------------------------------------------------------------------

const entryCodes: Readonly<Record<Entry["kind"], number>> = { empty: 0, data: 1, configuration: 2 };

function appendValues({ prevIndex, prevTerm, commitIndex, entries }: MessageOf<"append">): Values {
  return [prevIndex, prevTerm, commitIndex, entries.map(entryValues)];
}

function entryValues(entry: Entry): Values {
  const head = [entry.index, entry.term, entryCodes[entry.kind]] as const;
  if (entry.kind === "data") return [...head, entry.data];
  if (entry.kind === "configuration") return [...head, entry.configuration.voters];
  return head;
}

function readAppend(unpacker: StrictUnpacker, envelope: Envelope): MessageOf<"append"> {
  const [prevIndex, prevTerm, commitIndex] = [unpacker.number(), unpacker.number(), unpacker.number()];
  const count = unpacker.arrayLength();
  if (count > entriesMax) throw new MalformedMessage(`${count} entries, and ${entriesMax} may be`);
  const entries: Entry[] = [];
  let before = { index: prevIndex, term: prevTerm };
  for (let left = count; left > 0; left--) {
    const entry = readEntry(unpacker);
    if (entry.index !== before.index + 1) throw new MalformedMessage(`entry ${entry.index} behind ${before.index}`);
    if (entry.term < before.term || entry.term > envelope.term)
      throw new MalformedMessage(
        `entry ${entry.index} of term ${entry.term}: ${before.term} to ${envelope.term} may be`,
      );
    entries.push(entry);
    before = entry;
  }
  return { kind: "append", ...envelope, prevIndex, prevTerm, commitIndex, entries };
}

function readEntry(unpacker: StrictUnpacker): Entry {
  const count = unpacker.arrayLength();
  const [index, term, code] = [unpacker.number(), unpacker.number(), unpacker.number()];
  if (code === entryCodes.empty && count === 3) return { kind: "empty", index, term };
  if (code === entryCodes.data && count === 4) return { kind: "data", index, term, data: unpacker.bytes() };
  if (code === entryCodes.configuration && count === 4)
    return { kind: "configuration", index, term, configuration: { voters: readVoters(unpacker) } };
  throw new MalformedMessage(`an entry of kind ${code} with ${count} values`);
}

function readVoters(unpacker: StrictUnpacker): readonly NodeId[] {
  const count = unpacker.arrayLength();
  if (count === 0 || count > votersMax) throw new MalformedMessage(`${count} voters (1 to ${votersMax})`);
  const voters = Array.from({ length: count }, () => readNodeId(unpacker));
  if (new Set(voters).size < count) throw new MalformedMessage("a voter who stands twice in a configuration");
  return voters;
}

function readChunk(unpacker: StrictUnpacker): SnapshotChunk {
  const [index, term] = [unpacker.number(), unpacker.number()];
  const configuration = { voters: readVoters(unpacker) };
  return { index, term, configuration, offset: unpacker.number(), data: unpacker.bytes(), isLast: unpacker.bool() };
}

function outcomeValues(outcome: AppendOutcome): Values {
  if (outcome.isTaken) return [true, outcome.matchIndex];
  return [false, outcome.prevIndex, outcome.hintIndex, outcome.hintTerm];
}

function readOutcome(unpacker: StrictUnpacker): AppendOutcome {
  const count = unpacker.arrayLength();
  const isTaken = unpacker.bool();
  if (count !== (isTaken ? 2 : 4)) throw new MalformedMessage(`an outcome of ${count} values`);
  if (isTaken) return { isTaken, matchIndex: unpacker.number() };
  return { isTaken, prevIndex: unpacker.number(), hintIndex: unpacker.number(), hintTerm: unpacker.number() };
}
