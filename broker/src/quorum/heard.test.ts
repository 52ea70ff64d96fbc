import { describe, expect, test } from "vitest";
import type { Status } from "raft-ts-lite";
import { Heard } from "./heard.ts";

function status(lastIndex: number, matches: Readonly<Record<string, number>>, given: Partial<Status> = {}): Status {
  const others = Object.entries(matches).map(([id, matchIndex]) => ({ id, matchIndex, isVoter: true }));
  return {
    ...{ role: "leader", term: 1, leader: "1", lastIndex, committedIndex: 0, voters: ["1", ...Object.keys(matches)] },
    ...{ committedVoters: ["1"], isRecovering: false, others },
    ...given,
  };
}

describe("when a leader heard of others", () => {
  test("who has everything has caught up", () => {
    const heard = new Heard();
    expect(heard.get("2")).toBeNull();
    heard.note(["2"], status(10, { "2": 10, "3": 4 }), 1_000);
    expect(heard.get("2")).toMatchObject({ lastHeardMs: 1_000, lastCaughtUpMs: 1_000 });
    expect(heard.get("3")).toBeNull();
  });

  test("who has what there was when it was heard before had caught up then", () => {
    const heard = new Heard();
    heard.note(["2"], status(10, { "2": 4 }), 1_000);
    expect(heard.get("2")).toMatchObject({ lastHeardMs: 1_000, lastCaughtUpMs: -1 });
    heard.note(["2"], status(20, { "2": 10 }), 1_100);
    expect(heard.get("2")).toMatchObject({ lastHeardMs: 1_100, lastCaughtUpMs: 1_000 });
    heard.note(["2"], status(30, { "2": 19 }), 1_200);
    expect(heard.get("2")).toMatchObject({ lastHeardMs: 1_200, lastCaughtUpMs: 1_000 });
  });

  test("a new lead begins anew, and who follows notes nothing", () => {
    const heard = new Heard();
    heard.note(["2"], status(10, { "2": 10 }), 1_000);
    heard.note(["2"], status(10, {}, { role: "follower", term: 2 }), 1_100);
    expect(heard.get("2")).toBeNull();
    heard.note(["2", "9"], status(10, { "2": 9 }, { term: 3 }), 1_200);
    expect(heard.get("2")).toMatchObject({ lastHeardMs: 1_200, lastCaughtUpMs: -1 });
    expect(heard.get("9")).toBeNull();
  });
});
