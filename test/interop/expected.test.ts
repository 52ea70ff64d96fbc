import { expect, test } from "vitest";
import { ExpectedTopic } from "./expected.ts";
import { murmur2 } from "./murmur2.ts";
import { sampleRecords, type ConsumedRecord } from "./records.ts";

/** The comparison itself: a journey that could not fail would prove nothing. */
const records = sampleRecords({ count: 200, seed: 5 });
const partitionOf = (index: number): number => index % 3;

function written(): { readonly topic: ExpectedTopic; readonly log: readonly ConsumedRecord[] } {
  const topic = new ExpectedTopic("t");
  const acks = records.map((_, index) => [partitionOf(index), Math.floor(index / 3)] as const);
  topic.add(records, { acks });
  const log = records.map((record, index) => ({
    ...record,
    topic: "t",
    partition: partitionOf(index),
    offset: Math.floor(index / 3),
  }));
  return { topic, log };
}

/** What the wire may do to a record, each of which must be found. */
const faults: Readonly<Record<string, (log: ConsumedRecord[]) => ConsumedRecord[]>> = {
  "a lost record": (log) => log.filter((_, index) => index !== 20),
  "a lost last record": (log) => log.slice(0, -1),
  "a record that comes twice": (log) => [...log.slice(0, 21), ...log.slice(20)],
  "two records in the wrong order": (log) => log.with(20, log[23]!).with(23, log[20]!),
  "two records that changed places": (log) => {
    const [a, b] = [log[20]!, log[23]!];
    return log.with(20, { ...b, offset: a.offset }).with(23, { ...a, offset: b.offset });
  },
  "a changed byte of a value": (log) => log.with(20, { ...log[20]!, value: Buffer.from("other") }),
  "an empty value for a null": (log) => log.map((record) => ({ ...record, value: record.value ?? Buffer.alloc(0) })),
  "a null key for an empty one": (log) =>
    log.map((record) => ({ ...record, key: record.key?.length === 0 ? null : record.key })),
  "an empty header for a null": (log) =>
    log.map((record) => ({
      ...record,
      headers: record.headers.map(([name, value]) => [name, value ?? Buffer.alloc(0)] as const),
    })),
  "a lost header": (log) => log.map((record) => ({ ...record, headers: record.headers.slice(0, -1) })),
  "another timestamp": (log) => log.with(20, { ...log[20]!, timestamp: log[20]!.timestamp + 1 }),
};

test("what was written is accepted", () => {
  const { topic, log } = written();
  topic.checkComplete(topic.check(log));
});

test("what two members read, one after the other, is accepted", () => {
  const { topic, log } = written();
  const middle = topic.check(log.slice(0, 17));
  topic.checkComplete(topic.check(log.slice(17), middle));
});

test.for(Object.keys(faults))("%s is found", (name) => {
  const { topic, log } = written();
  expect(() => topic.checkComplete(topic.check(faults[name]!([...log])))).toThrow(/t-\d/);
});

test("murmur2 gives the values that Kafka's own tests expect", () => {
  const known = { "21": -973932308, foobar: -790332482, "a-little-bit-long-string": -985981536 };
  for (const [text, hash] of Object.entries(known)) expect(murmur2(Buffer.from(text))).toBe(hash);
});
