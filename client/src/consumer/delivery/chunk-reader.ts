import { readRecords, readRecordsAs } from "kafka-protocol-ts/records/record";
import type { Record as LogRecord } from "kafka-protocol-ts/records/record";
import { corrupt } from "../../errors.ts";
import { ConsumedRecord } from "../consumed-record.ts";
import type { RecordSource } from "../consumed-record.ts";
import type { Taken } from "../consumption.ts";
import type { Chunk, PartitionReading } from "../partition-reading.ts";
import type { Lease } from "../lease.ts";
import type { Decoder } from "./decoder.ts";

/**
 * Where there is nothing to decode, a record is made as it is handed out, and of nothing but its bytes: what lives until its
 * batch is worked on is copied by each collection of garbage meanwhile.
 */
type ReadRecord = LogRecord | ConsumedRecord;
const none: readonly ReadRecord[] = [];

/** The records of one chunk, one after the other, as long as its partition may be handed out. */
export class ChunkReader {
  readonly reading: PartitionReading;
  readonly #chunk: Chunk;
  readonly #lease: Lease;
  readonly #source: RecordSource;
  readonly #records: readonly ReadRecord[];
  #at = 0;

  /** @throws KafkaError CORRUPT_MESSAGE. */
  constructor({ reading, chunk }: Taken, decoder: Decoder) {
    this.reading = reading;
    this.#chunk = chunk;
    this.#lease = reading.lease;
    const { topic, partition, lease } = reading;
    this.#source = { topic, partition, lease, owner: decoder.ownerOf(topic) };
    this.#records = recordsOf(reading, chunk, decoder.isRaw(topic) ? this.#source : null);
    const { fromOffset, leaderEpoch } = chunk;
    this.#lease.seeEpoch(fromOffset, leaderEpoch);
    while ((this.#records[this.#at]?.offset ?? fromOffset) < fromOffset) this.#at++;
  }

  /** Given up, or sought elsewhere: the rest is nobody's. */
  get isVoid(): boolean {
    return !this.reading.isOwned || this.reading.lease !== this.#lease;
  }

  /** How many are left. */
  get left(): number {
    return this.isVoid ? 0 : this.#records.length - this.#at;
  }

  /** The next record, handed out by itself. Null: a bad one that was dealt with. Undefined: this chunk has no more. */
  next(decoder: Decoder): ConsumedRecord | null | undefined | Promise<ConsumedRecord | null> {
    const record = this.#take();
    if (record === undefined) {
      if (!this.isVoid) this.#lease.skipTo(this.nextOffset);
      return undefined;
    }
    const ticket = this.#lease.begin(record.offset + 1);
    return record instanceof ConsumedRecord ? record.handOut(ticket) : decoder.decode(this.#source, record, ticket);
  }

  /** As `next`, but as a part of something larger, which has the ticket. */
  nextPart(decoder: Decoder): ConsumedRecord | null | undefined | Promise<ConsumedRecord | null> {
    const record = this.#take();
    if (record === undefined || record instanceof ConsumedRecord) return record;
    return decoder.decode(this.#source, record, -1);
  }

  get source(): RecordSource {
    return this.#source;
  }

  /** Of the records of this chunk; -1 where it has none. */
  get leaderEpoch(): number {
    return this.#chunk.batch?.partitionLeaderEpoch ?? -1;
  }

  /** Where reading goes on after what was taken. */
  get nextOffset(): number {
    const record = this.#records[this.#at];
    return Math.min(record === undefined ? this.#chunk.nextOffset : record.offset, this.reading.endOffset);
  }

  #take(): ReadRecord | undefined {
    if (this.isVoid) return undefined;
    const record = this.#records[this.#at];
    if (record === undefined) return undefined;
    if (record.offset >= this.reading.endOffset) {
      this.#at = this.#records.length;
      return undefined;
    }
    this.#at++;
    return record;
  }

  /** What was not handed out, as a chunk; null where nothing is left. */
  rest(): Taken | null {
    const record = this.#records[this.#at];
    if (this.isVoid || record === undefined) return null;
    return { reading: this.reading, chunk: { ...this.#chunk, fromOffset: record.offset } };
  }
}

/** @param raw is the source of records that need no decoding. */
function recordsOf(reading: PartitionReading, { batch }: Chunk, raw: RecordSource | null): readonly ReadRecord[] {
  if (batch === null) return none;
  try {
    if (raw === null) return readRecords(batch);
    return readRecordsAs(batch, (offset, timestamp, key, value, headers, timestampBig) => {
      const isPlain = headers.length === 0 && timestampBig === undefined;
      const rest = isPlain ? null : { key, value, headers, timestampBig };
      return new ConsumedRecord(raw, offset, timestamp, key, value, rest);
    });
  } catch (error) {
    throw corrupt(`${reading.key} at offset ${batch.baseOffset}: ${(error as Error).message}`, error);
  }
}
