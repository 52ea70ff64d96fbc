import { createRequire } from "node:module";
import { RecordBatchView } from "kafka-protocol-ts/records/batch";
import { compress, CompressionCodec, decompress } from "kafka-protocol-ts/records/compression";
import type { CompressionName } from "kafka-protocol-ts/records/compression";
import { crc32cPure } from "kafka-protocol-ts/records/crc32c";
import { encodeBatch, readRecords } from "kafka-protocol-ts/records/record";
import type { RecordInput } from "kafka-protocol-ts/records/record";
import { walkBatch } from "kafka-protocol-ts/records/walk";
import { installNodeAccelerators } from "kafka-protocol-ts/node";

const ROUNDS = 9;
const ROUND_MS = 40;

/**
 * Microseconds of this thread's CPU that one run takes, so that waiting for a busy machine does not count: the median of several
 * rounds, and the best of them, since other work only adds.
 */
function measure(run: () => unknown): { readonly medianUs: number; readonly bestUs: number } {
  let times = 1;
  for (let elapsedMs = 0; elapsedMs < ROUND_MS; times *= 2) elapsedMs = timed(run, times);
  const rounds = Array.from({ length: ROUNDS }, () => (timed(run, times) / times) * 1000).sort((a, b) => a - b);
  return { medianUs: rounds[ROUNDS >> 1] ?? 0, bestUs: rounds[0] ?? 0 };
}

function timed(run: () => unknown, times: number): number {
  const start = process.threadCpuUsage();
  for (let index = 0; index < times; index++) run();
  const { user, system } = process.threadCpuUsage(start);
  return (user + system) / 1000;
}

function print(line: { readonly [name: string]: string | number | boolean }): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

const rounded = (value: number): number => Number(value.toPrecision(3));

/** JSON-like values with the repetitions of real ones; always the same. */
function recordsOf(count: number, valueBytes: number): RecordInput[] {
  let state = 4711;
  const next = (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  return Array.from({ length: count }, (_, index) => {
    let text = `{"id":${index}`;
    while (text.length < valueBytes) text += `,"field-${next(40)}":"${next(2000).toString(36).repeat(2)}"`;
    return {
      key: Buffer.from(`key-${index}`),
      value: Buffer.from(text.slice(0, valueBytes)),
      timestamp: 1_700_000_000_000 + index,
    };
  });
}

const shapes = [
  ["60 x 1 KB", 60, 1024],
  ["1000 x 100 B", 1000, 100],
  ["1 x 100 B", 1, 100],
] as const;

/** CRC, walk and codecs, a JSON line each. */
export async function run(): Promise<void> {
  const found = installNodeAccelerators();
  const kilobytes60 = encodeBatch({ records: recordsOf(60, 1024) });
  const native = loadCrc();
  const crcs: [string, (bytes: Uint8Array) => number][] = [["pure", crc32cPure]];
  if (native !== null) crcs.push(["native", (bytes) => native(bytes)]);
  for (const [implementation, crc] of crcs) {
    const { medianUs, bestUs } = measure(() => crc(kilobytes60));
    print({
      bench: "crc32c",
      implementation,
      bytes: kilobytes60.length,
      medianUs: rounded(medianUs),
      gbPerS: rounded(kilobytes60.length / bestUs / 1000),
    });
  }

  for (const [shape, count, valueBytes] of shapes) {
    const records = recordsOf(count, valueBytes);
    const batch = new RecordBatchView(encodeBatch({ records }));
    for (const [name, run] of [
      ["walk", () => walkBatch(batch)],
      ["walk with rules", () => walkBatch(batch, { isKeyRequired: true, timestampMin: 0, timestampMax: 2e12 })],
      ["read", () => readRecords(batch)],
      ["encode", () => encodeBatch({ records })],
    ] as const) {
      const { medianUs, bestUs } = measure(run);
      print({ bench: name, shape, medianUs: rounded(medianUs), bestUs: rounded(bestUs) });
    }
  }

  const plain = new RecordBatchView(kilobytes60).recordsBytes;
  for (const mayBeNative of [true, false]) {
    installNodeAccelerators({ mayBeNative });
    for (const name of ["gzip", "snappy", "lz4", "zstd"] as const satisfies readonly CompressionName[]) {
      const isNative = name === "gzip" || name === "zstd" || (mayBeNative && found[name] === "native");
      if (isNative !== mayBeNative) continue;
      const codec = CompressionCodec[name];
      const block = compress(codec, plain);
      const packing = measure(() => compress(codec, plain));
      const unpacking = measure(() => decompress(codec, block, plain.length));
      print({
        bench: "codec",
        codec: name,
        implementation: isNative ? "native" : "pure",
        bytes: plain.length,
        ratio: rounded(block.length / plain.length),
        compressMbPerS: rounded(plain.length / packing.bestUs),
        decompressMbPerS: rounded(plain.length / unpacking.bestUs),
        decompressMedianUs: rounded(unpacking.medianUs),
      });
    }
  }
  installNodeAccelerators();
}

interface Crc32Package {
  readonly crc32c: (bytes: Uint8Array) => number;
}

function loadCrc(): ((bytes: Uint8Array) => number) | null {
  const load = createRequire(import.meta.resolve("kafka-protocol-ts/node"));
  try {
    return (load("@node-rs/crc32") as Crc32Package).crc32c;
  } catch {
    return null;
  }
}
