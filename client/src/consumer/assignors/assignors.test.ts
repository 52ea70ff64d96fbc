import { describe, expect, test } from "vitest";
import { partitionKey } from "../../topic-partition.ts";
import type { TopicPartition } from "../../topic-partition.ts";
import type { Assignments, AssignorMember, AssignorTopic } from "./assignor.ts";
import { assignors, assignorsOf } from "./assignors.ts";
import { assignmentBytes, readAssignment, readSubscription, subscriptionBytes } from "./embedded-protocol.ts";
import { withheld } from "./sticky.ts";
import { cooperativeUserData, readStickyUserData, stickyUserData } from "./user-data.ts";

const topics = new Map<string, AssignorTopic>([
  ["t", { partitionCount: 3 }],
  ["u", { partitionCount: 3 }],
]);

function partition(text: string): TopicPartition {
  return { topic: text[0]!, partition: Number(text.slice(1)) };
}

/** What "t0 t1" names. */
function partitions(text: string): readonly TopicPartition[] {
  return text === "" ? [] : text.split(" ").map(partition);
}

function member(memberId: string, rest: Partial<AssignorMember> = {}): AssignorMember {
  return {
    memberId,
    instanceId: null,
    topics: ["t", "u"],
    userData: null,
    owned: [],
    generation: -1,
    rack: null,
    ...rest,
  };
}

function plain(assignments: Assignments): Record<string, string> {
  const text = (list: readonly TopicPartition[]): string =>
    list
      .map((each) => `${each.topic}${each.partition}`)
      .sort()
      .join(" ");
  return Object.fromEntries(Array.from(assignments, ([id, list]) => [id, text(list)]));
}

describe("who is given what", () => {
  const both = [member("b"), member("a")];

  test("range: neighbours of each topic, static members first", () => {
    expect(plain(assignors.range.assign(both, topics))).toEqual({ a: "t0 t1 u0 u1", b: "t2 u2" });
    const fixed = [member("a"), member("z", { instanceId: "one" })];
    expect(plain(assignors.range.assign(fixed, topics))).toEqual({ z: "t0 t1 u0 u1", a: "t2 u2" });
  });

  test("range, with racks: where the replicas are, as far as the numbers allow", () => {
    const racks = [["y"], ["x"], ["y"]];
    const near = [member("a", { rack: "x", topics: ["t"] }), member("b", { rack: "y", topics: ["t"] })];
    expect(plain(assignors.range.assign(near, new Map([["t", { partitionCount: 3, racks }]])))).toEqual({
      a: "t1",
      b: "t0 t2",
    });
  });

  test("round robin: one after the other, past who does not read it", () => {
    expect(plain(assignors.roundrobin.assign(both, topics))).toEqual({ a: "t0 t2 u1", b: "t1 u0 u2" });
    const unlike = [member("a", { topics: ["t"] }), member("b", { topics: ["t", "u", "gone"] })];
    expect(plain(assignors.roundrobin.assign(unlike, topics))).toEqual({ a: "t0 t2", b: "t1 u0 u1 u2" });
  });

  test("sticky: what a member had it keeps, as long as all have as many", () => {
    const had = (memberId: string, text: string): AssignorMember =>
      member(memberId, { userData: Buffer.from(stickyUserData({ partitions: partitions(text), generation: 3 })) });
    const three = [had("a", "t0 t1 t2"), had("b", "u0 u1 u2"), member("c")];
    const given = plain(assignors.sticky.assign(three, topics));
    expect(given["a"]).toBe("t0 t1");
    expect(given["b"]).toBe("u0 u1");
    expect(given["c"]).toBe("t2 u2");
  });

  test("sticky: chains of moves where no single one levels", () => {
    const three = [
      member("a", { topics: ["t"] }),
      member("b", { topics: ["t", "u"], owned: partitions("t0 t1 t2"), generation: 1 }),
      member("c", { topics: ["u"], owned: partitions("u0 u1 u2"), generation: 1 }),
    ];
    const given = assignors["cooperative-sticky"].assign(three, topics);
    // a takes two of b's, which are withheld; b takes one of c's.
    expect(given.get("b")).toHaveLength(1);
    expect(given.get("c")).toHaveLength(2);
  });

  test("cooperative sticky: what another one has is withheld for a round; then it is free", () => {
    const one = member("a", { owned: partitions("t0 t1 t2 u0 u1 u2"), generation: 1 });
    const first = assignors["cooperative-sticky"].assign([one, member("b")], topics);
    expect(plain(first)).toEqual({ a: "t0 t1 t2", b: "" });
    const second = [member("a", { owned: first.get("a")!, generation: 2 }), member("b", { generation: 2 })];
    expect(plain(assignors["cooperative-sticky"].assign(second, topics))).toEqual({ a: "t0 t1 t2", b: "u0 u1 u2" });
  });

  test("of two that say that they have a partition, the later generation is believed; of equal ones neither", () => {
    const old = member("old", { owned: partitions("t0 t1 t2"), generation: 4 });
    const now = member("now", { owned: partitions("t0 t1 t2"), generation: 5 });
    const given = plain(assignors["cooperative-sticky"].assign([old, now], topics));
    expect(given["now"]).toBe("t0 t1 t2");
    expect(given["old"]).toBe("u0 u1 u2");
    const equal = { ...old, generation: 5 };
    const doubtful = plain(assignors["cooperative-sticky"].assign([equal, now], topics));
    expect(`${doubtful["old"]} ${doubtful["now"]}`).not.toContain("t");
    // A generation in the user data counts where the subscription has none.
    const told = {
      ...equal,
      generation: -1,
      userData: Buffer.from(cooperativeUserData({ partitions: [], generation: 6 })),
    };
    expect(plain(assignors["cooperative-sticky"].assign([told, now], topics))["old"]).toBe("t0 t1 t2");
  });

  test("withheld: also from what somebody else's assignor gives", () => {
    const one = member("a", { owned: partitions("t0"), generation: 1 });
    const wrong = new Map([["b", partitions("t0 t1")]]);
    expect(plain(withheld([one, member("b")], wrong))).toEqual({ b: "t1" });
  });

  test("a large group takes no noticeable time", () => {
    const many = Array.from({ length: 400 }, (_, index) =>
      member(`m${index}`, { topics: index % 3 === 0 ? ["big", "other"] : ["big"] }),
    );
    const big = new Map([
      ["big", { partitionCount: 3_000 }],
      ["other", { partitionCount: 500 }],
    ]);
    const given = assignors["cooperative-sticky"].assign(many, big);
    const sizes = [...given.values()].map(({ length }) => length);
    expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
    expect(new Set([...given.values()].flat().map(partitionKey)).size).toBe(3_500);
  });
});

