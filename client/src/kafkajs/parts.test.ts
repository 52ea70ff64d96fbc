import { SeededRandom } from "@millrace/simulator/seeded-random";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { expect, test } from "vitest";
import { brokerError, KafkaError } from "../errors.ts";
import { AssignerProtocol } from "./assigner-protocol.ts";
import { tlsOf } from "./connecting.ts";
import { logLevel } from "./enums.ts";
import { asKafkaJSError, finalError } from "./error-mapping.ts";
import {
  KafkaJSConnectionError,
  KafkaJSError,
  KafkaJSNonRetriableError,
  KafkaJSNumberOfRetriesExceeded,
  KafkaJSProtocolError,
  KafkaJSRequestTimeoutError,
  KafkaJSSASLAuthenticationError,
} from "./errors.ts";
import { createLogger } from "./logger.ts";
import type { LogEntry } from "./logger.ts";
import { lossyMurmur2, Partitioners } from "./partitioners.ts";
import { Pauses } from "./pauses.ts";
import { ResolvedOffsets, topicOffsets } from "./resolved-offsets.ts";
import { lastPauseMs, pausesMsSum, RetryPauses, retrySettings } from "./retry.ts";
import { Warnings } from "./warnings.ts";

const at = (partition: number) => ({ topic: "t", partition });

test("pauses of topics and of partitions", () => {
  const pauses = new Pauses();
  const all = [0, 1, 2].map(at);
  const paused = (): number[] => pauses.of(all).flatMap(({ partitions }) => partitions);
  pauses.set([{ topic: "t", partitions: [1] }], true);
  expect(paused()).toEqual([1]);
  pauses.set([{ topic: "t" }], true);
  expect(paused()).toEqual([0, 1, 2]);
  pauses.set([{ topic: "t", partitions: [2] }], false);
  expect(paused()).toEqual([0, 1]);
  pauses.set([{ topic: "t", partitions: [2] }], true);
  expect(paused()).toEqual([0, 1, 2]);
  pauses.set([{ topic: "t" }], false);
  expect(paused()).toEqual([]);
  expect(pauses.isPaused({ topic: "other", partition: 0 })).toBe(false);
});

test("offsets that are resolved, and what of them is committed", () => {
  const offsets = new ResolvedOffsets();
  offsets.begin(at(0), { offset: 10, committed: -1 });
  offsets.begin(at(1), { offset: 5, committed: 5 });
  expect(offsets.uncommitted()).toEqual([]);
  offsets.resolve(at(0), { nextOffset: 13, epoch: 2 });
  offsets.resolve(at(1), { nextOffset: 6, epoch: -1 });
  expect(offsets.uncommittedCount).toBe(4);
  expect(topicOffsets(offsets.uncommitted())).toEqual([
    {
      topic: "t",
      partitions: [
        { partition: 0, offset: "13" },
        { partition: 1, offset: "6" },
      ],
    },
  ]);
  offsets.committed([{ ...at(0), offset: 13 }]);
  expect(offsets.uncommitted()).toEqual([{ ...at(1), offset: 6, leaderEpoch: -1 }]);
  expect(offsets.uncommitted([at(0)])).toEqual([]);
  offsets.forget(at(1));
  expect(offsets.uncommittedCount).toBe(0);
  expect(offsets.nextOffset(at(1))).toBe(-1);
});

