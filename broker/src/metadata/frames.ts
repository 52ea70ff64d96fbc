import { assert } from "@millrace/base/assert";
import { crc32c } from "kafka-protocol-ts/records/crc32c";

/*
 *     frame:   length (uint32 BE)   CRC-32C of the payload (uint32 BE)   payload
 *
 * A frame is one batch of records, all or nothing.
 */

const headerBytes = 8;
/** A batch is at most a few megabytes; a longer claim is damage. */
const payloadBytesMax = 256 * 1024 * 1024;

export function encodeFrame(payload: Uint8Array): readonly Buffer[] {
  assert(payload.length > 0 && payload.length <= payloadBytesMax, `a frame of ${payload.length} bytes cannot be read`);
  const header = Buffer.alloc(headerBytes);
  header.writeUInt32BE(payload.length, 0);
  header.writeUInt32BE(crc32c(payload), 4);
  return [header, Buffer.from(payload.buffer, payload.byteOffset, payload.length)];
}

/** The payload of the frame that begins at `position`, or null where none does. */
export function frameAt(bytes: Buffer, position: number): Buffer | null {
  const left = bytes.length - position - headerBytes;
  if (left <= 0) return null;
  const length = bytes.readUInt32BE(position);
  if (length === 0 || length > left || length > payloadBytesMax) return null;
  const payload = bytes.subarray(position + headerBytes, position + headerBytes + length);
  return crc32c(payload) === bytes.readUInt32BE(position + 4) ? payload : null;
}

export function frameBytes(payload: Uint8Array): number {
  return headerBytes + payload.length;
}

/**
 * Where a whole frame begins after `position`, or -1. It tells damage in the middle from a torn tail: one append is
 * under way at a time, so behind a torn one there is nothing.
 */
export function nextFrame(bytes: Buffer, position: number, looksLikePayload: (firstByte: number) => boolean): number {
  for (let at = position + 1; at + headerBytes < bytes.length; at++) {
    // A CRC over the rest of the file for each byte would be quadratic; nearly all are ruled out by their first byte.
    const firstByte = bytes[at + headerBytes];
    if (firstByte !== undefined && looksLikePayload(firstByte) && frameAt(bytes, at) !== null) return at;
  }
  return -1;
}
