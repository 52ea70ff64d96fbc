/**
 * int64 as a number. A value outside ±(2^53 − 1) saturates, so that comparisons stay true; whoever must give the exact value back
 * (timestamps) asks for the bigint. The bytes themselves are never rewritten from a saturated number.
 */
const TWO_32 = 4_294_967_296;

export function readInt64(bytes: Buffer, at: number): number {
  const value = bytes.readInt32BE(at) * TWO_32 + bytes.readUInt32BE(at + 4);
  if (value > Number.MAX_SAFE_INTEGER) return Number.MAX_SAFE_INTEGER;
  return value < Number.MIN_SAFE_INTEGER ? Number.MIN_SAFE_INTEGER : value;
}

export function readInt64Exact(bytes: Buffer, at: number): number | bigint {
  const value = bytes.readInt32BE(at) * TWO_32 + bytes.readUInt32BE(at + 4);
  return Number.isSafeInteger(value) ? value : bytes.readBigInt64BE(at);
}

export function isSafeInt64(bytes: Buffer, at: number): boolean {
  return Number.isSafeInteger(bytes.readInt32BE(at) * TWO_32 + bytes.readUInt32BE(at + 4));
}

export function writeInt64(bytes: Buffer, at: number, value: number | bigint): void {
  if (typeof value === "bigint") {
    bytes.writeBigInt64BE(value, at);
    return;
  }
  bytes.writeInt32BE(Math.floor(value / TWO_32), at);
  bytes.writeUInt32BE(value - Math.floor(value / TWO_32) * TWO_32, at + 4);
}
