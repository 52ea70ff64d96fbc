import { Attribute, BATCH_HEADER_BYTES, BATCH_OVERHEAD_BYTES, BatchField } from "./batch.ts";
import type { RecordBatchView } from "./batch.ts";
import { compress, CompressionCodec, decompress, releaseDecompressed } from "./compression.ts";
import { crc32c } from "./crc32c.ts";

export interface CompressionTarget {
  /** An id of `CompressionCodec`; none unpacks. */
  readonly codec: number;
  /** On the codec's own scale. Default: the library's choice. */
  readonly level?: number;
}

/**
 * The same batch in another codec, in memory of its own: records look the same in every codec, so that they are carried over
 * as they are, and only the codec's bits, the length and the CRC of the header change. Throws a CompressionFailure for a
 * batch that cannot be unpacked, or that holds more than `maxBytes`.
 */
export function recompressBatch(batch: RecordBatchView, { codec, level }: CompressionTarget, maxBytes: number): Buffer {
  const plain = decompress(batch.codec, batch.recordsBytes, maxBytes);
  const records = compress(codec, plain, level);
  // Not out of a pool: a worker's answer would copy all of it.
  const bytes = Buffer.allocUnsafeSlow(BATCH_HEADER_BYTES + records.length);
  batch.bytes.copy(bytes, 0, batch.position, batch.position + BATCH_HEADER_BYTES);
  bytes.set(records, BATCH_HEADER_BYTES);
  releaseDecompressed(plain, batch.bytes);
  bytes.writeInt32BE(bytes.length - BATCH_OVERHEAD_BYTES, BatchField.batchLength);
  bytes.writeInt16BE((batch.attributes & ~Attribute.codecMask) | codec, BatchField.attributes);
  bytes.writeUInt32BE(crc32c(bytes.subarray(BatchField.attributes)), BatchField.crc);
  return bytes;
}

/** What a topic's `compression.type` asks for; null where each batch stays as its producer sent it. */
export function compressionTarget(type: string, levels: Readonly<Record<string, number>>): CompressionTarget | null {
  if (type === "producer") return null;
  const codec =
    type === "uncompressed" ? CompressionCodec.none : CompressionCodec[type as keyof typeof CompressionCodec];
  const level = levels[type];
  return level === undefined ? { codec } : { codec, level };
}
