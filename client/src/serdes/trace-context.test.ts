import { context, propagation, ROOT_CONTEXT, trace, TraceFlags } from "@opentelemetry/api";
import type { Context, ContextManager, TextMapPropagator } from "@opentelemetry/api";
import { afterAll, beforeAll, expect, test } from "vitest";
import { topic } from "../topic.ts";
import { Headers } from "./headers.ts";
import { int32 } from "./numbers.ts";
import { extractTrace, injectTrace, traceInterceptor, withTrace } from "./trace-context.ts";

const api = { context, propagation };
const spanContext = {
  traceId: "0af7651916cd43dd8448eb211c80319c",
  spanId: "b7ad6b7169203331",
  traceFlags: TraceFlags.SAMPLED,
};
const traceparent = `00-${spanContext.traceId}-${spanContext.spanId}-01`;

/** W3C's format, as far as this test needs it. */
const propagator: TextMapPropagator = {
  inject(from, carrier, setter) {
    const span = trace.getSpanContext(from);
    if (span === undefined) return;
    setter.set(carrier, "traceparent", `00-${span.traceId}-${span.spanId}-0${span.traceFlags}`);
    setter.set(carrier, "tracestate", "vendor=1");
  },
  extract(onto, carrier, getter) {
    expect(getter.keys(carrier)).toContain("traceparent");
    const [, traceId = "", spanId = "", flags = ""] = String(getter.get(carrier, "traceparent")).split("-");
    return trace.setSpanContext(onto, { traceId, spanId, traceFlags: Number(flags), isRemote: true });
  },
  fields: () => ["traceparent", "tracestate"],
};

let active: Context = ROOT_CONTEXT;
const manager: ContextManager = {
  active: () => active,
  with(next, run, self, ...values) {
    const before = active;
    active = next;
    try {
      return run.apply(self as never, values);
    } finally {
      active = before;
    }
  },
  bind: (_, target) => target,
  enable: () => manager,
  disable: () => manager,
};

beforeAll(() => {
  context.setGlobalContextManager(manager);
  propagation.setGlobalPropagator(propagator);
});
afterAll(() => {
  context.disable();
  propagation.disable();
});

test("what is sent carries the trace in which it was sent, once", () => {
  const traced = traceInterceptor(api);
  const record = context.with(trace.setSpanContext(ROOT_CONTEXT, spanContext), () =>
    traced(traced({ value: "v", headers: { kept: "k", traceparent: "an older one" } })),
  );
  expect(record.headers.all("traceparent").map(String)).toEqual([traceparent]);
  expect([record.headers.get("tracestate"), record.headers.get("kept"), record.value]).toEqual(["vendor=1", "k", "v"]);
});

test("what a topic declares of headers is written by its serdes", () => {
  const orders = topic("orders", { headers: { attempt: int32() } });
  const record = traceInterceptor(api)({ value: "v", headers: { attempt: 3 } }, orders);
  expect(record.headers.bytes("attempt")?.toString("hex")).toBe("00000003");
});

test("a handler runs within the trace that its record came with, and only it", () => {
  const headers = new Headers([{ key: "traceparent", value: Buffer.from(traceparent) }]);
  const inside = withTrace(api, { headers }, () => trace.getSpanContext(context.active()));
  expect(inside).toMatchObject({ ...spanContext, isRemote: true });
  expect(trace.getSpanContext(context.active())).toBeUndefined();
  expect(trace.getSpanContext(extractTrace(api, headers))?.traceId).toBe(spanContext.traceId);
});

test("without a trace nothing is written", () => {
  const headers = new Headers();
  injectTrace(api, headers);
  expect(headers.size).toBe(0);
});
