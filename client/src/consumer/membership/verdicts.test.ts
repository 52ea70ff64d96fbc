import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { expect, test } from "vitest";
import { brokerError, KafkaError } from "../../errors.ts";
import { asKafkaError, classicVerdict, consumerVerdict } from "./verdicts.ts";
import type { Verdict } from "./verdicts.ts";

const path = join(import.meta.dirname, "SPEC.md");
const codes = [
  "COORDINATOR_LOAD_IN_PROGRESS",
  "COORDINATOR_NOT_AVAILABLE",
  "NOT_COORDINATOR",
  "MEMBER_ID_REQUIRED",
  "REBALANCE_IN_PROGRESS",
  "ILLEGAL_GENERATION",
  "UNKNOWN_MEMBER_ID",
  "FENCED_INSTANCE_ID",
  "UNRELEASED_INSTANCE_ID",
  "FENCED_MEMBER_EPOCH",
  "STALE_MEMBER_EPOCH",
  "GROUP_ID_NOT_FOUND",
  "INCONSISTENT_GROUP_PROTOCOL",
  "GROUP_MAX_SIZE_REACHED",
  "GROUP_AUTHORIZATION_FAILED",
  "TOPIC_AUTHORIZATION_FAILED",
  "INVALID_SESSION_TIMEOUT",
  "UNSUPPORTED_ASSIGNOR",
  "INVALID_REGULAR_EXPRESSION",
  "UNSUPPORTED_VERSION",
  "REQUEST_TIMED_OUT",
] as const satisfies readonly (keyof typeof ErrorCode)[];

const requests: Readonly<Record<string, (error: KafkaError) => Verdict>> = {
  JoinGroup: (error) => classicVerdict("JoinGroup", error),
  SyncGroup: (error) => classicVerdict("SyncGroup", error),
  Heartbeat: (error) => classicVerdict("Heartbeat", error),
  "commit, classic": (error) => classicVerdict("OffsetCommit", error),
  "KIP-848 join": (error) => consumerVerdict("join", error),
  "KIP-848 heartbeat": (error) => consumerVerdict("heartbeat", error),
  "commit, KIP-848": (error) => consumerVerdict("OffsetCommit", error),
};

test("SPEC.md shows the verdicts", () => {
  const rows: string[][] = codes.map((code) => [
    code,
    ...Object.values(requests).map((of) => of(brokerError(ErrorCode[code], "x"))),
  ]);
  const lost = new KafkaError("NETWORK_EXCEPTION", "lost", { retriable: true });
  rows.push(["connection lost", ...Object.values(requests).map((of) => of(lost))]);
  const head = ["", ...Object.keys(requests)];
  const lines = [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`);
  const before = readFileSync(path, "utf8");
  const wanted = before.replace(
    /<!-- table -->[^]*<!-- \/table -->/,
    () => `<!-- table -->\n\n${lines.join("\n")}\n\n<!-- /table -->`,
  );
  if (process.env["REWRITE_SCRIPTS"] === "1") writeFileSync(path, wanted);
  expect(readFileSync(path, "utf8")).toBe(wanted);
});

test("what is no Kafka error is one of bytes that cannot be used", () => {
  expect(asKafkaError(new RangeError("too long"))).toMatchObject({ code: "CORRUPT_MESSAGE", retriable: false });
});
