import { describe, expect, test } from "vitest";
import { checkHistory } from "./check.ts";
import { mergeHistories, parseHistory } from "./history.ts";
import type { HistoryEvent } from "./history.ts";
import { linesOf } from "./script.ts";

describe("what no client can have written is refused, and named", () => {
  test.for<readonly [string, string]>([
    ["a: send x to p0 -> 0\nb: send x to p0 -> 1", "event 4 of b: x was sent before"],
    [
      "a: send x to p0 in 1 -> 0\na: commit 1 -> ok\na: abort 1 -> ok",
      "event 6 of a: transaction 1 is committed and cannot be aborted",
    ],
  ])("%s", ([history, message]) => {
    expect(linesOf({ history })).toEqual([`malformed: ${message}`]);
  });

  test("a completion without its call, and a call that is under way", () => {
    const open = { client: "a", atUs: 1, type: "open", isolation: "read_committed" } as const;
    const poll = { client: "a", atUs: 1, type: "invoke", call: 3, name: "poll" } as const;
    expect(checkHistory([open, { client: "a", atUs: 2, type: "ok", call: 3 }])).toMatchObject({
      message: "event 1 of a: call 3 was not invoked, or has ended",
    });
    expect(checkHistory([open, poll, poll])).toMatchObject({ message: "event 2 of a: call 3 is under way already" });
  });
});

describe("the log of a client", () => {
  const line = JSON.stringify({ client: "a", atUs: 1, type: "crash" });

  test("a last line without its end was not written", () => {
    const parsed = parseHistory(`${line}\n${line}\n{"client":"a","at`, "a.jsonl");
    expect(parsed.ok && parsed.value.length).toBe(2);
  });

  test.for(["", "{}", "[]", "null", "{", `{"client":"a","atUs":1,"type":"walk"}`])("%j is no event", (text) => {
    expect(parseHistory(`${line}\n${text}\n`, "a.jsonl")).toMatchObject({
      message: `a.jsonl:2: no event: ${text}`,
    });
  });

  test("logs are merged by time, and each keeps its order", () => {
    const at = (client: string, atUs: number, group: string): HistoryEvent => {
      return { client, atUs, type: "assigned", group, partitions: [] };
    };
    const merged = mergeHistories([
      [at("a", 5, "1"), at("a", 5, "2"), at("a", 9, "3")],
      [at("b", 4, "4"), at("b", 6, "5")],
    ]);
    expect(merged.map((event) => "group" in event && event.group)).toEqual(["4", "1", "2", "5", "3"]);
  });
});
