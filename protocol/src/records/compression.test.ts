import * as fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { installNodeAccelerators } from "../node.ts";
import {
  compress,
  CompressionCodec,
  CompressionFailure,
  decompress,
  isCompressionInstalled,
  releaseDecompressed,
} from "./compression.ts";
import type { CompressionFailureKind, CompressionImplementation } from "./compression.ts";
import { lz4Codec } from "./lz4.ts";
import { snappyCodec } from "./snappy.ts";
import { xxhash32 } from "./xxhash32.ts";

beforeAll(() => {
  installNodeAccelerators();
});

const registered = (codec: number): CompressionImplementation => ({
  compress: (bytes) => compress(codec, bytes),
  decompress: (bytes, maxBytes) => decompress(codec, bytes, maxBytes),
});
/** The registered ones are native where their packages are installed; the pure ones are what runs without them. */
const implementations = {
  gzip: registered(CompressionCodec.gzip),
  snappy: registered(CompressionCodec.snappy),
  "snappy, pure": snappyCodec(),
  lz4: registered(CompressionCodec.lz4),
  "lz4, pure": lz4Codec(),
  zstd: registered(CompressionCodec.zstd),
} as const satisfies { readonly [name: string]: CompressionImplementation };
const cases = Object.entries(implementations) as readonly (readonly [string, CompressionImplementation])[];

/** Data as it compresses: random pieces, repeated at random distances. */
const compressible: fc.Arbitrary<Buffer> = fc
  .array(fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 40 }), fc.nat(300)), { maxLength: 40 })
  .map((pieces) =>
    Buffer.concat(pieces.map(([piece, times]) => Buffer.alloc(1 + ((piece.length * times) % 5000), piece))),
  );

/** Always the same bytes, and none that compress. */
function noiseOf(length: number): Buffer {
  const noise = Buffer.alloc(length);
  for (let at = 0, state = 4711; at < length; at++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    noise[at] = state >>> 24;
  }
  return noise;
}

function kindOf(run: () => unknown): CompressionFailureKind | "fine" {
  try {
    run();
    return "fine";
  } catch (error) {
    if (error instanceof CompressionFailure) return error.kind;
    throw error;
  }
}

describe.for(cases)("%s", ([name, codec]) => {
  test("gives back what was compressed", () => {
    fc.assert(
      fc.property(compressible, (plain) => {
        expect(codec.decompress(codec.compress(plain), plain.length).equals(plain)).toBe(true);
      }),
      { numRuns: 200 },
    );
  });

  test.for([0, 1, 4, 11, 12, 13, 65_535, 65_536, 65_537, 300_000])("zeros and noise of %i bytes", (length) => {
    const noise = noiseOf(length);
    for (const plain of [Buffer.alloc(length), noise]) {
      expect(codec.decompress(codec.compress(plain), length).equals(plain)).toBe(true);
    }
  });

  test("refuses one byte more than the limit", () => {
    for (const length of [100, 50_000, 200_000]) {
      const block = codec.compress(Buffer.alloc(length, "abc"));
      expect(kindOf(() => codec.decompress(block, length - 1))).toBe("too-large");
      expect(kindOf(() => codec.decompress(block, 0))).toBe("too-large");
      expect(codec.decompress(block, length)).toHaveLength(length);
    }
  });

  test("refuses a bomb before it costs memory", () => {
    const bomb = codec.compress(Buffer.alloc(30_000_000));
    const before = process.memoryUsage();
    expect(kindOf(() => codec.decompress(bomb, 100_000))).toBe("too-large");
    const after = process.memoryUsage();
    const grown = after.external + after.heapUsed - before.external - before.heapUsed;
    expect(grown).toBeLessThan(5_000_000);
  });

  test("a cut block is bad data at every length", () => {
    const plain = Buffer.from(Array.from({ length: 40 }, (_, line) => `line ${line} of what is cut\n`).join(""));
    const block = codec.compress(plain);
    for (let length = 0; length < block.length; length++) {
      const outcome = kindOf(() => {
        const out = codec.decompress(block.subarray(0, length), 10_000);
        // The xerial framing has no end mark: cut between two blocks it is whole.
        if (!name.startsWith("snappy"))
          throw new Error(`cut at ${length} of ${block.length}: ${out.length} bytes came out`);
      });
      expect(["bad-data", "fine"]).toContain(outcome);
    }
  });

  test("mutated blocks give bytes within the limit or a CompressionFailure", () => {
    fc.assert(
      fc.property(
        compressible,
        fc.array(fc.tuple(fc.nat(100_000), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        (plain, changes) => {
          const block = Buffer.from(codec.compress(plain));
          for (const [at, byte] of changes) if (block.length > 0) block[at % block.length] = byte;
          kindOf(() => expect(codec.decompress(block, 200_000).length).toBeLessThanOrEqual(200_000));
        },
      ),
      { numRuns: 300 },
    );
  });

  test("noise gives a CompressionFailure", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 500 }), (noise) => {
        kindOf(() => codec.decompress(noise, 100_000));
      }),
      { numRuns: 500 },
    );
  });
});

