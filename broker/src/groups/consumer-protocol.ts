import { MalformedMessage } from "kafka-protocol-ts/malformed";
import { ByteReader } from "kafka-protocol-ts/reader";

/**
 * The topics in a subscription of the embedded consumer protocol, or null where the bytes are not one. Version 0 is the
 * beginning of every version, so its fields are read whatever the version says: a later one is understood too.
 */
export function subscribedTopicsOf(metadata: Uint8Array): readonly string[] | null {
  const reader = new ByteReader(Buffer.from(metadata.buffer, metadata.byteOffset, metadata.byteLength));
  try {
    const version = reader.int16();
    return version < 0 ? null : reader.stringArray();
  } catch (error) {
    if (error instanceof MalformedMessage) return null;
    throw error;
  }
}
