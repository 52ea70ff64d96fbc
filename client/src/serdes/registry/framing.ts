import { KafkaError } from "../../errors.ts";
import { placeOf, unreadable } from "../failures.ts";
import type { SerdeContext } from "../serde.ts";

/** Which schema a value was written with, and where its own bytes begin. */
export interface Framed {
  readonly schemaId: number | null;
  /** In the place of an id: newer serializers write it into a header. */
  readonly guid: string | null;
  /** Where the payload begins. */
  readonly position: number;
  /** Where the id was, and what follows it there: of Protobuf the message's place. Null: in front of the payload. */
  readonly header: { readonly bytes: Buffer; readonly position: number } | null;
}

const magic = 0;
const magicGuid = 1;
const prefixBytes = 5;
const guidPrefixBytes = 17;

/** 0x00, the id as 4 bytes big-endian, and the payload. */
export function frame(schemaId: number, ...payload: readonly Uint8Array[]): Buffer {
  const prefix = Buffer.allocUnsafe(prefixBytes);
  prefix[0] = magic;
  prefix.writeInt32BE(schemaId, 1);
  return Buffer.concat([prefix, ...payload]);
}

/**
 * Reads the id in front of the bytes, or in the header `__key_schema_id` or `__value_schema_id`; then the payload has
 * nothing in front. After 0x00 an id follows, after 0x01 a GUID.
 *
 * @throws KafkaError SCHEMA_MISSING where neither is there.
 */
export function unframe(bytes: Buffer, context: SerdeContext): Framed {
  const header = context.headers.bytes(`__${context.part}_schema_id`) ?? null;
  const inHeader = header === null ? null : idIn(header);
  if (header !== null && inHeader !== null)
    return { ...inHeader, position: 0, header: { bytes: header, position: inHeader.position } };
  const inFront = idIn(bytes);
  if (inFront !== null) return { ...inFront, header: null };
  const begin = bytes.subarray(0, prefixBytes).toString("hex");
  const sentence = `${placeOf(context)} names no schema: it begins with 0x${begin}, and not with 0x00 and an id`;
  throw new KafkaError("SCHEMA_MISSING", sentence);
}

function idIn(bytes: Buffer): Omit<Framed, "header"> | null {
  if (bytes.length >= prefixBytes && bytes[0] === magic)
    return { schemaId: bytes.readInt32BE(1), guid: null, position: prefixBytes };
  if (bytes.length >= guidPrefixBytes && bytes[0] === magicGuid)
    return { schemaId: null, guid: guidText(bytes), position: guidPrefixBytes };
  return null;
}

function guidText(bytes: Buffer): string {
  return bytes.toString("hex", 1, 17).replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** Which message of a Protobuf file: zig-zag varints with their count before them, where [0] is a single 0. */
export function messageIndexBytes(path: readonly number[]): Buffer {
  if (path.length === 1 && path[0] === 0) return Buffer.of(0);
  return Buffer.from([path.length, ...path].flatMap(zigZagBytes));
}

/** A file nests messages less deeply than this. */
const depthMax = 100;

/** @throws KafkaError DESERIALIZATION_FAILED. */
export function readMessageIndexes(
  bytes: Buffer,
  position: number,
  context: SerdeContext,
): { readonly path: readonly number[]; readonly position: number } {
  let at = position;
  const next = (): number => {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = bytes[at++];
      if (byte === undefined) throw unreadable(context, "it ends within the list of message indexes");
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
    }
    throw unreadable(context, "an index of a message is longer than 5 bytes");
  };
  const count = next();
  if (count === 0) return { path: [0], position: at };
  if (count < 0 || count > depthMax) throw unreadable(context, `a list of ${count} message indexes`);
  const path = Array.from({ length: count }, next);
  return { path, position: at };
}

function zigZagBytes(value: number): number[] {
  const bytes: number[] = [];
  let rest = value * 2;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) + 0x80);
  bytes.push(rest);
  return bytes;
}
