import { failed, ok } from "@millrace/base/result";
import type { Failed, Result } from "@millrace/base/result";
import type { TimeMs } from "@millrace/base/units";
import type { Workers, WorkerTask } from "@millrace/base/world";
import { batchAt, NO_PRODUCER_EPOCH, NO_SEQUENCE, RecordBatchView } from "kafka-protocol-ts/records/batch";
import type { BatchFault, TimestampType } from "kafka-protocol-ts/records/batch";
import { CompressionCodec, compressionName, isCompressionInstalled } from "kafka-protocol-ts/records/compression";
import { walkBatch } from "kafka-protocol-ts/records/walk";
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
  /** header: the records themselves are not looked at; a broken batch then reaches the consumers. Default: full. */
  readonly recordValidation?: "full" | "header";
  /** What a compressed batch may hold. Default: 100 MiB. */
  readonly decompressedBytesMax?: number;
  /** Where large compressed batches are walked. Without it they are walked here. */
  readonly workers?: Workers;
}

/** Batches that may be appended as they are. */
export interface AnalyzedBatches {
  readonly bytes: Buffer;
  /** From a producer and a coordinator exactly one; from a leader as many as it sent. */
  readonly batches: readonly RecordBatchView[];
}

type Analysis = Result<AnalyzedBatches, AppendFailure>;

/** A compressed batch of so many bytes is walked off the loop. */
const OFF_LOOP_BYTES = 128 * 1024;
const KIP_110_VERSION = 7;

/**
 * Judges what a producer sent: one batch, intact, with records that hold together and that the topic's rules allow. Reads in
 * place and changes one field at most, a largest timestamp that the producer got wrong. A promise only where a large
 * compressed batch is decompressed off the loop.
 */
export function analyzeBatches(bytes: Buffer, rules: ValidationRules): Analysis | Promise<Analysis> {
  if (bytes.length === 0) return refused("no-batch", "the record set is empty");
  const batch = batchAt(bytes, 0);
  if (typeof batch === "string") return refused(kindOfBatchFault[batch], `the record set holds no batch: ${batch}`);
  const wrong = judgeHeader(batch, bytes.length, rules);
  if (wrong !== null) return wrong;
  if (rules.recordValidation === "header") return ok({ bytes, batches: [batch] });

  const walkRules = walkRulesOf(rules);
  const isOffLoop = batch.isCompressed && batch.sizeBytes >= OFF_LOOP_BYTES && rules.workers !== undefined;
  if (!isOffLoop) return judgeRecords(batch, walkBatch(batch, walkRules), rules);
  return rules.workers.run(walkTask, { bytes, rules: walkRules }).then((report) => judgeRecords(batch, report, rules));
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
    if (typeof batch === "string") return refused(kindOfBatchFault[batch], `at byte ${position} is no batch: ${batch}`);
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
  if (sizeBytes < givenBytes) {
    return refused(
      "several-batches",
      `${givenBytes - sizeBytes} bytes follow the batch: a partition takes one batch a request`,
    );
  }
  if (sizeBytes > rules.sizeBytesMax) {
    return refused("too-large", `the batch has ${sizeBytes} bytes; max.message.bytes is ${rules.sizeBytesMax}`);
  }
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
  const { buffer, byteOffset, length } = bytes;
  return walkBatch(new RecordBatchView(Buffer.from(buffer, byteOffset, length)), rules);
}

interface WalkInput {
  readonly bytes: Uint8Array;
  readonly rules: WalkRules;
}

const walkTask: WorkerTask<WalkInput, WalkReport> = { module: import.meta.url, name: "walkBytes" };

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
  "too-short": "truncated-batch",
  "legacy-magic": "unsupported-magic",
  "unknown-magic": "unsupported-magic",
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
