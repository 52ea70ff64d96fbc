import { failed, ok } from "@millrace/base/result";
import type { Failed, Result } from "@millrace/base/result";
import type { TimeMs } from "@millrace/base/units";
import type { Workers, WorkerTask } from "@millrace/base/world";
import { batchAt, BatchField, NO_PRODUCER_EPOCH, NO_SEQUENCE, RecordBatchView } from "kafka-protocol-ts/records/batch";
import type { BatchFault, TimestampType } from "kafka-protocol-ts/records/batch";
import {
  asBuffer,
  CompressionCodec,
  compressionName,
  isCompressionInstalled,
} from "kafka-protocol-ts/records/compression";
import { recompressBatch } from "kafka-protocol-ts/records/recompress";
import type { CompressionTarget } from "kafka-protocol-ts/records/recompress";
import { DECOMPRESSED_BYTES_MAX, walkBatch } from "kafka-protocol-ts/records/walk";
import type { WalkFault, WalkReport, WalkRules } from "kafka-protocol-ts/records/walk";
import type { AppendFailure, AppendFailureKind, RecordError } from "./append-failure.ts";
export type { AppendFailure, AppendFailureKind, RecordError } from "./append-failure.ts";

/** What a topic's settings, and the request that brings the batch, ask of it. */
export interface ValidationRules {
  readonly nowMs: TimeMs;
  /** `max.message.bytes`. */
  readonly sizeBytesMax: number;
  /** The topic is compacted. */
  readonly isKeyRequired: boolean;
  readonly timestampType: TimestampType;
  readonly timestampBeforeMaxMs: number;
  readonly timestampAfterMaxMs: number;
  /** Produce before 7 cannot carry zstd (KIP-110). */
  readonly produceVersion: number;
  /** Default: true. */
  readonly isTransactionalAllowed?: boolean;
  /** `compression.type`: the codec in which batches are kept. Null, the default, keeps each as it came. */
  readonly compression?: CompressionTarget | null;
  /**
   * header: the records themselves are not looked at, unless they are to be kept in another codec; a broken batch then
   * reaches the consumers. Default: full.
   */
  readonly recordValidation?: "full" | "header";
  /** What a compressed batch may hold. Default: 100 MiB. */
  readonly decompressedBytesMax?: number;
  /** Where large batches are unpacked and packed. Without it that is done here. */
  readonly workers?: Workers;
}

/** Batches that may be appended as they are: those that came, or the same ones in the topic's own codec. */
export interface AnalyzedBatches {
  readonly bytes: Buffer;
  /** From a producer and a coordinator exactly one; from a leader as many as it sent. */
  readonly batches: readonly RecordBatchView[];
}

type Analysis = Result<AnalyzedBatches, AppendFailure>;

/** A compressed batch of so many bytes is walked off the loop. */
const OFF_LOOP_BYTES = 128 * 1024;
/** A batch of so many bytes is packed off the loop; one that must be unpacked first, always. */
const RECOMPRESSED_OFF_LOOP_BYTES = 16 * 1024;
const KIP_110_VERSION = 7;

/**
 * Judges what a producer sent: one batch, intact, with records that hold together and that the topic's rules allow. Reads in
 * place and changes one field at most, a largest timestamp that the producer got wrong; a batch that the topic keeps in
 * another codec comes out in memory of its own. A promise only where a large batch is unpacked or packed off the loop.
 */
export function analyzeBatches(bytes: Buffer, rules: ValidationRules): Analysis | Promise<Analysis> {
  if (bytes.length === 0) return refused("no-batch", "the record set is empty");
  const batch = batchAt(bytes, 0);
  if (typeof batch === "string") return noBatch(batch, bytes);
  const wrong = judgeHeader(batch, bytes.length, rules);
  if (wrong !== null) return wrong;
  const walkRules = walkRulesOf(rules);
  const target = rules.compression ?? null;
  if (target !== null && target.codec !== batch.codec)
    return recompress(batch, { bytes, rules: walkRules, target }, rules);
  if (rules.recordValidation === "header") return ok({ bytes, batches: [batch] });

  const isOffLoop = batch.isCompressed && batch.sizeBytes >= OFF_LOOP_BYTES && rules.workers !== undefined;
  if (!isOffLoop) return judgeRecords(batch, walkBatch(batch, walkRules), rules);
  return inWorker(rules.workers, walkTask, { bytes, rules: walkRules }).then((report) =>
    judgeRecords(batch, report, rules),
  );
}

/**
 * Judges what a leader sent to its follower: batches that are already in the log there, so that only what the way can have
 * done to them is looked at. The last one may be cut off by the fetch's limit; it is left out.
 */
export function analyzeReplicated(bytes: Buffer): Analysis {
  const batches: RecordBatchView[] = [];
  let position = 0;
  while (position < bytes.length) {
    const batch = batchAt(bytes, position);
    if (batch === "truncated" && batches.length > 0) break;
    if (typeof batch === "string") return noBatch(batch, bytes, position);
    if (!batch.isCrcValid()) return refused("bad-crc", `the batch at offset ${batch.baseOffset} has a wrong checksum`);
    batches.push(batch);
    position = batch.end;
  }
  return batches.length === 0 ? refused("no-batch", "the record set is empty") : ok({ bytes, batches });
}