describe("native and pure", () => {
  test.for(["snappy", "lz4"] as const)(
    "%s: either reads what the other writes, and both judge broken bytes alike",
    (name) => {
      const native = implementations[name];
      const pure = implementations[`${name}, pure`];
      fc.assert(
        fc.property(
          compressible,
          fc.boolean(),
          fc.array(fc.tuple(fc.nat(100_000), fc.nat(255)), { maxLength: 2 }),
          (plain, isPure, changes) => {
            const block = Buffer.from((isPure ? pure : native).compress(plain));
            for (const [at, byte] of changes) if (block.length > 0) block[at % block.length] = byte;
            const outcomes = [native, pure].map((codec) => {
              let out: Buffer | null = null;
              const kind = kindOf(() => (out = codec.decompress(block, 500_000)));
              return out ?? kind;
            });
            expect(outcomes[0]).toEqual(outcomes[1]);
            if (changes.length === 0) expect(outcomes[0]).toEqual(plain);
          },
        ),
        { numRuns: 500 },
      );
    },
  );
});

describe("Snappy framing", () => {
  const codec = snappyCodec();
  const raw = Buffer.from([5, 4 << 2, 0x68, 0x65, 0x6c, 0x6c, 0x6f]);
  const header = Buffer.from("82534e41505059000000000100000001", "hex");
  const length = (bytes: number): Buffer => {
    const out = Buffer.alloc(4);
    out.writeInt32BE(bytes);
    return out;
  };

  test("one raw block, framed blocks, and streams behind one another are read", () => {
    const framed = Buffer.concat([header, length(raw.length), raw, length(raw.length), raw]);
    expect(codec.decompress(raw, 100).toString()).toBe("hello");
    expect(codec.decompress(framed, 100).toString()).toBe("hellohello");
    expect(codec.decompress(Buffer.concat([framed, framed]), 100).toString()).toBe("hellohellohellohello");
    expect(codec.decompress(header, 100)).toHaveLength(0);
  });

  test("the framing is what we write", () => {
    expect(codec.compress(Buffer.from("hello")).subarray(0, 16).equals(header)).toBe(true);
  });

  test.for([
    ["a block past the stream", Buffer.concat([header, length(raw.length + 1), raw])],
    ["a negative length", Buffer.concat([header, length(-5), raw])],
    ["half a length", Buffer.concat([header, Buffer.from([0, 0])])],
    ["a claim that Snappy cannot reach", Buffer.from([0xff, 0xff, 0xff, 0x7f, 0, 0])],
    ["a length without an end", Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff])],
    ["less than it claims", Buffer.from([6, ...raw.subarray(1)])],
    ["more than it claims", Buffer.from([4, ...raw.subarray(1)])],
    ["a copy from before the start", Buffer.from([8, 0, 0x61, (3 << 2) | 2, 9, 0])],
    ["a copy from nowhere", Buffer.from([8, 0, 0x61, (3 << 2) | 2, 0, 0])],
    ["nothing", Buffer.alloc(0)],
  ] as const)("%s is bad data", ([, bytes]) => {
    expect(kindOf(() => codec.decompress(bytes, 1_000_000_000))).toBe("bad-data");
    expect(kindOf(() => implementations.snappy.decompress(bytes, 1_000_000_000))).toBe("bad-data");
  });
});

