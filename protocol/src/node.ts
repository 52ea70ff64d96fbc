import { createRequire } from "node:module";
import { asBuffer, badData, registerCompression, tooLarge } from "./records/compression.ts";
import type { CompressionImplementation } from "./records/compression.ts";
import { crc32cPure, useCrc32c } from "./records/crc32c.ts";
import type { Crc32c } from "./records/crc32c.ts";
import { lz4Codec, pureLz4Blocks } from "./records/lz4.ts";
import type { Lz4BlockCodec } from "./records/lz4.ts";
import { pureSnappyBlocks, snappyCodec } from "./records/snappy.ts";
import type { SnappyBlockCodec } from "./records/snappy.ts";

/**
 * Which parts run as native code: the packages behind them are optional, and what they do is the same without them.
 * Asking loads the package, since only then it is known.
 */
export interface Accelerators {
  readonly crc32c: "native" | "pure";
  readonly snappy: "native" | "pure";
  readonly lz4: "native" | "pure";
}

const load: NodeJS.Require = createRequire(import.meta.url);

/**
 * Registers all four codecs, and the hardware CRC-32C where its optional package is installed. Once a process and
 * worker. Each package is loaded when it is first needed: all of them take 30 ms and 14 MB, and most processes need
 * none or one.
 */
export function installNodeAccelerators(options: { readonly mayBeNative?: boolean } = {}): Accelerators {
  registerCompression("gzip", gzip);
  registerCompression("zstd", zstd);
  if (options.mayBeNative === false) {
    useCrc32c(null);
    registerCompression("snappy", snappyCodec(pureSnappyBlocks));
    registerCompression("lz4", lz4Codec(pureLz4Blocks));
    return { crc32c: "pure", snappy: "pure", lz4: "pure" };
  }
  useCrc32c(crc32cOnDemand);
  registerCompression("snappy", snappyCodec(snappyOnDemand));
  registerCompression("lz4", lz4Codec(lz4OnDemand));
  return {
    get crc32c() {
      installCrc32c();
      return kindOf(crc32Package());
    },
    get snappy() {
      return kindOf(snappyPackage());
    },
    get lz4() {
      return kindOf(lz4Package());
    },
  };
}

const crc32Package = once(() => loadIfThere<Crc32Package>("@node-rs/crc32"));
const snappyPackage = once(() => loadIfThere<SnappyPackage>("snappy"));
const lz4Package = once(() => loadIfThere<Lz4Package>("lz4-napi"));

/** A start makes a few sums over a few bytes each: they are done before the package would be there. */
const CRC_BYTES_MIN = 4096;

function crc32cOnDemand(bytes: Uint8Array, previous?: number): number {
  return bytes.length < CRC_BYTES_MIN ? crc32cPure(bytes, previous) : installCrc32c()(bytes, previous);
}

function installCrc32c(): Crc32c {
  const implementation = crc32Package()?.crc32c ?? crc32cPure;
  useCrc32c(implementation);
  return implementation;
}

const snappyBlocks = once(() => {
  const snappy = snappyPackage();
  return snappy === null ? pureSnappyBlocks : nativeSnappy(snappy);
});
const snappyOnDemand: SnappyBlockCodec = {
  compress: (bytes) => snappyBlocks().compress(bytes),
  decompress: (block, length) => snappyBlocks().decompress(block, length),
};

const lz4Blocks = once(() => {
  const lz4 = lz4Package();
  return lz4 === null ? pureLz4Blocks : nativeLz4(lz4);
});
const lz4OnDemand: Lz4BlockCodec = {
  compress: (bytes) => lz4Blocks().compress(bytes),
  decompress: (block, maxBytes) => lz4Blocks().decompress(block, maxBytes),
};

interface Crc32Package {
  readonly crc32c: Crc32c;
}

interface SnappyPackage {
  compressSync(bytes: Uint8Array, options: { readonly copyOutputData: boolean }): Buffer;
  uncompressSync(block: Uint8Array, options: { readonly asBuffer: true; readonly copyOutputData: boolean }): Buffer;
}

interface Lz4Package {
  /** Both have the length of the plain bytes in front of the block, four bytes, the lowest first. */
  compressSync(bytes: Buffer): Buffer;
  uncompressSync(block: Uint8Array): Buffer;
}

/** Copied into a Buffer of Node's own: memory that belongs to a native module is dearer to free than to copy. */
const copied = { copyOutputData: true } as const;

function nativeSnappy(snappy: SnappyPackage): SnappyBlockCodec {
  return {
    compress: (bytes) => snappy.compressSync(bytes, copied),
    decompress: (block) => snappy.uncompressSync(block, { asBuffer: true, ...copied }),
  };
}

const LZ4_LENGTH_BYTES = 4;

function nativeLz4(lz4: Lz4Package): Lz4BlockCodec {
  /** Where a block gets its length in front. Kept, since no call outlives its turn. */
  const scratch = Buffer.alloc(131_072);
  return {
    compress: (bytes) => lz4.compressSync(asBuffer(bytes)).subarray(LZ4_LENGTH_BYTES),
    decompress: (block, maxBytes) => {
      const end = LZ4_LENGTH_BYTES + block.length;
      const prefixed = end <= scratch.length ? scratch.subarray(0, end) : Buffer.allocUnsafe(end);
      prefixed.writeUInt32LE(maxBytes, 0);
      prefixed.set(block, LZ4_LENGTH_BYTES);
      return lz4.uncompressSync(prefixed);
    },
  };
}

function kindOf(found: object | null): "native" | "pure" {
  return found === null ? "pure" : "native";
}

/** A package that has no binary for this system, or that was left out on purpose, is not an error. */
function loadIfThere<Package>(name: string): Package | null {
  try {
    return load(name) as Package;
  } catch {
    return null;
  }
}

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | null = null;
  return () => (made ??= { value: make() }).value;
}

const zlib = once(() => process.getBuiltinModule("node:zlib"));

const CHUNK_BYTES_MIN = 16_384;
const CHUNK_BYTES_MAX = 1_048_576;

const gzip: CompressionImplementation = {
  compress: (bytes, level) => zlib().gzipSync(bytes, level === undefined ? {} : { level }),
  decompress: (bytes, maxBytes) =>
    bounded("gzip", maxBytes, () => zlib().gunzipSync(bytes, outputOptions(bytes, maxBytes))),
};

const zstd: CompressionImplementation = {
  compress: (bytes, level) => {
    const { constants, zstdCompressSync } = zlib();
    return zstdCompressSync(
      bytes,
      level === undefined ? {} : { params: { [constants.ZSTD_c_compressionLevel]: level } },
    );
  },
  decompress: (bytes, maxBytes) =>
    bounded("zstd", maxBytes, () => zlib().zstdDecompressSync(bytes, outputOptions(bytes, maxBytes))),
};

function outputOptions(bytes: Uint8Array, maxBytes: number): { maxOutputLength: number; chunkSize: number } {
  const chunkSize = Math.min(CHUNK_BYTES_MAX, Math.max(CHUNK_BYTES_MIN, bytes.length * 4));
  return { maxOutputLength: Math.max(1, maxBytes), chunkSize };
}

function bounded(name: string, maxBytes: number, decompress: () => Buffer): Buffer {
  let plain: Buffer;
  try {
    plain = decompress();
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ERR_BUFFER_TOO_LARGE") throw tooLarge(`${name} data`, maxBytes);
    throw badData(`broken ${name} data`, error);
  }
  if (plain.length > maxBytes) throw tooLarge(`${name} data`, maxBytes);
  return asBuffer(plain);
}
