import { describe, expect, test } from "vitest";
import { errorOf } from "../../test/serde-context.ts";
import { topic } from "../topic.ts";
import { Headers } from "./headers.ts";
import { int32, instant } from "./numbers.ts";

const orders = topic("orders", { headers: { attempt: int32(), at: instant() } });

describe("headers", () => {
  test("keep their order, and the last one of a name is what is got", () => {
    const headers = Headers.from([
      ["a", "1"],
      ["b", null],
      ["a", Buffer.from("2")],
    ]);
    expect(headers.get("a")).toBe("2");
    expect(headers.all("a").map(String)).toEqual(["1", "2"]);
    expect([headers.get("b"), headers.get("c"), headers.has("c"), headers.size]).toEqual([null, undefined, false, 3]);
    expect(headers.set("a", "3").entries.map(({ key, value }) => `${key}=${String(value)}`)).toEqual(["b=null", "a=3"]);
    expect([...headers.append("b", "x").delete("a")].map(([name]) => name)).toEqual(["b", "b"]);
  });

  test("of another record are copied, not shared", () => {
    const first = Headers.from({ a: "1" });
    Headers.from(first).set("a", "2");
    expect(first.get("a")).toBe("1");
  });

  test("that a topic declares are written and read by its serdes", () => {
    const sent = Headers.from({ attempt: 3, at: new Date(5), trace: "t" }, orders);
    expect(sent.bytes("attempt")?.toString("hex")).toBe("00000003");
    const read = Headers.of(sent.entries, orders);
    expect([read.get("attempt"), read.get("at"), read.get("trace"), read.get("other")]).toEqual([
      3,
      new Date(5),
      "t",
      undefined,
    ]);
    expect(read.set("attempt", 4).get("attempt")).toBe(4);
    expect(Headers.from({ attempt: undefined } as never, orders).size).toBe(0);
  });

  test("that cannot be written or read name themselves", async () => {
    const unknown = await errorOf(() => Headers.from({ count: 3 } as never, orders));
    expect(unknown.message).toBe(
      'the header "count" of a record of topic orders cannot be written: number is neither text, bytes nor null, and the topic declares no serde for the header',
    );
    const wrong = await errorOf(() => Headers.of([{ key: "attempt", value: Buffer.from("x") }], orders).get("attempt"));
    expect(wrong).toMatchObject({ code: "DESERIALIZATION_FAILED" });
    expect(wrong.message).toContain('the header "attempt" of a record of topic orders');
  });

  test("of a name that every object has are undeclared", () => {
    expect(Headers.from({ toString: "x" } as never, orders).get("toString")).toBe("x");
  });
});
