import { Packr } from "msgpackr";
import fc from "fast-check";
import type { Entry, Message } from "raft-ts-lite";
import { describe, expect, test } from "vitest";
import { decodeMessage, encodeMessage } from "./raft-frames.ts";

const seed = Number(process.env["SEED"] ?? fc.sample(fc.noBias(fc.nat()), 1)[0]);
const packr = new Packr({ useRecords: false, variableMapSize: true });
const head = { from: "1:AAAAAAAAAAAAAAAAAAAAAQ", to: "2:AAAAAAAAAAAAAAAAAAAAAg", term: 7 };

// --- Any message ------------------------------------------------------------------------------------------------------------

const whole = fc.oneof(
  fc.nat(),
  fc.maxSafeNat(),
  fc.constantFrom(0, 127, 128, 255, 256, 65_535, 65_536, 2 ** 32, 2 ** 53 - 1),
);
const nodeId = fc.string({ minLength: 1, maxLength: 60, unit: "grapheme-ascii" });
const bytes = fc.uint8Array({ maxLength: 400 }).map((array) => Buffer.from(array));
const voters = fc.uniqueArray(nodeId, { minLength: 1, maxLength: 7 });
const configuration = voters.map((names) => ({ voters: names }));

/** Entries that follow each other. */
const append = fc
  .record({
    prevIndex: fc.nat(),
    prevTerm: fc.nat(1_000),
    commitIndex: whole,
    steps: fc.array(fc.record({ climb: fc.nat(2), body: fc.oneof(fc.constant(null), bytes, configuration) }), {
      maxLength: 40,
    }),
    ahead: fc.nat(5),
  })
  .map(({ prevIndex, prevTerm, commitIndex, steps, ahead }) => {
    let term = prevTerm;
    const entries = steps.map(({ climb, body }, at): Entry => {
      term += climb;
      const place = { index: prevIndex + 1 + at, term };
      if (body === null) return { kind: "empty", ...place };
      return Buffer.isBuffer(body)
        ? { kind: "data", ...place, data: body }
        : { kind: "configuration", ...place, configuration: body };
    });
    return { kind: "append", prevIndex, prevTerm, commitIndex, entries, term: term + ahead } as const;
  });

const outcome = fc.oneof(
  fc.record({ isTaken: fc.constant(true as const), matchIndex: whole }),
  fc.record({ isTaken: fc.constant(false as const), prevIndex: whole, hintIndex: whole, hintTerm: whole }),
);
const chunk = fc.record({ index: whole, term: whole, configuration, offset: whole, data: bytes, isLast: fc.boolean() });

function kind<K extends string, Fields extends object>(
  name: K,
  fields: { readonly [Name in keyof Fields]: fc.Arbitrary<Fields[Name]> },
): fc.Arbitrary<{ readonly kind: K; readonly term: number } & Fields> {
  return fc.record({ kind: fc.constant(name), term: whole, ...fields }) as never;
}

const withoutEnds = fc.oneof(
  append,
  kind("pre-vote", { lastIndex: whole, lastTerm: whole }),
  kind("pre-vote-answer", { isGranted: fc.boolean() }),
  kind("vote", { lastIndex: whole, lastTerm: whole, isTransfer: fc.boolean() }),
  kind("vote-answer", { isGranted: fc.boolean() }),
  kind("append-answer", { outcome }),
  kind("heartbeat", { commitIndex: whole, round: whole }),
  kind("heartbeat-answer", { round: whole }),
  kind("snapshot", { chunk }),
  kind("snapshot-answer", { index: whole, nextOffset: whole }),
  kind("time-out-now", {}),
  kind("join", { lastIndex: whole, isPassedOn: fc.boolean() }),
  kind("read", { token: whole }),
  kind("read-answer", { token: whole, index: fc.option(whole) }),
  kind("recover", { token: whole, lastIndex: whole }),
  kind("recover-answer", { token: whole, endIndex: whole }),
);
const message = fc
  .record({ from: nodeId, to: nodeId, rest: withoutEnds })
  .map(({ from, to, rest }): Message => ({ ...rest, from, to }));

describe(`any message (SEED=${seed})`, () => {
  test("is what it was", () => {
    fc.assert(
      fc.property(message, (sent) => {
        expect(decodeMessage(encodeMessage(sent))).toEqual({ ok: true, value: sent });
      }),
      { seed, numRuns: 1_000 },
    );
  });

  test("cut off anywhere, or with something behind it, it is none", () => {
    fc.assert(
      fc.property(message, fc.nat(), (sent, at) => {
        const frame = encodeMessage(sent);
        expect(decodeMessage(frame.subarray(0, at % frame.length))).toMatchObject({ failure: "malformed" });
        expect(decodeMessage(Buffer.concat([frame, Buffer.from([0xc0])]))).toMatchObject({ failure: "malformed" });
      }),
      { seed, numRuns: 1_000 },
    );
  });

  test("with other bytes in it, it is one that could have been sent, or none", () => {
    fc.assert(
      fc.property(message, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }), (sent, changes) => {
        const frame = Buffer.from(encodeMessage(sent));
        for (const [at, byte] of changes) frame[at % frame.length] = byte;
        const decoded = decodeMessage(frame);
        if (!decoded.ok) return;
        // Compared as text: a name that is not UTF-8 is another one when it is written again.
        expect(JSON.stringify(decodeMessage(encodeMessage(decoded.value)))).toBe(JSON.stringify(decoded));
      }),
      { seed, numRuns: 5_000 },
    );
  });
});

