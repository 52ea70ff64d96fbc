import { MalformedMessage } from "kafka-protocol-ts/malformed";
import type { DataCodec, RecordKind } from "kafka-protocol-ts/api";
import { ByteReader } from "kafka-protocol-ts/reader";
import { ByteWriter } from "kafka-protocol-ts/writer";

/* Keys and values of internal topics: an int16 that says the type or the version, and the fields. */

/** A group, a member's UUID and a topic mostly fit: a writer that has to grow costs more than the rest of a record. */
const keyBytesGuess = 192;

export function keyBytes<Input>(
  kind: Pick<RecordKind<unknown, unknown, Input>, "type" | "key">,
  key: Input,
): Uint8Array {
  const writer = new ByteWriter(keyBytesGuess);
  writer.int16(kind.type);
  kind.key.write(writer, key, 0);
  return writer.toBuffer();
}

export function valueBytes<Input>(codec: DataCodec<unknown, Input>, value: Input, version: number): Uint8Array {
  const writer = new ByteWriter(128);
  writer.int16(version);
  codec.write(writer, value, version);
  return writer.toBuffer();
}

/** @throws MalformedMessage, also for a version that is not known here. */
export function readValue<Value>(
  codec: Pick<DataCodec<Value>, "name" | "versions" | "read">,
  bytes: Uint8Array,
): Value {
  const reader = readerOf(bytes);
  const version = reader.int16();
  const [first, last] = codec.versions;
  if (version < first || version > last) {
    throw new MalformedMessage(`${codec.name} has version ${version}; ${first} to ${last} are known here`);
  }
  return codec.read(reader, version);
}

export function readerOf(bytes: Uint8Array): ByteReader {
  return new ByteReader(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
}