/** One batch that this broker has built itself: a coordinator's records or its marker. */
export function trustBatch(bytes: Buffer): AnalyzedBatches {
  return { bytes, batches: [new RecordBatchView(bytes)] };
}

// --- Header ----------------------------------------------------------------------------------------------------------

function judgeHeader(batch: RecordBatchView, givenBytes: number, rules: ValidationRules): Failed<AppendFailure> | null {
  const { sizeBytes } = batch;
  if (sizeBytes < givenBytes) return judgeRest(batch, givenBytes);
  if (sizeBytes > rules.sizeBytesMax) return tooLarge(batch, rules);
  if (!batch.isCrcValid()) return refused("bad-crc", "the batch has a wrong checksum");
  if (batch.isControl) return refused("control-batch", "control batches are written by the broker only");
  if (batch.baseOffset !== 0)
    return refused("base-offset", `a producer's offsets begin with 0, not with ${batch.baseOffset}`);
  if (batch.isTransactional && (rules.isTransactionalAllowed === false || !batch.hasProducerId)) {
    return refused("transactional", "transactional records are not taken here");
  }
  if (batch.timestampType === "LogAppendTime") {
    return refused("bad-timestamp", "a producer does not set the timestamp type LogAppendTime");
  }
  const isIdempotent = batch.hasProducerId;
  if (isIdempotent && (batch.producerEpoch <= NO_PRODUCER_EPOCH || batch.baseSequence <= NO_SEQUENCE)) {
    return refused(
      "bad-records",
      `producer ${batch.producerId} sent epoch ${batch.producerEpoch}, sequence ${batch.baseSequence}`,
    );
  }
  return batch.isCompressed ? judgeCodec(batch, rules) : null;
}

/**
 * What follows the batch says whether there are two, or one whose length lies. In Apache Kafka one that is cut off behind a good
 * one is passed over; here the producer is told, since it believes to have sent both.
 */
function judgeRest(batch: RecordBatchView, givenBytes: number): Failed<AppendFailure> {
  const { bytes, end } = batch;
  const next = batchAt(bytes, end);
  const isLengthTrue = next !== "truncated" || batch.isCrcValid();
  if (!isLengthTrue)
    return refused("bad-crc", `the batch has a wrong checksum, or another length than ${batch.sizeBytes}`);
  if (next === "too-short" || next === "unknown-magic") return noBatch(next, bytes, end);
  return refused(
    "several-batches",
    `${givenBytes - batch.sizeBytes} bytes follow the batch: a partition takes one batch a request`,
  );
}

function noBatch(fault: BatchFault, bytes: Buffer, position = 0): Failed<AppendFailure> {
  return refused(kindOfBatchFault[fault], `at byte ${position} is no batch: ${faultText(fault, bytes, position)}`);
}

function faultText(fault: BatchFault, bytes: Buffer, position: number): string {
  if (fault === "truncated") return "it is truncated";
  if (fault === "too-short") return `its length is ${bytes.readInt32BE(position + BatchField.batchLength)}`;
  const magic = bytes.readInt8(position + BatchField.magic);
  return fault === "legacy-magic" ? `it has the legacy format ${magic}` : `there is no format ${magic}`;
}

function tooLarge({ sizeBytes }: RecordBatchView, rules: ValidationRules): Failed<AppendFailure> {
  return refused("too-large", `the batch has ${sizeBytes} bytes; max.message.bytes is ${rules.sizeBytesMax}`);
}

function judgeCodec(batch: RecordBatchView, rules: ValidationRules): Failed<AppendFailure> | null {
  const { codec } = batch;
  const name = compressionName(codec) ?? String(codec);
  if (!isCompressionInstalled(codec)) return refused("unsupported-compression", `compression ${name} is not supported`);
  const isTooEarly = codec === CompressionCodec.zstd && rules.produceVersion < KIP_110_VERSION;
  return isTooEarly ? refused("unsupported-compression", "zstd needs Produce version 7 or newer") : null;
}

// --- Records ---------------------------------------------------------------------------------------------------------

function walkRulesOf(rules: ValidationRules): WalkRules {
  const isCreateTime = rules.timestampType === "CreateTime";
  return {
    isKeyRequired: rules.isKeyRequired,
    ...(isCreateTime && {
      timestampMin: rules.nowMs - rules.timestampBeforeMaxMs,
      timestampMax: rules.nowMs + rules.timestampAfterMaxMs,
    }),
    ...(rules.decompressedBytesMax !== undefined && { decompressedBytesMax: rules.decompressedBytesMax }),
  };
}

/** The walk, where a worker finds it. Its host registers the codecs. */
export function walkBytes({ bytes, rules }: WalkInput): WalkReport {
  return walkBatch(new RecordBatchView(asBuffer(bytes)), rules);
}

interface WalkInput {
  readonly bytes: Uint8Array;
  readonly rules: WalkRules;
}

const walkTask: WorkerTask<WalkInput, WalkReport> = { module: import.meta.url, name: "walkBytes" };

