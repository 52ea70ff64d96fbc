import { readFileSync, writeFileSync } from "node:fs";
import type { Inability } from "./contract.ts";

/** What one record says, apart from its place: this is what must come back byte for byte. */
export interface SampleRecord {
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly (readonly [name: string, value: Buffer | null])[];
  readonly timestamp: number;
}

export interface ConsumedRecord extends SampleRecord {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
}

/** The same seed gives the same records, but for their timestamps, which lie in the last hour. */
export interface SampleOptions {
  readonly count: number;
  readonly seed: number;
  readonly without?: readonly Inability[];
}

/**
 * Records as awkward as the protocol allows: null and empty keys and values, no headers and several, header values
 * that are null, empty or not ASCII, a header twice, timestamps out of order, values from 0 bytes to 4 KiB.
 */
export function sampleRecords({ count, seed, without = [] }: SampleOptions): SampleRecord[] {
  const random = generator(seed);
  // In the past, since the broker refuses the future; not long past, since retention would take it.
  const firstMs = Date.now() - 3_600_000;
  const nothing = without.includes("null-key-and-value") ? Buffer.alloc(0) : null;
  return Array.from({ length: count }, (_, index) => {
    const key = sampleKey(random);
    return {
      key,
      value: sampleValue(random, index) ?? (key === null ? nothing : null),
      headers: sampleHeaders(random, without),
      timestamp: firstMs + index * 5 + Math.floor(random() * 50),
    };
  });
}

function sampleKey(random: () => number): Buffer | null {
  const kind = Math.floor(random() * 20);
  if (kind < 2) return null;
  if (kind === 2) return Buffer.alloc(0);
  if (kind === 3) return randomBytes(random, 1 + Math.floor(random() * 40));
  return Buffer.from(`order-${Math.floor(random() * 700)}${kind === 4 ? "-größe" : ""}`);
}

function sampleValue(random: () => number, index: number): Buffer | null {
  const kind = Math.floor(random() * 20);
  if (kind === 0) return null;
  if (kind === 1) return Buffer.alloc(0);
  if (kind === 2) return randomBytes(random, Math.floor(random() * 4096));
  const text = { id: index, state: "CREATED", product: "STOCKINGS", note: "z€".repeat(Math.floor(random() * 30)) };
  return Buffer.from(JSON.stringify(text));
}

function sampleHeaders(random: () => number, without: readonly Inability[]): [string, Buffer | null][] {
  const kind = Math.floor(random() * 4);
  if (kind === 0) return [];
  const headers: [string, Buffer | null][] = [["custom_field_1", Buffer.from("didáctica")]];
  if (kind === 1) return headers;
  if (!without.includes("null-header-value")) headers.push(["nothing", null]);
  headers.push(["empty", Buffer.alloc(0)], ["bytes", randomBytes(random, 6)]);
  if (kind === 2) return headers;
  headers.push(["größe", Buffer.from("µ")], ["trace", Buffer.from("1")], ["trace", Buffer.from("2")]);
  return headers;
}

/** mulberry32: small, and good enough for sample data. */
export function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function randomBytes(random: () => number, size: number): Buffer {
  return Buffer.from(Array.from({ length: size }, () => Math.floor(random() * 256)));
}

// --- As lines of JSON ------------------------------------------------------------------------------------------------

interface Line {
  readonly key: string | null;
  readonly value: string | null;
  readonly headers: readonly (readonly [string, string | null])[];
  readonly timestamp: number;
}

interface ConsumedLine extends Line {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
}

export function writeRecords(path: string, records: readonly SampleRecord[]): void {
  writeFileSync(path, records.map((record) => `${JSON.stringify(lineOf(record))}\n`).join(""));
}

export function readConsumed(path: string): ConsumedRecord[] {
  const lines = readFileSync(path, "utf8").split("\n");
  return lines
    .filter((line) => line !== "")
    .map((line) => {
      const { topic, partition, offset } = JSON.parse(line) as ConsumedLine;
      return { ...decodeRecord(line), topic, partition, offset };
    });
}

export function decodeRecord(line: string): SampleRecord {
  const { key, value, headers, timestamp } = JSON.parse(line) as Line;
  return {
    key: toBytes(key),
    value: toBytes(value),
    headers: headers.map(([name, header]) => [name, toBytes(header)]),
    timestamp,
  };
}

export function encodeConsumed(record: ConsumedRecord): string {
  const { topic, partition, offset } = record;
  return JSON.stringify({ topic, partition, offset, ...lineOf(record) });
}

function lineOf({ key, value, headers, timestamp }: SampleRecord): Line {
  return {
    key: toBase64(key),
    value: toBase64(value),
    headers: headers.map(([name, header]) => [name, toBase64(header)]),
    timestamp,
  };
}

function toBytes(text: string | null): Buffer | null {
  return text === null ? null : Buffer.from(text, "base64");
}

function toBase64(bytes: Buffer | null): string | null {
  return bytes === null ? null : bytes.toString("base64");
}