test("pauses between tries grow, with some chance, up to a limit", () => {
  const settings = retrySettings({ retries: 8, initialRetryTime: 100, maxRetryTime: 1_000 }, undefined);
  const pauses = new RetryPauses(settings, new SeededRandom(7));
  const taken = Array.from({ length: 8 }, () => pauses.next());
  expect(taken[0]).toBeGreaterThanOrEqual(80);
  expect(taken[0]).toBeLessThanOrEqual(120);
  expect(Math.max(...taken)).toBe(1_000);
  expect(taken.slice(1, 3).every((ms, index) => ms > (taken[index] ?? 0))).toBe(true);
  expect(pausesMsSum(retrySettings({ retries: 5 }))).toBe(300 + 600 + 1_200 + 2_400 + 4_800);
  expect(pausesMsSum(retrySettings({ retries: 7, maxRetryTime: 1_000 }))).toBe(300 + 600 + 5 * 1_000);
  expect(pausesMsSum(retrySettings({ retries: Number.MAX_SAFE_INTEGER }))).toBe(2_147_483_647);
  expect(lastPauseMs(retrySettings({ retries: 0 }))).toBe(300);
  expect(retrySettings({ retries: 3 }, { retries: 9 }).retries).toBe(9);
});

test.for([
  [brokerError(ErrorCode.NOT_LEADER_OR_FOLLOWER, "x"), KafkaJSProtocolError, "NOT_LEADER_FOR_PARTITION", 6],
  [brokerError(ErrorCode.COORDINATOR_NOT_AVAILABLE, "x"), KafkaJSProtocolError, "GROUP_COORDINATOR_NOT_AVAILABLE", 15],
  [brokerError(ErrorCode.UNKNOWN_SERVER_ERROR, "x"), KafkaJSProtocolError, "UNKNOWN", -1],
  [brokerError(ErrorCode.INVALID_CONFIG, "x", null, { broker: "b:1" }), KafkaJSProtocolError, "INVALID_CONFIG", 40],
  [new KafkaError("INVALID_CONFIG", "of the program"), KafkaJSNonRetriableError, undefined, undefined],
  [
    new KafkaError("REQUEST_TIMED_OUT", "x", { broker: "b:1", retriable: true }),
    KafkaJSRequestTimeoutError,
    undefined,
    undefined,
  ],
  [new KafkaError("SASL_AUTHENTICATION_FAILED", "x"), KafkaJSSASLAuthenticationError, undefined, undefined],
  [new KafkaError("CLOSED", "x"), KafkaJSNonRetriableError, undefined, undefined],
] as const)("%s is shown as KafkaJS would", ([error, kind, type, code]) => {
  const shown = asKafkaJSError(error) as KafkaJSProtocolError;
  expect(shown).toBeInstanceOf(kind);
  expect(shown.name).toBe(kind.name);
  expect(shown.message).toBe(error.message);
  expect(shown.cause).toBe(error);
  expect([shown.type, shown.code]).toEqual([type, code]);
});

test("what was tried again to no avail has the last failure as its cause", () => {
  const refused = Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });
  const lost = new KafkaError("NOT_CONNECTED", "b:1 cannot be reached", {
    retriable: true,
    broker: "b:1",
    cause: refused,
  });
  const late = new KafkaError("TIMED_OUT", "no success", { retriable: true, cause: lost });
  const error = finalError(late, retrySettings({ retries: 2, factor: 0 })) as KafkaJSNumberOfRetriesExceeded;
  expect(error).toBeInstanceOf(KafkaJSNumberOfRetriesExceeded);
  expect(error).toMatchObject({ retriable: false, retryCount: 2, retryTime: 600 });
  expect(error.cause).toBeInstanceOf(KafkaJSConnectionError);
  expect(error.cause).toMatchObject({ code: "ECONNREFUSED", broker: "b:1" });
  const own = new Error("of the program");
  expect(finalError(own, retrySettings())).toBe(own);
  expect(new KafkaJSError("text").retriable).toBe(true);
});

