import { readRecords } from "kafka-protocol-ts/records/record";
import type { Record as LogRecord } from "kafka-protocol-ts/records/record";
import type { Chunk, PartitionReading } from "../consumer/partition-reading.ts";
import { corrupt } from "../errors.ts";
import type { Batch } from "./consumer-types.ts";
import type { IHeaders, KafkaMessage } from "./message-types.ts";

/** A chunk with its records. */
export interface Part {
  readonly chunk: Chunk;
  readonly records: readonly LogRecord[];
}

/** @throws KafkaError CORRUPT_MESSAGE. */
export function partOf({ key }: PartitionReading, chunk: Chunk): Part {
  const { batch, fromOffset } = chunk;
  if (batch === null) return { chunk, records: [] };
  try {
    return { chunk, records: readRecords(batch).filter(({ offset }) => offset >= fromOffset) };
  } catch (error) {
    throw corrupt(`${key} at offset ${batch.baseOffset}: ${(error as Error).message}`, error);
  }
}

/** What was fetched of a partition, as its handler sees it. */
export class FacadeBatch implements Batch {
  readonly topic: string;
  readonly partition: number;
  readonly highWatermark: string;
  readonly messages: KafkaMessage[];
  readonly #parts: readonly Part[];

  constructor({ topic, partition, highWatermark }: PartitionReading, parts: readonly Part[]) {
    this.topic = topic;
    this.partition = partition;
    this.highWatermark = `${highWatermark}`;
    this.messages = parts.flatMap(({ records }) => records.map(messageOf));
    this.#parts = parts;
  }

  /** Where it begins. */
  get startOffset(): number {
    return this.#parts[0]?.chunk.fromOffset ?? 0;
  }

  /** Where reading goes on behind it. */
  get nextOffset(): number {
    return this.#parts.at(-1)?.chunk.nextOffset ?? 0;
  }

  // Programs take these out of the object: they are bound to it.

  readonly isEmpty = (): boolean => this.messages.length === 0;

  /** Of what lies in the log, transaction markers included. */
  readonly firstOffset = (): string => this.messages[0]?.offset ?? `${this.startOffset}`;

  readonly lastOffset = (): string => `${this.nextOffset - 1}`;

  readonly offsetLag = (): string => `${Number(this.highWatermark) - this.nextOffset}`;

  readonly offsetLagLow = (): string => `${Number(this.highWatermark) - 1 - Number(this.firstOffset())}`;

  /**
   * Where reading goes on after this offset: behind the last message that is the end of the batch, since what follows is
   * nobody's to resolve.
   */
  nextOffsetBehind(offset: number): number {
    const last = this.messages.at(-1);
    return last !== undefined && Number(last.offset) === offset ? this.nextOffset : offset + 1;
  }

  /** Leader epoch of the record before this offset; -1: not known. */
  epochBefore(nextOffset: number): number {
    const part = this.#parts.find(({ chunk }) => chunk.nextOffset >= nextOffset && chunk.fromOffset < nextOffset);
    return part?.chunk.leaderEpoch ?? -1;
  }

  /** What begins at this offset or behind it, the last chunk first: as it is given back. */
  chunksFrom(offset: number): readonly Chunk[] {
    return this.#parts
      .filter(({ chunk }) => chunk.nextOffset > offset)
      .map(({ chunk }) => ({ ...chunk, fromOffset: Math.max(chunk.fromOffset, offset) }))
      .reverse();
  }
}

function messageOf(record: LogRecord): KafkaMessage {
  const { key, value, timestamp, timestampBig, offset } = record;
  const byName = Map.groupBy(record.headers, (header) => header.key);
  const headers = Object.fromEntries(
    Array.from(byName, ([name, of]) => {
      const values = of.map((header) => header.value as Buffer);
      return [name, values.length === 1 ? values[0] : values] as const;
    }),
  ) satisfies IHeaders;
  return { key, value, timestamp: `${timestampBig ?? timestamp}`, attributes: 0, offset: `${offset}`, headers };
}
