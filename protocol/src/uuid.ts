/** The uuid that stands for "none". */
export const zeroUuid: string = "AAAAAAAAAAAAAAAAAAAAAA";

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/** The code of each base64url character. */
const codes: Uint8Array = Uint8Array.from(alphabet, (character) => character.charCodeAt(0));

/** The six bits of each ASCII character; 0xff where it is none of base64url. */
const bits: Uint8Array = new Uint8Array(128).fill(0xff);
for (const [value, code] of codes.entries()) bits[code] = value;

const uuidLength = 22;

/**
 * The 16 bytes at `at` in Kafka's form: base64url without padding. By hand, since topic ids stand in every Fetch: two to
 * five times as fast as the buffer's own base64url.
 */
export function uuidAt(buffer: Uint8Array, at: number): string {
  const a = uint24At(buffer, at);
  const b = uint24At(buffer, at + 3);
  const c = uint24At(buffer, at + 6);
  const d = uint24At(buffer, at + 9);
  const e = uint24At(buffer, at + 12);
  const f = buffer[at + 15] as number;
  if ((a | b | c | d | e | f) === 0) return zeroUuid;
  // prettier-ignore
  return String.fromCharCode(
    code(a >> 18), code(a >> 12), code(a >> 6), code(a), code(b >> 18), code(b >> 12), code(b >> 6), code(b),
    code(c >> 18), code(c >> 12), code(c >> 6), code(c), code(d >> 18), code(d >> 12), code(d >> 6), code(d),
    code(e >> 18), code(e >> 12), code(e >> 6), code(e), code(f >> 2), code(f << 4),
  );
}

/** Puts a uuid's 16 bytes at `at`; false if the text is not one. */
export function putUuid(buffer: Uint8Array, at: number, uuid: string): boolean {
  if (uuid.length !== uuidLength) return false;
  let seen = 0;
  let to = at;
  for (let from = 0; from < 20; from += 4) {
    const first = bitsAt(uuid, from);
    const second = bitsAt(uuid, from + 1);
    const third = bitsAt(uuid, from + 2);
    const fourth = bitsAt(uuid, from + 3);
    seen |= first | second | third | fourth;
    const value = (first << 18) | (second << 12) | (third << 6) | fourth;
    buffer[to] = value >> 16;
    buffer[to + 1] = value >> 8;
    buffer[to + 2] = value;
    to += 3;
  }
  const high = bitsAt(uuid, 20);
  const low = bitsAt(uuid, 21);
  seen |= high | low;
  buffer[to] = (high << 2) | (low >> 4);
  return seen < 64;
}

function uint24At(buffer: Uint8Array, at: number): number {
  return ((buffer[at] as number) << 16) | ((buffer[at + 1] as number) << 8) | (buffer[at + 2] as number);
}

function code(value: number): number {
  return codes[value & 63] as number;
}

function bitsAt(uuid: string, index: number): number {
  return bits[uuid.charCodeAt(index)] ?? 0xff;
}
