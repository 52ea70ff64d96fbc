import { MalformedMessage } from "kafka-protocol-ts/malformed";
import { consumerProtocolAssignment, consumerProtocolSubscription } from "kafka-protocol-ts/internal/consumer-protocol";
import type {
  ConsumerProtocolAssignment,
  ConsumerProtocolSubscription,
} from "kafka-protocol-ts/internal/consumer-protocol";
import type { DataCodec } from "kafka-protocol-ts/api";
import { ByteReader } from "kafka-protocol-ts/reader";
import { ByteWriter } from "kafka-protocol-ts/writer";

/**
 * What consumers of a classic group tell each other: the embedded protocol of type "consumer". Null where the bytes are
 * not one. A version begins with all of the one before it, so one that is not known here is read as the last that is.
 */

/** Only the topics: what version 0 has is the beginning of every version. */
export function subscribedTopicsOf(metadata: Uint8Array): readonly string[] | null {
  const reader = readerOf(metadata);
  try {
    const version = reader.int16();
    return version < 0 ? null : reader.stringArray();
  } catch (error) {
    if (error instanceof MalformedMessage) return null;
    throw error;
  }
}

export function subscriptionOf(metadata: Uint8Array): ConsumerProtocolSubscription | null {
  return read(consumerProtocolSubscription, metadata);
}

export function assignmentOf(bytes: Uint8Array): ConsumerProtocolAssignment | null {
  return read(consumerProtocolAssignment, bytes);
}

/** In the version that the member's own metadata has. */
export function assignmentBytes(
  partitions: readonly { readonly topic: string; readonly partitions: readonly number[] }[],
  metadata: Uint8Array,
): Uint8Array {
  const [first, last] = consumerProtocolAssignment.versions;
  const version = metadata.length < 2 ? first : Math.min(Math.max(readerOf(metadata).int16(), first), last);
  const writer = new ByteWriter(64);
  writer.int16(version);
  consumerProtocolAssignment.write(writer, { assignedPartitions: partitions }, version);
  return new Uint8Array(writer.toBuffer());
}

function read<Message>(codec: Pick<DataCodec<Message>, "versions" | "read">, bytes: Uint8Array): Message | null {
  const reader = readerOf(bytes);
  try {
    const version = reader.int16();
    return version < 0 ? null : codec.read(reader, Math.min(version, codec.versions[1]));
  } catch (error) {
    if (error instanceof MalformedMessage) return null;
    throw error;
  }
}

function readerOf(bytes: Uint8Array): ByteReader {
  return new ByteReader(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
}