describe("LZ4 framing", () => {
  const codec = lz4Codec();
  /** "hello" as one uncompressed block in a frame with these descriptor bytes. */
  const frame = (
    descriptor: readonly number[],
    body: readonly number[] = [5, 0, 0, 0x80, ...Buffer.from("hello"), 0, 0, 0, 0],
  ): Buffer => {
    const checksum = (xxhash32(Buffer.from(descriptor)) >>> 8) & 0xff;
    return Buffer.from([0x04, 0x22, 0x4d, 0x18, ...descriptor, checksum, ...body]);
  };

  test("xxHash of known inputs", () => {
    expect(xxhash32(Buffer.from(""))).toBe(0x02cc5d05);
    expect(xxhash32(Buffer.from("a"))).toBe(0x550d7456);
    expect(xxhash32(Buffer.from("abc"))).toBe(0x32d153ff);
    expect(xxhash32(Buffer.from("Nobody inspects the spammish repetition"))).toBe(0xe2293b2f);
  });

  test("we write what Kafka's clients write: version 1, independent blocks of 64 KiB", () => {
    expect(codec.compress(Buffer.from("hello")).subarray(0, 7).toString("hex")).toBe("04224d18604082");
  });

  test("every block size, an uncompressed block, a content size are read; bytes after the end mark are not", () => {
    for (const code of [4, 5, 6, 7]) expect(codec.decompress(frame([0x60, code << 4]), 100).toString()).toBe("hello");
    expect(codec.decompress(frame([0x68, 0x40, 5, 0, 0, 0, 0, 0, 0, 0]), 100).toString()).toBe("hello");
    expect(codec.decompress(Buffer.concat([frame([0x60, 0x40]), Buffer.from("rest")]), 100).toString()).toBe("hello");
  });

  const wrongChecksum = frame([0x60, 0x40]);
  wrongChecksum[6]! ^= 1;
  test.for([
    ["no magic", Buffer.from("hello, this is no frame")],
    ["a wrong header checksum", wrongChecksum],
    ["version 2", frame([0xa0, 0x40])],
    ["a dictionary", frame([0x61, 0x40, 1, 0, 0, 0])],
    ["a reserved flag", frame([0x62, 0x40])],
    ["a reserved bit", frame([0x60, 0xc0])],
    ["block size 3", frame([0x60, 0x30])],
    ["no end mark", frame([0x60, 0x40], [5, 0, 0, 0x80, ...Buffer.from("hello")])],
    ["a block longer than blocks may be", frame([0x60, 0x40], [1, 0, 1, 0x80, ...Buffer.alloc(65_537), 0, 0, 0, 0])],
    ["a wrong block checksum", frame([0x70, 0x40], [5, 0, 0, 0x80, ...Buffer.from("hello"), 1, 2, 3, 4, 0, 0, 0, 0])],
    ["a wrong content checksum", frame([0x64, 0x40], [5, 0, 0, 0x80, ...Buffer.from("hello"), 0, 0, 0, 0, 1, 2, 3, 4])],
    [
      "a block that becomes longer than blocks may",
      frame([0x60, 0x40], [...lengthOf(262), 0x1f, 0x61, 1, 0, ...Buffer.alloc(257, 0xff), 0, 0, 0, 0, 0]),
    ],
    ["a match from before the start", frame([0x60, 0x40], [6, 0, 0, 0, 0x10, 0x61, 5, 0, 0x10, 0x61, 0, 0, 0, 0])],
    ["a match of distance 0", frame([0x60, 0x40], [6, 0, 0, 0, 0x10, 0x61, 0, 0, 0x10, 0x61, 0, 0, 0, 0])],
  ] as const)("%s is bad data", ([, bytes]) => {
    expect(kindOf(() => codec.decompress(bytes, 10_000_000))).toBe("bad-data");
    expect(kindOf(() => implementations.lz4.decompress(bytes, 10_000_000))).toBe("bad-data");
  });

  function lengthOf(bytes: number): number[] {
    return [bytes & 0xff, bytes >>> 8, 0, 0];
  }
});

test.for(cases)(
  "%s: released memory is free at once, and what was packed stays",
  ([, { compress: pack, decompress: unpack }]) => {
    for (const sizeBytes of [0, 1, 60_000, 200_000]) {
      const packed = pack(Buffer.alloc(sizeBytes, "millrace "));
      const before = Buffer.from(packed);
      const plain = unpack(packed, 1_000_000);
      expect(plain.length).toBe(sizeBytes);
      const isItsOwn = plain.length === plain.buffer.byteLength;
      releaseDecompressed(plain, packed);
      if (sizeBytes > 0) expect(plain.length).toBe(isItsOwn ? 0 : sizeBytes);
      expect(packed).toEqual(before);
    }
  },
);

test("a view of what was packed is not released", () => {
  const packed = Buffer.alloc(100);
  releaseDecompressed(packed, packed);
  releaseDecompressed(packed.subarray(10), packed);
  expect(packed.length).toBe(100);
});

test("only Kafka's codecs exist", () => {
  expect([0, 1, 2, 3, 4].every(isCompressionInstalled)).toBe(true);
  expect(isCompressionInstalled(5)).toBe(false);
  expect(kindOf(() => decompress(5, Buffer.alloc(1), 10))).toBe("unknown-codec");
  expect(kindOf(() => decompress(0, Buffer.alloc(11), 10))).toBe("too-large");
});
