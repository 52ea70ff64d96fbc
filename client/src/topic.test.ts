import { describe, expect, expectTypeOf, test } from "vitest";
import { z } from "zod";
import { nullable, text } from "./serdes/basic.ts";
import { Headers } from "./serdes/headers.ts";
import type { HeaderSerdes, TypedHeaders } from "./serdes/headers.ts";
import { json } from "./serdes/json.ts";
import { int32, int64 } from "./serdes/numbers.ts";
import type { ReadOf, WriteOf } from "./serdes/serde.ts";
import { topic } from "./topic.ts";
import type { RawInput, RecordInput, Topic } from "./topic.ts";

/** As a producer and a consumer take a topic. */
declare function send<Key, Value, Declared extends HeaderSerdes>(
  to: Topic<unknown, unknown, Key, Value, Declared>,
  record: RecordInput<NoInfer<Key>, NoInfer<Value>, NoInfer<Declared>>,
): void;
declare function receive<Key, Value, Declared extends HeaderSerdes>(
  from: Topic<Key, Value, never, never, Declared>,
): { readonly key: Key; readonly value: Value; readonly headers: TypedHeaders<Declared> };

const Order = z.object({
  id: z.string(),
  placedAt: z.iso.datetime().transform((at) => new Date(at)),
  note: z.string().default(""),
});
const orders = topic("orders", { key: text(), value: json(Order), headers: { attempt: int32() } });

/** Compiled and never called: what is wrong here does not compile. */
export function typesOnly(): void {
  const record = receive(orders);
  expectTypeOf(record.key).toEqualTypeOf<string>();
  expectTypeOf(record.value).toEqualTypeOf<{ id: string; placedAt: Date; note: string }>();
  expectTypeOf(record.headers.get("attempt")).toEqualTypeOf<number | undefined>();
  expectTypeOf(record.headers.get("trace")).toEqualTypeOf<string | null | undefined>();
  expectTypeOf(record.headers).toExtend<Headers>();

  send(orders, { key: "o1", value: { id: "o1", placedAt: "2026-01-01T00:00:00Z" } });
  send(orders, {
    key: "o1",
    value: { id: "o1", placedAt: "x" },
    headers: { attempt: 1, trace: "t", raw: Buffer.of(1) },
  });
  send(orders, { key: "o1", value: { id: "o1", placedAt: "x" }, headers: [["trace", "t"]] });
  // @ts-expect-error -- the key is text
  send(orders, { key: 5, value: { id: "o1", placedAt: "x" } });
  // @ts-expect-error -- there must be a key
  send(orders, { value: { id: "o1", placedAt: "x" } });
  // @ts-expect-error -- what is read is a Date, what is sent is text
  send(orders, { key: "o1", value: { id: "o1", placedAt: new Date(0) } });
  // @ts-expect-error -- an id is missing
  send(orders, { key: "o1", value: { placedAt: "x" } });
  // @ts-expect-error -- the header is declared as a number
  send(orders, { key: "o1", value: { id: "o1", placedAt: "x" }, headers: { attempt: "1" } });
  // @ts-expect-error -- no tombstone without nullable()
  send(orders, { key: "o1", value: null });

  const raw = topic("raw");
  expectTypeOf(receive(raw).value).toEqualTypeOf<Buffer | null>();
  expectTypeOf(receive(raw).headers).toEqualTypeOf<Headers>();
  send(raw, { value: "text" });
  // @ts-expect-error -- no numbers in headers that nobody declared
  send(raw, { value: "text", headers: { attempt: 1 } });

  const accounts = topic("accounts", { value: nullable(json<{ readonly owner: string }>()) });
  expectTypeOf(receive(accounts).value).toEqualTypeOf<{ readonly owner: string } | null>();
  expectTypeOf(receive(accounts).key).toEqualTypeOf<Buffer | null>();
  send(accounts, { value: null });
  const counts = topic("counts", { key: int64() });
  expectTypeOf(receive(counts).key).toEqualTypeOf<number>();
  expectTypeOf(counts).toEqualTypeOf<Topic<number, Buffer | null, number, RawInput>>();

  expectTypeOf<ReadOf<typeof orders.value>>().toEqualTypeOf<{ id: string; placedAt: Date; note: string }>();
  expectTypeOf<WriteOf<typeof orders.key>>().toEqualTypeOf<string>();
  // A topic with headers is one without, to whoever asks for none.
  expectTypeOf(orders).toExtend<Topic<string, unknown, string, never>>();
}

describe("a topic", () => {
  test("without serdes holds bytes", () => {
    const { key, value, headers } = topic("raw");
    const context = { topic: "raw", part: "key", headers: new Headers() } as const;
    expect(key.deserialize(null, context)).toBeNull();
    expect(value.deserialize(Buffer.of(1), context)).toEqual(Buffer.of(1));
    expect(headers).toBeUndefined();
  });
});
