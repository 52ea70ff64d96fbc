import { describe, expect, test } from "vitest";
import { topicKeys } from "./topic-keys.ts";
import type { ConfigKey } from "./key.ts";
import { doubleText, parseValue, splitList } from "./value.ts";

function parse(name: keyof typeof topicKeys, text: string): unknown {
  const parsed = parseValue(name, topicKeys[name], text);
  return parsed.ok ? parsed.value : parsed.message;
}

test.for([
  ["retention.ms", " 1000 ", 1000, "1000"],
  ["retention.ms", "+55", 55, "55"],
  ["retention.ms", "007", 7, "7"],
  ["retention.ms", "-1", -1, "-1"],
  ["flush.messages", "9223372036854775807", Number.MAX_SAFE_INTEGER, "9223372036854775807"],
  ["retention.bytes", "-9223372036854775808", Number.MIN_SAFE_INTEGER, "-9223372036854775808"],
  ["segment.bytes", "1048576", 1_048_576, "1048576"],
  ["compression.gzip.level", "-1", -1, "-1"],
  ["min.cleanable.dirty.ratio", "5e-1", 0.5, "0.5"],
  ["min.cleanable.dirty.ratio", "1", 1, "1.0"],
  ["preallocate", " TRUE ", true, "true"],
  ["compression.type", " zstd ", "zstd", "zstd"],
  ["cleanup.policy", "compact , delete", ["compact", "delete"], "compact,delete"],
  ["cleanup.policy", "", [], ""],
  ["cleanup.policy", "delete,delete", ["delete", "delete"], "delete,delete"],
  ["leader.replication.throttled.replicas", "*", ["*"], "*"],
  ["leader.replication.throttled.replicas", "0:1,1:2", ["0:1", "1:2"], "0:1,1:2"],
  ["leader.replication.throttled.replicas", "", [], ""],
] as const)("%s=%j is %j", ([name, text, value, shown]) => {
  expect(parse(name, text)).toEqual({ value, text: shown });
});

describe("a value that is not valid is refused with Kafka's words", () => {
  test.for([
    ["retention.ms", "abc", "Invalid value abc for configuration retention.ms: Not a number of type LONG"],
    ["retention.ms", "", "Invalid value  for configuration retention.ms: Not a number of type LONG"],
    ["retention.ms", "1.5", "Invalid value 1.5 for configuration retention.ms: Not a number of type LONG"],
    ["retention.ms", "0x10", "Invalid value 0x10 for configuration retention.ms: Not a number of type LONG"],
    ["retention.ms", "1_000", "Invalid value 1_000 for configuration retention.ms: Not a number of type LONG"],
    [
      "retention.ms",
      "9223372036854775808",
      "Invalid value 9223372036854775808 for configuration retention.ms: Not a number of type LONG",
    ],
    [
      "segment.bytes",
      "3000000000",
      "Invalid value 3000000000 for configuration segment.bytes: Not a number of type INT",
    ],
    ["segment.bytes", "1", "Invalid value 1 for configuration segment.bytes: Value must be at least 1048576"],
    [
      "min.cleanable.dirty.ratio",
      "1.5",
      "Invalid value 1.5 for configuration min.cleanable.dirty.ratio: Value must be no more than 1",
    ],
    [
      "min.cleanable.dirty.ratio",
      "x",
      "Invalid value x for configuration min.cleanable.dirty.ratio: Not a number of type DOUBLE",
    ],
    [
      "compression.gzip.level",
      "0",
      "Invalid value 0 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1",
    ],
    [
      "preallocate",
      "maybe",
      "Invalid value maybe for configuration preallocate: Expected value to be either true or false",
    ],
    [
      "compression.type",
      "foo",
      "Invalid value foo for configuration compression.type: String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer",
    ],
    [
      "cleanup.policy",
      "foo",
      "Invalid value foo for configuration cleanup.policy: String must be one of: compact, delete",
    ],
    ["cleanup.policy", "compact,,delete", "Configuration 'cleanup.policy' values must not be empty."],
    [
      "leader.replication.throttled.replicas",
      "abc",
      "Invalid value [abc] for configuration leader.replication.throttled.replicas: leader.replication.throttled.replicas must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...",
    ],
  ] as const)("%s=%j", ([name, text, message]) => {
    expect(parse(name, text)).toBe(message);
  });
});

test("a short has its own bounds, a password keeps its blanks", () => {
  const short: ConfigKey = { kind: "short", default: 1, doc: "" };
  expect(parseValue("s", short, "32767")).toMatchObject({ ok: true });
  expect(parseValue("s", short, "32768")).toMatchObject({ message: expect.stringContaining("type SHORT") as string });
  const password: ConfigKey = { kind: "password", default: null, doc: "" };
  expect(parseValue("p", password, " a b ")).toEqual({ ok: true, value: { value: " a b ", text: " a b " } });
});

test.for([
  ["client_id=.*", true],
  ["client_software_name=apache, client_id=a.*", true],
  ["foo=b", false],
  ["client_id", false],
  ["client_id=[", false],
] as const)("a client match %j: %j", ([text, isValid]) => {
  const key: ConfigKey = { kind: "list", default: [], form: "client-match", doc: "" };
  expect(parseValue("match", key, text).ok).toBe(isValid);
});

test("doubles are written as Java writes them", () => {
  expect([0, 0.5, 1, 1234.5, 1e7, 0.0001, Number.MAX_VALUE].map(doubleText)).toEqual([
    "0.0",
    "0.5",
    "1.0",
    "1234.5",
    "1.0E7",
    "1.0E-4",
    "1.7976931348623157E308",
  ]);
});

test("a list is cut at its commas", () => {
  expect(splitList(" a , b,c ")).toEqual(["a", "b", "c"]);
  expect(splitList("  ")).toEqual([]);
});
