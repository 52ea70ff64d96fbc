import { CompressionCodec } from "kafka-protocol-ts/records/compression";
import type { CompressionName } from "kafka-protocol-ts/records/compression";
import { KafkaError } from "../errors.ts";
import type { RawInput, RecordInput } from "../topic.ts";
import type { ProducerInterceptor } from "./interceptors.ts";
import type { Partitioner } from "./partitioner.ts";

/** What may be set of a producer. Times are milliseconds, sizes bytes. */
export interface ProducerOptions {
  /** Whose word counts: all in-sync replicas, the leader alone, or nobody's. Default "all". */
  readonly acks?: "all" | 1 | 0;
  /** A record that is sent again is stored once, and in its place. Default: true under acks "all", which it needs. */
  readonly idempotent?: boolean;
  /** A function is asked for each batch. Default "none". */
  readonly compression?: CompressionName | (() => CompressionName);
  /** Where the codec knows levels: gzip 0 to 9, zstd -131072 to 22. Default: the codec's own. */
  readonly compressionLevel?: number;
  /** How long a record waits for company at most. Default 0: what comes in one turn of the event loop is one batch. */
  readonly lingerMs?: number;
  /** One batch before compression. A record that is larger goes alone. Default 1,000,000. */
  readonly batchBytesMax?: number;
  /** The batches of one request. Default 1,048,576. */
  readonly requestBytesMax?: number;
  /** Batches of a partition that may be without an answer, 1 to 5. Default 5; 1 without idempotence under acks "all" or 1, to keep the order. */
  readonly inFlightMax?: number;
  /** Records that have not been answered. What `ready` waits for; twice as much is refused. Default 33,554,432. */
  readonly bufferBytesMax?: number;
  /** Within this time a record is delivered or has failed, retries included. Default 120,000. */
  readonly deliveryTimeoutMs?: number;
  /** Absent: murmur2 of the key, as the Java client; records without a key stay together for a batch. */
  readonly partitioner?: Partitioner;
  /** See each record on its way, in this order. Default: none. */
  readonly interceptors?: readonly ProducerInterceptor[];
  /** Hears of each record of `enqueue` that was not delivered. Absent: the next ready, flush or close throws the first one. */
  readonly onFailed?: (failed: FailedRecord) => void;
  /** With it `transaction` may be called, and only that. A second producer of the same id fences the first. */
  readonly transactionalId?: string;
  /** A transaction that is open for so long is aborted by its coordinator. Default 60,000. */
  readonly transactionTimeoutMs?: number;
}

/** What is sent to a topic that is only named: bytes, or text as UTF-8. */
export type ProducerRecord = RecordInput<RawInput, RawInput>;

/** Where a record lies. */
export interface Delivered {
  /** The partition that was chosen. */
  readonly partition: number;
  /** -1 where the broker does not say it: under acks 0, and for a duplicate of long ago. */
  readonly offset: number;
}

/** What became of one record of several. */
export interface SendResult {
  /** -1 where it was not chosen. */
  readonly partition: number;
  /** -1 where it is not known, or the record was not delivered. */
  readonly offset: number;
  /** Null: it was delivered. */
  readonly error: KafkaError | null;
}

/** A record of `enqueue` that was not delivered. */
export interface FailedRecord {
  /** The name of the topic. */
  readonly topic: string;
  /** Null where it was not chosen yet. */
  readonly partition: number | null;
  /** As it was given. */
  readonly record: RecordInput<unknown, unknown>;
  /** Why it was not delivered. */
  readonly error: KafkaError;
}

/** Batches of a partition that a broker remembers by their sequences, so that none of them is stored twice. */
const inFlightEnd = 5;

/** Milliseconds that a request can hold. */
export const int32Max = 0x7fff_ffff;

export interface Settings {
  readonly acks: -1 | 0 | 1;
  readonly isIdempotent: boolean;
  readonly compression: CompressionName;
  readonly compressionLevel: number | undefined;
  readonly lingerMs: number;
  readonly batchBytesMax: number;
  readonly requestBytesMax: number;
  readonly inFlightMax: number;
  readonly bufferBytesMax: number;
  readonly deliveryTimeoutMs: number;
  readonly partitioner: Partitioner | null;
  readonly interceptors: readonly ProducerInterceptor[];
  readonly onFailed: ((failed: FailedRecord) => void) | null;
  readonly transactionalId: string | null;
  readonly transactionTimeoutMs: number;
}

/** By codec; those that are not named here know no levels. */
const levels: Partial<Record<CompressionName, readonly [min: number, max: number]>> = {
  gzip: [0, 9],
  zstd: [-131_072, 22],
};

/** A function is asked later: what it gives then is the batch's own failure. */
function checkCompression({ compression = "none", compressionLevel }: ProducerOptions): void {
  if (typeof compression === "function") return;
  if (!Object.hasOwn(CompressionCodec, compression))
    throw invalid(`compression: "${compression}" is not one of ${Object.keys(CompressionCodec).join(", ")}`);
  const [min, max] = levels[compression] ?? [];
  if (compressionLevel === undefined || min === undefined) return;
  within("compressionLevel", compressionLevel, min, max);
}

/** @throws KafkaError INVALID_CONFIG, naming the option. */
export function settingsOf(options: ProducerOptions): Settings {
  const acks = options.acks ?? "all";
  if (acks !== "all" && acks !== 1 && acks !== 0) throw invalid(`acks: ${String(acks)} is not "all", 1 or 0`);
  const isIdempotent = options.idempotent ?? acks === "all";
  const transactionalId = options.transactionalId ?? null;
  if (isIdempotent && acks !== "all") throw invalid(`idempotent: needs acks "all", not ${acks}`);
  if (transactionalId === "") throw invalid("transactionalId: is empty");
  if (transactionalId !== null && !isIdempotent)
    throw invalid('transactionalId: a transaction needs acks "all" and idempotence');
  checkCompression(options);
  return {
    acks: acks === "all" ? -1 : acks,
    isIdempotent,
    get compression(): CompressionName {
      const { compression = "none" } = options;
      return typeof compression === "function" ? compression() : compression;
    },
    compressionLevel: options.compressionLevel,
    lingerMs: within("lingerMs", options.lingerMs ?? 0, 0),
    batchBytesMax: within("batchBytesMax", options.batchBytesMax ?? 1_000_000, 1),
    requestBytesMax: within("requestBytesMax", options.requestBytesMax ?? 1_048_576, 1),
    inFlightMax: within("inFlightMax", options.inFlightMax ?? (isIdempotent || acks === 0 ? 5 : 1), 1, inFlightEnd),
    bufferBytesMax: within("bufferBytesMax", options.bufferBytesMax ?? 33_554_432, 1),
    deliveryTimeoutMs: within("deliveryTimeoutMs", options.deliveryTimeoutMs ?? 120_000, 1),
    partitioner: options.partitioner ?? null,
    interceptors: options.interceptors ?? [],
    onFailed: options.onFailed ?? null,
    transactionalId,
    transactionTimeoutMs: within("transactionTimeoutMs", options.transactionTimeoutMs ?? 60_000, 1, int32Max),
  };
}

function within(name: string, value: number, min: number, max: number = Number.MAX_SAFE_INTEGER): number {
  if (value >= min && value <= max) return value;
  const limits = max === Number.MAX_SAFE_INTEGER ? `at least ${min}` : `${min} to ${max}`;
  throw invalid(`${name}: ${value} is not ${limits}`);
}

function invalid(message: string): KafkaError {
  return new KafkaError("INVALID_CONFIG", message);
}
