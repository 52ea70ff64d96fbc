import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { Cluster } from "@millrace/client";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { clients } from "./clients.ts";
import { skipWhenMissing } from "./journey.ts";
import { ClientProgram } from "./program.ts";
import { repositoryRoot, whyMissing } from "./runtimes.ts";
import { Target } from "./target.ts";

/** Small segments, a cleaner that is always there, and files that go at once. */
const settings = {
  "log.segment.bytes": "1048576",
  "log.cleaner.backoff.ms": "200",
  "log.cleaner.min.cleanable.ratio": "0.01",
  "log.segment.delete.delay.ms": "0",
};

describe("compaction, judged by the tools of Apache Kafka 4.3.1", () => {
  const missing = whyMissing("java");
  let target: Target;
  let program: ClientProgram;

  beforeAll(async () => {
    if (missing !== null) return;
    target = await Target.start({ settings });
    program = ClientProgram.start(clients.java, target.address);
  });
  afterAll(async () => {
    await program?.[Symbol.asyncDispose]();
    await target?.[Symbol.asyncDispose]();
  });
  beforeEach((context) => skipWhenMissing(context, missing));

  const run = async (main: string, args: readonly string[]): Promise<string> => {
    const answer = (await program.call("tool", { main, args: [...args], stdin: "" })) as {
      readonly status: number;
      readonly stdout: string;
      readonly stderr: string;
    };
    expect(answer.status, `${main} ${args.join(" ")}\n${answer.stdout}${answer.stderr}`).toBe(0);
    return answer.stdout;
  };
  test(
    "LogCompactionTester finds what it wrote, without what was superseded or deleted",
    { timeout: 120_000 },
    async () => {
      const output = await run("org.apache.kafka.tools.LogCompactionTester", [
        "--bootstrap-server",
        target.address,
        "--messages",
        "100000",
        "--duplicates",
        "10",
        "--percent-deletes",
        "10",
        "--sleep",
        "1",
      ]);
      expect(output).toMatch(/Validated \d+ values, 0 mismatches/);
      const [, written, read] = /(\d+) rows of data produced, (\d+) rows of data consumed/.exec(output) ?? [];
      expect(Number(written)).toBe(100_000);
      // Or nothing was compacted, and nothing shown.
      expect(Number(read)).toBeLessThan(90_000);
      await target.stop();
      const complaints = /isvalid: false|corrupt|mismatch|not monotonic|Found timestamp|Index timestamp|exception/i;
      const directory = readdirSync(target.dataDirectory).find((name) => name.startsWith("log-cleaner-test-"));
      const files = readdirSync(join(target.dataDirectory, directory ?? ""))
        .filter((name) => /\.(log|index|timeindex|txnindex|snapshot)$/.test(name))
        .map((name) => join(target.dataDirectory, directory ?? "", name));
      const dumped = await run("org.apache.kafka.tools.DumpLogSegments", [
        "--deep-iteration",
        "--files",
        files.join(","),
      ]);
      const lines = dumped.split("\n");
      expect(lines.filter((line) => line.startsWith("| offset:")).length).toBeGreaterThan(1_000);
      expect(lines.filter((line) => complaints.test(line))).toEqual([]);
    },
  );
});

describe("compaction by hand", () => {
  test(
    "`millrace topic compact` has all of it compacted; a deleted key's bytes are nowhere on the disk",
    { timeout: 120_000 },
    async () => {
      await using target = await Target.start({
        name: "millrace",
        settings: {
          ...settings,
          "log.cleaner.min.cleanable.ratio": "1",
          "log.flush.offset.checkpoint.interval.ms": "200",
        },
      });
      await using cluster = new Cluster({ brokers: [target.address], clientId: "compaction" });
      const { topics } = cluster.admin();
      await topics.create({
        name: "customers",
        partitions: 1,
        config: { "cleanup.policy": "compact", "delete.retention.ms": "0" },
      });
      await topics.create({ name: "orders", partitions: 1 });
      const producer = cluster.producer();
      const send = async (key: string, value: string | null): Promise<void> => {
        await producer.send("customers", { key, value });
      };
      for (let person = 0; person < 20; person++) await send(`person-${person}`, `marker-of-${person}-end`);
      await send("person-7", null);
      await producer.close();
      const compact = async (topic: string): Promise<{ readonly status: number | null; readonly output: string }> => {
        const args = [
          "--conditions=source",
          "cli/millrace.js",
          "topic",
          "compact",
          topic,
          "--bootstrap",
          target.address,
        ];
        const child = spawn(process.execPath, args, { cwd: repositoryRoot });
        const [output, errors, status] = await Promise.all([
          text(child.stdout),
          text(child.stderr),
          new Promise<number | null>((resolve) => child.on("exit", resolve)),
        ]);
        return { status, output: output + errors };
      };
      const onDisk = (marker: string): boolean => {
        for (;;) {
          try {
            return readdirSync(target.dataDirectory, { recursive: true, withFileTypes: true }).some(
              (entry) => entry.isFile() && readFileSync(join(entry.parentPath, entry.name)).includes(marker),
            );
          } catch (error) {
            // A round of the cleaner renamed a file between the listing and the read. What is under its new name was not read.
            if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
          }
        }
      };
      expect(onDisk("marker-of-7-end")).toBe(true);
      expect(await compact("customers")).toEqual({ status: 0, output: "asked for a compaction of topic customers\n" });
      await expect.poll(() => onDisk("marker-of-7-end"), { timeout: 30_000 }).toBe(false);
      expect(onDisk("marker-of-8-end")).toBe(true);
      // The tombstone goes with the next round, since its time is over.
      await compact("customers");
      await expect.poll(() => onDisk("person-7"), { timeout: 30_000 }).toBe(false);
      expect(onDisk("person-8")).toBe(true);
      const refused = await compact("orders");
      expect(refused.status).not.toBe(0);
      expect(refused.output).toContain("topic orders is not compacted: its cleanup.policy is delete");
    },
  );
});