describe("the bytes", () => {
  test("of version 3 come back", () => {
    const told = {
      topics: ["a", "t"],
      owned: partitions("t0 t2"),
      generation: 7,
      rack: "r",
      userData: Buffer.from("x"),
    };
    expect(readSubscription(Buffer.from(subscriptionBytes(told)))).toEqual(told);
    expect(readAssignment(Buffer.from(assignmentBytes(partitions("t0 t2 u1"))))).toEqual(partitions("t0 t2 u1"));
    expect(readAssignment(Buffer.alloc(0))).toEqual([]);
  });

  test("of a later version are read as the last that is known, and those that end too early by their topics", () => {
    const bytes = Buffer.from(
      subscriptionBytes({ topics: ["t"], owned: [], generation: 1, rack: null, userData: null }),
    );
    bytes.writeInt16BE(9);
    expect(readSubscription(Buffer.concat([bytes, Buffer.from("more")])).generation).toBe(1);
    const short = Buffer.from(bytes.subarray(0, 2 + 4 + 3 + 4));
    short.writeInt16BE(1);
    expect(readSubscription(short)).toMatchObject({ topics: ["t"], owned: [], generation: -1 });
    expect(() => readSubscription(Buffer.from([0xff, 0xff, 0, 0]))).toThrow("version -1");
    expect(() => readSubscription(Buffer.from([0]))).toThrow();
  });

  test("of sticky's user data are of either version", () => {
    const bytes = Buffer.from(stickyUserData({ partitions: partitions("t0 u1"), generation: 5 }));
    expect(readStickyUserData(bytes)).toEqual({ partitions: partitions("t0 u1"), generation: 5 });
    expect(readStickyUserData(bytes.subarray(0, -4))).toEqual({ partitions: partitions("t0 u1"), generation: -1 });
    expect(readStickyUserData(Buffer.from("nonsense"))).toBeNull();
  });
});

test("assignors are chosen by name or are anybody's, once each", () => {
  const own = { ...assignors.range, name: "own" };
  expect(assignorsOf(["range", own]).map(({ name }) => name)).toEqual(["range", "own"]);
  expect(() => assignorsOf([])).toThrow("at least one");
  expect(() => assignorsOf(["range", "range"])).toThrow("twice");
  expect(() => assignorsOf(["uniform" as "range"])).toThrow(
    "choose from range, roundrobin, sticky, cooperative-sticky",
  );
});
