import { expect, test } from "vitest";
import { pinoLogger } from "@millrace/base/node/pino-logger";
import type { LoggerOptions } from "@millrace/base/node/pino-logger";
import type { Logger } from "@millrace/base/logger";

function logger(options: LoggerOptions): { lines: string[]; log: Logger } {
  const lines: string[] = [];
  return { lines, log: pinoLogger({ ...options, output: (line) => lines.push(line) }) };
}

test("a line of JSON carries level, time, message and fields", () => {
  const { lines, log } = logger({ format: "json" });
  log.with({ room: "broker" }).warn("connection closed", { peer: "127.0.0.1:5", error: new Error("bad frame") });
  const [line] = lines.map((text) => JSON.parse(text) as Record<string, unknown>);
  expect(line).toMatchObject({ level: "warn", room: "broker", peer: "127.0.0.1:5", message: "connection closed" });
  expect(line!["error"]).toMatchObject({ type: "Error", message: "bad frame" });
  expect(Date.parse(String(line!["time"]))).not.toBeNaN();
});

test("a readable line says the same, and a stack follows it", () => {
  const { lines, log } = logger({ format: "line" });
  log.info("ready", { port: 9092, host: "127.0.0.1", note: "in 12 ms", list: [1, 2] });
  expect(lines[0]).toMatch(
    /^\d\d:\d\d:\d\d\.\d{3} INFO {2}ready port=9092 host=127\.0\.0\.1 note="in 12 ms" list=\[1,2\]\n$/,
  );
  log.error("stopped", { error: new Error("out of luck") });
  expect(lines[1]).toContain('ERROR stopped error="out of luck"\n    Error: out of luck\n        at ');
});

test("a name from outside cannot begin a line or move the cursor", () => {
  const { lines, log } = logger({ format: "line" });
  log.info("topic\ncreated", { topic: "a\n12:00:00.000 ERROR \u001b[2J", client: "b\u009b" });
  // oxlint-disable-next-line no-control-regex
  expect(lines[0]!.trimEnd()).not.toMatch(/[\u0000-\u001f\u0080-\u009f]/);
  expect(lines[0]).toContain(String.raw`topic\u000acreated`);
});

test("the level decides what is written", () => {
  for (const [level, count] of [
    ["debug", 4],
    ["info", 3],
    ["warn", 2],
    ["error", 1],
    ["silent", 0],
  ] as const) {
    const { lines, log } = logger({ level });
    for (const name of ["debug", "info", "warn", "error"] as const) log[name](name);
    expect(lines.length).toBe(count);
  }
});
