import { MalformedMessage } from "../malformed.ts";

/** Kafka's ids, as the low three bits of a batch's attributes have them. */
export const CompressionCodec = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 } as const;
export type CompressionName = keyof typeof CompressionCodec;

const names = ["none", "gzip", "snappy", "lz4", "zstd"] as const satisfies readonly CompressionName[];

export interface CompressionImplementation {
  /** Whole bytes in, a whole block out. The level is the codec's own scale. */
  compress(bytes: Uint8Array, level?: number): Buffer;
  /**
   * Whole block in, bytes out. Never spends more memory than `maxBytes` plus a constant on what comes out:
   * a longer result is a CompressionFailure of kind "too-large", and broken bytes one of kind "bad-data".
   */
  decompress(bytes: Uint8Array, maxBytes: number): Buffer;
}

/**
 * - bad-data: the bytes are not what the codec writes
 * - too-large: they hold more than the caller allows
 * - unknown-codec: no such id
 * - not-installed: the host registered no such codec, see kafka-protocol-ts/node
 */
export type CompressionFailureKind = "bad-data" | "too-large" | "unknown-codec" | "not-installed";

export class CompressionFailure extends MalformedMessage {
  readonly kind: CompressionFailureKind;

  constructor(kind: CompressionFailureKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}

const registered = new Map<number, CompressionImplementation>();

export function registerCompression(name: CompressionName, implementation: CompressionImplementation): void {
  registered.set(CompressionCodec[name], implementation);
}

export function compressionName(codec: number): CompressionName | null {
  return names[codec] ?? null;
}

/** False for an id that does not exist or that the host did not register. */
export function isCompressionInstalled(codec: number): boolean {
  return codec === CompressionCodec.none || registered.has(codec);
}

function implementationOf(codec: number): CompressionImplementation {
  const implementation = registered.get(codec);
  if (implementation !== undefined) return implementation;
  const name = compressionName(codec);
  if (name === null) throw new CompressionFailure("unknown-codec", `compression codec ${codec} does not exist`);
  throw new CompressionFailure("not-installed", `compression codec ${name} is not installed`);
}

export function compress(codec: number, bytes: Uint8Array, level?: number): Buffer {
  if (codec === CompressionCodec.none) return asBuffer(bytes);
  return implementationOf(codec).compress(bytes, level);
}

export function decompress(codec: number, bytes: Uint8Array, maxBytes: number): Buffer {
  if (codec !== CompressionCodec.none) return implementationOf(codec).decompress(bytes, maxBytes);
  if (bytes.length > maxBytes) throw tooLarge("uncompressed bytes", maxBytes);
  return asBuffer(bytes);
}

/**
 * Ends the use of what `decompress` made of `packed`: memory of its own is free at once, and not when the collector finds it.
 * A view of other memory, a pool's or that of `packed` itself, is left alone.
 */
export function releaseDecompressed(plain: Buffer, packed: Uint8Array): void {
  const { buffer } = plain;
  const isItsOwn = plain.length === buffer.byteLength && buffer !== packed.buffer;
  if (isItsOwn && buffer instanceof ArrayBuffer) buffer.transfer(0);
}

export function tooLarge(what: string, maxBytes: number): CompressionFailure {
  return new CompressionFailure("too-large", `${what} hold more than ${maxBytes} bytes`);
}

export function badData(what: string, cause?: unknown): CompressionFailure {
  return new CompressionFailure("bad-data", what, cause === undefined ? undefined : { cause });
}

/** The same memory, seen as a Buffer. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
