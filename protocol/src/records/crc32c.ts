/**
 * CRC-32C (Castagnoli), the checksum of record batches. The pure form below works everywhere; a host with a hardware one
 * installs it with `useCrc32c`.
 */
export type Crc32c = (bytes: Uint8Array, previous?: number) => number;

const POLYNOMIAL_REVERSED = 0x82f63b78;
const SLICES = 8;

/** tables[k * 256 + b]: the effect of byte b followed by k zero bytes. Eight at once is what makes the loop below fast. */
const tables: Int32Array = makeTables();

function makeTables(): Int32Array {
  const made = new Int32Array(SLICES * 256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 0 ? crc >>> 1 : (crc >>> 1) ^ POLYNOMIAL_REVERSED;
    made[byte] = crc;
  }
  for (let at = 256; at < made.length; at++) {
    const before = made[at - 256] as number;
    made[at] = (before >>> 8) ^ (made[before & 0xff] as number);
  }
  return made;
}

/** The form without any native module: slicing by eight. `previous` is the result for the bytes before these. */
export function crc32cPure(bytes: Uint8Array, previous = 0): number {
  const t = tables;
  const length = bytes.length;
  let crc = ~previous;
  let at = 0;
  for (const last = length - 8; at <= last; at += 8) {
    const a = (bytes[at] as number) ^ (crc & 0xff);
    const b = (bytes[at + 1] as number) ^ ((crc >>> 8) & 0xff);
    const c = (bytes[at + 2] as number) ^ ((crc >>> 16) & 0xff);
    const d = (bytes[at + 3] as number) ^ (crc >>> 24);
    crc =
      (t[1792 + a] as number) ^
      (t[1536 + b] as number) ^
      (t[1280 + c] as number) ^
      (t[1024 + d] as number) ^
      (t[768 + (bytes[at + 4] as number)] as number) ^
      (t[512 + (bytes[at + 5] as number)] as number) ^
      (t[256 + (bytes[at + 6] as number)] as number) ^
      (t[bytes[at + 7] as number] as number);
  }
  for (; at < length; at++) crc = (crc >>> 8) ^ (t[(crc ^ (bytes[at] as number)) & 0xff] as number);
  return ~crc >>> 0;
}

let implementation: Crc32c = crc32cPure;

/** Installs a faster implementation with the same results; `null` returns to the pure one. */
export function useCrc32c(faster: Crc32c | null): void {
  implementation = faster ?? crc32cPure;
}

/** An unsigned 32-bit number. Incremental: `crc32c(b, crc32c(a))` is the checksum of a followed by b. */
export function crc32c(bytes: Uint8Array, previous = 0): number {
  return implementation(bytes, previous);
}