test("keys lie where Java's clients, and where KafkaJS 1 put them", () => {
  // Of Apache Kafka's own tests of its murmur2.
  const metadata = Array.from({ length: 10 }, (_, partitionId) => ({
    partitionErrorCode: 0,
    partitionId,
    leader: 1,
    replicas: [],
    isr: [],
  }));
  const choose = Partitioners.DefaultPartitioner();
  const partitionOf = (key: string): number =>
    choose({ topic: "t", partitionMetadata: metadata, message: { key, value: "" } });
  expect(["21", "foobar", "a-little-bit-long-string"].map(partitionOf)).toEqual(
    [-973932308, -790332482, -985981536].map((hash) => (hash & 0x7fffffff) % 10),
  );
  // Read off KafkaJS 2.2.4.
  const keys = ["", "a", "ab", "abc", "abcd", "a longer key", "ключ"];
  expect(keys.map((key) => lossyMurmur2(Buffer.from(key)))).toEqual(legacyHashes);
});

const legacyHashes: readonly number[] = [
  275646684, -809885833, -1686076413, 1545667907, -2139815384, 1407351109, 1321446022,
];

test("keyless messages go to the partitions in turns, past those without a leader", () => {
  const metadata = [1, -1, 1].map((leader, partitionId) => ({
    partitionErrorCode: 0,
    partitionId,
    leader,
    replicas: [],
    isr: [],
  }));
  const choose = Partitioners.DefaultPartitioner();
  const taken = Array.from({ length: 6 }, () =>
    choose({ topic: "t", partitionMetadata: metadata, message: { value: "" } }),
  );
  expect(taken.filter((partition) => partition === 0)).toHaveLength(3);
  expect(taken.filter((partition) => partition === 2)).toHaveLength(3);
  expect(taken[0]).not.toBe(taken[1]);
});

test("loggers: levels, names, and a level that is forced from outside", () => {
  const entries: LogEntry[] = [];
  const make = (forcedLevel?: string) =>
    createLogger({
      level: logLevel.WARN,
      logCreator: () => (entry) => void entries.push(entry),
      clock: { now: () => 0 as never },
      ...(forcedLevel === undefined ? {} : { forcedLevel }),
    });
  const logger = make();
  logger.info("no");
  logger.namespace("Part").warn("yes", { a: 1 });
  logger.setLogLevel(logLevel.DEBUG);
  logger.debug("now");
  make("error").warn("no");
  make("nonsense").warn("as set");
  expect(entries.map(({ namespace, label, log }) => [namespace, label, log.message])).toEqual([
    ["Part", "WARN", "yes"],
    [undefined, "DEBUG", "now"],
    [undefined, "WARN", "as set"],
  ]);
  expect(entries[0]?.log).toEqual({ timestamp: "1970-01-01T00:00:00.000Z", logger: "kafkajs", message: "yes", a: 1 });
});

test("what a member says of itself and is given, as bytes", () => {
  const { MemberMetadata, MemberAssignment } = AssignerProtocol;
  const metadata = MemberMetadata.encode({ version: 1, topics: ["a", "b"] });
  expect(metadata.toString("hex")).toBe("00010000000200016100016200000000");
  expect(MemberMetadata.decode(metadata)).toEqual({ version: 1, topics: ["a", "b"], userData: Buffer.alloc(0) });
  const assignment = MemberAssignment.encode({ version: 0, assignment: { a: [0, 3] }, userData: Buffer.from("u") });
  expect(MemberAssignment.decode(assignment)).toEqual({
    version: 0,
    assignment: { a: [0, 3] },
    userData: Buffer.from("u"),
  });
  expect(MemberAssignment.decode(Buffer.alloc(0))).toBeNull();
});

test("TLS options that are not used are said", () => {
  const said: string[] = [];
  const logger = { warn: (message: string) => void said.push(message) };
  const warnings = new Warnings(logger as never);
  expect(tlsOf(false, warnings)).toBeNull();
  expect(tlsOf(true, warnings)).toEqual({});
  const options = { ca: "pem", servername: "kafka", ciphers: "x", rejectUnauthorized: false };
  expect(tlsOf(options, warnings)).toEqual({ ca: "pem", serverName: "kafka", rejectUnauthorized: false });
  expect(said).toHaveLength(1);
  expect(said[0]).toContain('"ciphers"');
});
