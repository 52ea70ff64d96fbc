/**
 * The zigzag varints inside a record (those of flexible messages are unsigned, and are read by ByteReader).
 * Reading gives the value and leaves the next position in `varintEnd`, so that no pair is allocated; −1 there means that the
 * bytes ended, or that the number is longer than its type allows.
 */
export let varintEnd = 0;
/** True after a varlong that a number cannot hold exactly, until `forgetWideVarlongs`. */
export let wasVarlongWide = false;

export function forgetWideVarlongs(): void {
  wasVarlongWide = false;
}

export const VARINT_BYTES_MAX = 5;
export const VARLONG_BYTES_MAX = 10;

export function readVarint(bytes: Uint8Array, at: number, end: number): number {
  if (at + 1 < end) {
    const first = bytes[at] as number;
    if (first < 0x80) {
      varintEnd = at + 1;
      return (first >>> 1) ^ -(first & 1);
    }
    const second = bytes[at + 1] as number;
    if (second < 0x80) {
      varintEnd = at + 2;
      const raw = (first & 0x7f) | (second << 7);
      return (raw >>> 1) ^ -(raw & 1);
    }
  }
  return readVarintSlowly(bytes, at, end);
}

function readVarintSlowly(bytes: Uint8Array, at: number, end: number): number {
  let raw = 0;
  const last = Math.min(end, at + VARINT_BYTES_MAX);
  for (let position = at, shift = 0; position < last; position++, shift += 7) {
    const byte = bytes[position] as number;
    raw |= (byte & 0x7f) << shift;
    if (byte < 0x80) {
      varintEnd = position + 1;
      return (raw >>> 1) ^ -(raw & 1);
    }
  }
  varintEnd = -1;
  return 0;
}

/** Exact within ±2^53; beyond it the sign and the size are right, `wasVarlongWide` is set, and `readVarlongExact` has the value. */
export function readVarlong(bytes: Uint8Array, at: number, end: number): number {
  if (at + 1 < end) {
    const first = bytes[at] as number;
    if (first < 0x80) {
      varintEnd = at + 1;
      return (first >>> 1) ^ -(first & 1);
    }
    const second = bytes[at + 1] as number;
    if (second < 0x80) {
      varintEnd = at + 2;
      const raw = (first & 0x7f) | (second << 7);
      return (raw >>> 1) ^ -(raw & 1);
    }
  }
  return readVarlongSlowly(bytes, at, end);
}

function readVarlongSlowly(bytes: Uint8Array, at: number, end: number): number {
  let raw = 0;
  let scale = 1;
  const last = Math.min(end, at + VARLONG_BYTES_MAX);
  for (let position = at; position < last; position++, scale *= 128) {
    const byte = bytes[position] as number;
    raw += (byte & 0x7f) * scale;
    if (byte < 0x80) {
      varintEnd = position + 1;
      if (raw > Number.MAX_SAFE_INTEGER) return wide(readVarlongExact(bytes, at, end));
      return raw % 2 === 0 ? raw / 2 : -(raw + 1) / 2;
    }
  }
  varintEnd = -1;
  return 0;
}

function wide(value: bigint): number {
  wasVarlongWide = true;
  return Number(value);
}

export function readVarlongExact(bytes: Uint8Array, at: number, end: number): bigint {
  let raw = 0n;
  const last = Math.min(end, at + VARLONG_BYTES_MAX);
  for (let position = at, shift = 0n; position < last; position++, shift += 7n) {
    const byte = bytes[position] as number;
    raw |= BigInt(byte & 0x7f) << shift;
    if (byte < 0x80) {
      varintEnd = position + 1;
      raw = BigInt.asUintN(64, raw);
      return (raw >> 1n) ^ -(raw & 1n);
    }
  }
  varintEnd = -1;
  return 0n;
}

/** Writes and returns the next position. */
export function writeVarint(bytes: Uint8Array, at: number, value: number): number {
  let raw = ((value << 1) ^ (value >> 31)) >>> 0;
  let position = at;
  while (raw > 0x7f) {
    bytes[position++] = (raw & 0x7f) | 0x80;
    raw >>>= 7;
  }
  bytes[position++] = raw;
  return position;
}

export function writeVarlong(bytes: Uint8Array, at: number, value: number | bigint): number {
  if (typeof value === "number" && value >= -0x4000_0000 && value <= 0x3fff_ffff) return writeVarint(bytes, at, value);
  const exact = BigInt(value);
  let raw = BigInt.asUintN(64, (exact << 1n) ^ (exact >> 63n));
  let position = at;
  while (raw > 0x7fn) {
    bytes[position++] = Number(raw & 0x7fn) | 0x80;
    raw >>= 7n;
  }
  bytes[position++] = Number(raw);
  return position;
}

export function varintBytes(value: number): number {
  const raw = ((value << 1) ^ (value >> 31)) >>> 0;
  return raw < 0x80 ? 1 : raw < 0x4000 ? 2 : raw < 0x20_0000 ? 3 : raw < 0x1000_0000 ? 4 : 5;
}

export function varlongBytes(value: number | bigint): number {
  if (typeof value === "number" && value >= -0x4000_0000 && value <= 0x3fff_ffff) return varintBytes(value);
  const exact = BigInt(value);
  let raw = BigInt.asUintN(64, (exact << 1n) ^ (exact >> 63n));
  let length = 1;
  for (; raw > 0x7fn; raw >>= 7n) length++;
  return length;
}
