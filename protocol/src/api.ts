import type { ByteReader } from "./reader.ts";
import type { ByteWriter } from "./writer.ts";

/** The first and the last version, both inclusive. */
export type VersionRange = readonly [first: number, last: number];

/** Bytes to a message and back, in every version. What is read has every field; what is written may leave out defaults. */
export interface Codec<Read, Write = Read> {
  /** @throws MalformedMessage when the bytes are not such a message. */
  read(reader: ByteReader, version: number): Read;
  /** @throws UnsupportedFieldVersion when the message says what this version can not say. */
  write(writer: ByteWriter, message: Write, version: number): void;
}

/** A codec that stands alone: inside a record or an opaque field of another message. */
export interface DataCodec<Read, Write = Read> extends Codec<Read, Write> {
  readonly name: string;
  readonly versions: VersionRange;
}

/** From this key on APIs are Millrace's own. Kafka gives its keys from 0 upwards, and its clients skip keys that they do not know. */
export const OWN_KEYS_FROM = 10_000;

/** From this tag on fields of Kafka's messages are Millrace's own: who does not know a tag skips it (KIP-482). */
export const OWN_TAGS_FROM = 10_000;

/** What a host must know of an API before it reads a request of it. */
export interface ApiInfo {
  readonly key: number;
  /** As Kafka names it: "Produce". */
  readonly name: string;
  /** The stable versions of Apache Kafka 4.3; of our own, all. */
  readonly versions: VersionRange;
  /** From this version on lengths are varints, and headers and structs end with tagged fields (KIP-482); null: never. */
  readonly flexibleFrom: number | null;
  /** Which listeners of Apache Kafka serve it. */
  readonly listeners: readonly ("broker" | "controller")[];
}

/** One API: its request and its response. */
export interface Api<Req, Res, ReqInput = Req, ResInput = Res> extends ApiInfo {
  readonly request: Codec<Req, ReqInput>;
  readonly response: Codec<Res, ResInput>;
}

/** One kind of record of an internal topic: an int16 type and the key's fields, an int16 version and the value's. */
export interface RecordKind<Key, Value, KeyInput = Key, ValueInput = Value> {
  /** What the key begins with. */
  readonly type: number;
  readonly key: DataCodec<Key, KeyInput>;
  readonly value: DataCodec<Value, ValueInput>;
}