test(`random bytes are never more than a failure (SEED=${seed})`, () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (random, isVersioned) => {
      const frame = Buffer.from(random);
      if (isVersioned && frame.length > 0) frame[0] = 0;
      const decoded = decodeMessage(frame);
      if (decoded.ok) expect(decodeMessage(encodeMessage(decoded.value)).ok).toBe(true);
      else expect(decoded.failure).toBe("malformed");
    }),
    { seed, numRuns: 20_000 },
  );
});

// --- By example -------------------------------------------------------------------------------------------------------------

test("the bytes of a frame, for good", () => {
  const entries: Entry[] = [
    { kind: "empty", index: 5, term: 6 },
    { kind: "data", index: 6, term: 7, data: Buffer.from([1, 2, 3]) },
    { kind: "configuration", index: 7, term: 7, configuration: { voters: ["a", "b"] } },
  ];
  const frame = encodeMessage({
    kind: "append",
    from: "a",
    to: "b",
    term: 7,
    prevIndex: 4,
    prevTerm: 6,
    commitIndex: 4,
    entries,
  });
  expect(frame.toString("hex")).toBe(
    ["00", "9804a161a16207040604", "93", "93050600", "94060701c403010203", "9407070292a161a162"].join(""),
  );
  const vote = encodeMessage({
    kind: "vote",
    ...head,
    term: 2 ** 40,
    lastIndex: 70_000,
    lastTerm: 200,
    isTransfer: true,
  });
  expect(vote.subarray(0, 3).toString("hex")).toBe("009702");
  expect(vote.subarray(-17).toString("hex")).toBe(["cb4270000000000000", "ce00011170", "ccc8", "c3"].join(""));
});

test("data are views of the frame", () => {
  const data = Buffer.alloc(10_000, 7);
  const entries: Entry[] = [{ kind: "data", index: 1, term: 1, data }];
  const frame = encodeMessage({ kind: "append", ...head, prevIndex: 0, prevTerm: 0, commitIndex: 0, entries });
  const decoded = decodeMessage(frame);
  if (!decoded.ok || decoded.value.kind !== "append") throw new Error("not an append");
  const [entry] = decoded.value.entries;
  expect(entry?.kind === "data" && entry.data.buffer === frame.buffer).toBe(true);
});

describe("refused", () => {
  const framed = (...values: readonly unknown[]): Buffer => Buffer.concat([Buffer.from([0]), packr.pack(values)]);
  const { from, to, term } = head;
  const appended = (entries: unknown, prevIndex = 4): Buffer => framed(4, from, to, term, prevIndex, 6, 4, entries);

  test.for<readonly [string, Buffer]>([
    ["nothing", Buffer.alloc(0)],
    ["another version", Buffer.concat([Buffer.from([1]), packr.pack([10, from, to, term])])],
    ["a map", Buffer.concat([Buffer.from([0]), packr.pack({ from })])],
    ["an unknown kind", framed(14, from, to, term)],
    ["a value too many", framed(10, from, to, term, 1)],
    ["a value too few", framed(7, from, to, term)],
    ["a node without a name", framed(10, "", to, term)],
    ["a name that is a number", framed(10, 1, to, term)],
    ["a name beyond all measure", framed(10, "x".repeat(256), to, term)],
    ["a negative number", framed(12, from, to, term, -1)],
    ["a fraction", framed(12, from, to, term, 1.5)],
    ["a number that is none", framed(12, from, to, term, Number.NaN)],
    ["a number beyond what is safe", framed(12, from, to, term, 2 ** 53)],
    ["a text for a number", framed(12, from, to, term, "1")],
    ["a number for a boolean", framed(3, from, to, term, 1)],
    ["null for a number", framed(12, from, to, term, null)],
    ["an entry that leaves a gap", appended([[6, 7, 0]])],
    ["an entry of a term before the one before it", appended([[5, 5, 0]])],
    ["an entry of a term beyond the leader's", appended([[5, 8, 0]])],
    ["an entry of an unknown kind", appended([[5, 7, 3]])],
    ["data without bytes", appended([[5, 7, 1]])],
    ["data that is a text", appended([[5, 7, 1, "text"]])],
    ["a configuration of nobody", appended([[5, 7, 2, []]])],
    ["a voter twice", appended([[5, 7, 2, ["a", "a"]]])],
    ["entries that are none", appended(7)],
    ["an outcome of another length", framed(5, from, to, term, [true, 1, 2])],
    ["an array of four billion", Buffer.from("00ddffffffff", "hex")],
    [
      "bytes of four billion",
      Buffer.concat([appended([]).subarray(0, -1), Buffer.from("9194050701c6ffffffff", "hex")]),
    ],
    ["an error that names a function", Buffer.concat([Buffer.from([0]), packr.pack(new Error("text"))])],
    ["a date", framed(12, from, to, term, new Date(0))],
  ])("%s", ([, frame]) => {
    expect(decodeMessage(frame)).toMatchObject({ failure: "malformed" });
  });

  test("a million entries in a frame are not made into objects", () => {
    const count = 1_000_000;
    const frame = Buffer.concat([
      appended([]).subarray(0, -1),
      Buffer.from([0xdd, 0, 0x0f, 0x42, 0x40]),
      Buffer.alloc(4 * count, Buffer.from([0x93, 0x05, 0x07, 0x00])),
    ]);
    expect(decodeMessage(frame)).toMatchObject({
      failure: "malformed",
      message: expect.stringContaining("1000000 entries"),
    });
  });
});
