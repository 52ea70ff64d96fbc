import { Headers } from "./headers.ts";
import type { HeadersInput, HeadersOwner, NoHeaderSerdes } from "./headers.ts";

/**
 * What is used of `@opentelemetry/api`, of which this client does not depend: an application that has it gives its
 * `propagation` and `context`. Which headers are written is the propagator's choice; W3C's are traceparent and tracestate.
 */
export interface TraceApi<Context> {
  readonly propagation: {
    inject<Carrier>(context: Context, carrier: Carrier, setter?: TraceSetter<Carrier>): void;
    extract<Carrier>(context: Context, carrier: Carrier, getter?: TraceGetter<Carrier>): Context;
  };
  readonly context: {
    active(): Context;
    with<Result>(context: Context, run: () => Result): Result;
  };
}

interface TraceSetter<Carrier> {
  set(carrier: Carrier, name: string, value: string): void;
}

interface TraceGetter<Carrier> {
  keys(carrier: Carrier): string[];
  get(carrier: Carrier, name: string): string | string[] | undefined;
}

/**
 * Writes the present trace into the headers of a record that is to be sent.
 *
 * @example
 *     import { context, propagation } from "@opentelemetry/api";
 *
 *     const headers = new Headers();
 *     injectTrace({ context, propagation }, headers);
 *     await producer.send(orders, { key: "o1", value: order, headers });
 */
export function injectTrace<Context>(api: TraceApi<Context>, headers: Headers): void {
  api.propagation.inject(api.context.active(), headers, setter);
}

/**
 * The trace that a record's headers name, upon the present context: the parent of whatever handles the record.
 *
 * @example
 *     import { context, propagation } from "@opentelemetry/api";
 *
 *     for await (const { headers } of consumer.records(orders)) {
 *       const parent = extractTrace({ context, propagation }, headers);
 *       context.with(parent, () => console.log("within the trace of the record"));
 *     }
 */
export function extractTrace<Context>(api: TraceApi<Context>, headers: Headers): Context {
  return api.propagation.extract(api.context.active(), headers, getter);
}

/**
 * For a producer: gives each record that is sent the trace in which `send` was called. The topic is needed where it
 * declares headers.
 *
 * @example
 *     import { context, propagation } from "@opentelemetry/api";
 *
 *     const traced = traceInterceptor({ context, propagation });
 *     await producer.send(orders, traced({ key: "o1", value: order }));
 */
export function traceInterceptor<Context>(
  api: TraceApi<Context>,
): <Input extends object>(
  record: Input,
  topic?: HeadersOwner,
) => Omit<Input, "headers"> & { readonly headers: Headers } {
  return (record, topic) => {
    const { headers: given } = record as { readonly headers?: HeadersInput };
    const headers = topic === undefined ? Headers.from(given) : Headers.from<NoHeaderSerdes>(given, topic);
    injectTrace(api, headers);
    return { ...record, headers };
  };
}

/**
 * For a consumer: runs a handler within the trace that the record came with.
 *
 * @example
 *     import { context, propagation } from "@opentelemetry/api";
 *
 *     await consumer.run(orders, (record) => withTrace({ context, propagation }, record, () => handle(record)));
 */
export function withTrace<Context, Result>(
  api: TraceApi<Context>,
  record: { readonly headers: Headers },
  run: () => Result,
): Result {
  return api.context.with(extractTrace(api, record.headers), run);
}

// A record that is sent again, as to a dead-letter topic, carries one trace and not two.
const setter: TraceSetter<Headers> = {
  set(headers, name, value) {
    headers.set(name, value);
  },
};

const getter: TraceGetter<Headers> = {
  keys: (headers) => [...new Set(headers.entries.map(({ key }) => key))],
  get: (headers, name) => headers.bytes(name)?.toString("utf8"),
};