// --- Another codec ---------------------------------------------------------------------------------------------------

interface RecompressInput extends WalkInput {
  readonly target: CompressionTarget;
}

interface Recompressed {
  readonly report: WalkReport;
  /** Null where the report has a fault. */
  readonly recompressed: Uint8Array | null;
}

/** The walk, and then the batch in its new codec, where a worker finds them. */
export function recompressBytes({ bytes, rules, target }: RecompressInput): Recompressed {
  const batch = new RecordBatchView(asBuffer(bytes));
  const report = walkBatch(batch, rules);
  if (report.fault !== null || report.recordFaults.length > 0) return { report, recompressed: null };
  const maxBytes = rules.decompressedBytesMax ?? DECOMPRESSED_BYTES_MAX;
  return { report, recompressed: recompressBatch(batch, target, maxBytes) };
}

const recompressTask: WorkerTask<RecompressInput, Recompressed> = { module: import.meta.url, name: "recompressBytes" };

function recompress(
  batch: RecordBatchView,
  input: RecompressInput,
  rules: ValidationRules,
): Analysis | Promise<Analysis> {
  const judge = ({ report, recompressed }: Recompressed): Analysis => {
    const kept = recompressed === null ? batch : new RecordBatchView(asBuffer(recompressed));
    // Another codec may need more room, and then the topic's limit counts once more.
    return kept.sizeBytes > rules.sizeBytesMax ? tooLarge(kept, rules) : judgeRecords(kept, report, rules);
  };
  // A few packed bytes may hold a hundred megabytes, and to pack those takes seconds.
  const isLarge = batch.isCompressed || batch.sizeBytes >= RECOMPRESSED_OFF_LOOP_BYTES;
  const isOffLoop = isLarge && rules.workers !== undefined;
  return isOffLoop ? inWorker(rules.workers, recompressTask, input).then(judge) : judge(recompressBytes(input));
}

/** The batch is copied and given away: to send a view would copy all the memory behind it, which is a whole request's. */
function inWorker<Input extends WalkInput, Output>(
  workers: Workers,
  task: WorkerTask<Input, Output>,
  input: Input,
): Promise<Output> {
  const bytes = new Uint8Array(input.bytes);
  return workers.run(task, { ...input, bytes }, [bytes.buffer]);
}

// --- Judgement -------------------------------------------------------------------------------------------------------

function judgeRecords(batch: RecordBatchView, report: WalkReport, rules: ValidationRules): Analysis {
  const { fault } = report;
  if (fault !== null) {
    const { faultIndex, faultMessage } = report;
    const recordErrors =
      faultIndex < 0 ? undefined : [{ batchIndex: faultIndex, batchIndexErrorMessage: faultMessage }];
    return refused(kindOfWalkFault[fault], faultMessage, recordErrors);
  }
  if (report.recordFaults.length > 0) return judgeFaults(report, rules);
  // Under LogAppendTime the append replaces the field anyway.
  if (!report.isMaxTimestampTrue && rules.timestampType === "CreateTime")
    batch.setMaxTimestamp(report.maxTimestampExact);
  return ok({ bytes: batch.bytes, batches: [batch] });
}

/** The first fault gives the kind; only records of that kind are named, as one answer has one code. */
function judgeFaults(report: WalkReport, rules: ValidationRules): Failed<AppendFailure> {
  const [first] = report.recordFaults;
  const fault = first?.fault ?? "null-key";
  const min = rules.nowMs - rules.timestampBeforeMaxMs;
  const max = rules.nowMs + rules.timestampAfterMaxMs;
  const recordErrors = report.recordFaults
    .filter((each) => each.fault === fault)
    .map(({ index, timestamp }) => ({
      batchIndex: index,
      batchIndexErrorMessage:
        fault === "null-key"
          ? "a compacted topic takes no record without a key"
          : `timestamp ${timestamp} is not within ${min} and ${max}`,
    }));
  const kind = fault === "null-key" ? "null-key" : "bad-timestamp";
  return refused(kind, recordErrors[0]?.batchIndexErrorMessage ?? fault, recordErrors);
}

function refused(
  kind: AppendFailureKind,
  message: string,
  recordErrors?: readonly RecordError[],
): Failed<AppendFailure> {
  return failed(recordErrors === undefined ? { kind, message } : { kind, message, recordErrors });
}

const kindOfBatchFault = {
  truncated: "truncated-batch",
  "too-short": "corrupt-batch",
  "legacy-magic": "legacy-format",
  "unknown-magic": "corrupt-batch",
} as const satisfies Record<BatchFault, AppendFailureKind>;

const kindOfWalkFault = {
  empty: "bad-records",
  "last-offset-delta": "bad-records",
  "records-count": "bad-records",
  truncated: "bad-records",
  "record-length": "bad-records",
  "offset-delta": "bad-records",
  "bad-length": "bad-records",
  "bad-compression": "bad-compression",
  "decompressed-too-large": "too-large",
  "unknown-codec": "unsupported-compression",
  "codec-not-installed": "unsupported-compression",
} as const satisfies Record<WalkFault, AppendFailureKind>;
