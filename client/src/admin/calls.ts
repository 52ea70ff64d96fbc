import { abortedError, brokerError, KafkaError } from "../errors.ts";
import type { BrokerConnection } from "../network/broker-connection.ts";
import { isTimedOut, timedOut } from "../network/retries.ts";
import { creationNewsMsMax } from "../network/wire.ts";
import type { Wire } from "../network/wire.ts";
import type { Outcome } from "./outcome.ts";
import type { Route } from "./routes.ts";

/** What every call of the admin takes. */
export interface CallOptions {
  /** For the whole call with all its tries, in milliseconds. Default 30,000. */
  readonly timeoutMs?: number;
  /** Ends the call with ABORTED. What a broker was asked already may still be done. */
  readonly signal?: AbortSignal;
}

/** For calls that can be checked without being done. */
export interface ValidatingCallOptions extends CallOptions {
  /** Nothing is changed; the broker says whether it would be. */
  readonly validateOnly?: boolean;
}

/** What a broker said of one item; undefined where its answer leaves the item out. */
export type Reply<Value> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly errorCode: number; readonly errorMessage: string | null }
  | undefined;

/** Items that go with one API, each to the broker that is responsible for it. */
export interface Batch<Item, Value> {
  /** The call, as its user knows it: "topics.create". */
  readonly call: string;
  readonly items: readonly Item[];
  /** The item in the sentence of an error: "topic orders". */
  readonly name: (item: Item) => string;
  readonly route: Route<NoInfer<Item>>;
  /** One reply an item, in the order of the items. What it throws is the failure of all of them. */
  send(connection: BrokerConnection, items: readonly Item[]): Promise<readonly Reply<Value>[]>;
  /** Codes that another try would not change here, though Kafka calls them retriable. */
  readonly final?: readonly string[];
  /** Not where a second try would do it twice: then a lost answer ends the call. Default true. */
  readonly mayRepeat?: boolean;
  /** The topic that the item is of, or in: one that this admin has just made may be unknown for a moment. */
  readonly topicOf?: (item: Item) => string | null;
  /** For so long any topic may be unknown, because what is remembered of it is old. Default 0. */
  readonly unknownTopicMsMax?: number;
}

interface Entry<Item, Value> {
  readonly item: Item;
  outcome: Outcome<Item, Value> | null;
  last: KafkaError | null;
  /** An answer was lost: the broker may have done it. */
  isUnsure: boolean;
}

const timeoutMsDefault = 30_000;
/** Of the time for an answer: the broker gives up before we do, and says why. */
const shareOfBroker = 0.8;
const answersThoughRetriable: ReadonlySet<string> = new Set([
  "ELECTION_NOT_NEEDED",
  "PREFERRED_LEADER_NOT_AVAILABLE",
  "ELIGIBLE_LEADERS_NOT_AVAILABLE",
]);
const unknownTopicCodes: ReadonlySet<string> = new Set([
  "UNKNOWN_TOPIC_OR_PARTITION",
  "UNKNOWN_TOPIC_ID",
  "INCONSISTENT_TOPIC_ID",
]);
const lostAnswerCodes: ReadonlySet<string> = new Set(["NETWORK_EXCEPTION", "REQUEST_TIMED_OUT"]);

/** For requests to leaders: long enough to look up what has changed. */
export const leaderNewsMsMax = 1_000;
/** Says nothing of the item where the broker reported an error. */
export function reply<Answer extends { readonly errorCode: number; readonly errorMessage?: string | null }, Value>(
  answer: Answer | undefined,
  value: (answer: Answer) => Value,
): Reply<Value> {
  if (answer === undefined) return undefined;
  const { errorCode, errorMessage = null } = answer;
  return errorCode === 0 ? { ok: true, value: value(answer) } : { ok: false, errorCode, errorMessage };
}

/** @throws KafkaError where a whole answer is an error. */
export function check(
  answer: { readonly errorCode: number; readonly errorMessage?: string | null },
  what: string,
  connection: BrokerConnection,
): void {
  if (answer.errorCode === 0) return;
  throw brokerError(answer.errorCode, what, answer.errorMessage ?? null, { broker: connection.name });
}

/** What a broker would have to speak, and does not: said before anything is sent. */
export function unsupported(connection: BrokerConnection, api: string, what: string): KafkaError {
  return new KafkaError("UNSUPPORTED_VERSION", `${connection.name} serves an older ${api}, which cannot ${what}`, {
    broker: connection.name,
  });
}

/**
 * Sends items to the brokers that are responsible for them, grouped by broker, and again where that may help: with
 * whatever was believed of controller, coordinators and leaders looked up anew.
 */
export class Calls {
  readonly wire: Wire;
  /** Topics that were just made, and until when a broker may not know them. Monotonic. */
  readonly #news = new Map<string, number>();

  constructor(wire: Wire) {
    this.wire = wire;
  }

  /** What a broker may take for it, to be sent with the request. */
  brokerTimeoutMs({ timeoutMs = timeoutMsDefault }: CallOptions): number {
    return Math.ceil(shareOfBroker * Math.min(timeoutMs, this.wire.requestTimeoutMs));
  }

  /** From now on brokers may take a moment to hear of the topic. */
  topicMade(name: string): void {
    const nowMs = this.wire.world.clock.monotonicMs();
    for (const [known, untilMs] of this.#news) if (untilMs <= nowMs) this.#news.delete(known);
    this.#news.set(name, nowMs + creationNewsMsMax);
  }

  /** It is unknown for good. */
  topicGone(name: string): void {
    this.#news.delete(name);
  }

  /** @throws KafkaError ABORTED, CLOSED; everything else is the outcome of an item. */
  async each<Item, Value>(
    batch: Batch<Item, Value>,
    options: CallOptions = {},
  ): Promise<readonly Outcome<Item, Value>[]> {
    const entries = batch.items.map((item): Entry<Item, Value> => {
      return { item, outcome: null, last: null, isUnsure: false };
    });
    const beganMs = this.wire.world.clock.monotonicMs();
    const { timeoutMs = timeoutMsDefault } = options;
    try {
      await this.run(batch.call, options, async () => {
        const open = entries.filter(({ outcome }) => outcome === null);
        await this.#attempt(batch, open, beganMs);
        const failure = open.find(({ outcome }) => outcome === null)?.last;
        if (failure !== undefined && failure !== null) throw failure;
      });
    } catch (error) {
      if (!isTimedOut(error)) throw error;
    }
    return entries.map(({ item, outcome, last }) => {
      return outcome ?? { item, ok: false, error: timedOut(batch.name(item), timeoutMs, last) };
    });
  }

  /** @throws KafkaError what went wrong with the only item. */
  async one<Item, Value>(batch: Batch<Item, Value>, options: CallOptions = {}): Promise<Value> {
    const [outcome] = await this.each(batch, options);
    if (outcome === undefined) throw new KafkaError("INVALID_CONFIG", `${batch.call}: nothing was given`);
    if (!outcome.ok) throw outcome.error;
    return outcome.value;
  }

  /** One request that is about no item but the whole. What `send` throws is tried again where that may help. */
  async ask<Value>(
    parts: { readonly call: string; readonly route: Route<string> } & Pick<Batch<string, Value>, "final" | "mayRepeat">,
    options: CallOptions,
    send: (connection: BrokerConnection) => Promise<Value>,
  ): Promise<Value> {
    return this.one(
      {
        ...parts,
        items: [parts.call],
        name: (call) => call,
        send: async (connection) => [{ ok: true, value: await send(connection) }],
      },
      options,
    );
  }

  /** `Wire.retrying`, ended by the caller's signal, too. */
  async run<T>(call: string, options: CallOptions, attempt: () => Promise<T>): Promise<T> {
    const { signal, timeoutMs = timeoutMsDefault } = options;
    if (!(timeoutMs > 0)) {
      throw new KafkaError("INVALID_CONFIG", `timeoutMs: ${timeoutMs} is not a time in milliseconds above 0`);
    }
    const { promise: aborted, reject } = Promise.withResolvers<never>();
    aborted.catch(() => {});
    const throwIfAborted = (): void => {
      if (signal?.aborted === true) throw abortedError(signal, call);
    };
    const onAbort = (): void => {
      if (signal !== undefined) reject(abortedError(signal, call));
    };
    throwIfAborted();
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      const retried = this.wire.retrying({ what: call, timeoutMs }, async () => {
        throwIfAborted();
        return attempt();
      });
      return await Promise.race([retried, aborted]);
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  }

  /** Every item that is open gets an outcome, or the failure because of which it is worth another try. */
  async #attempt<Item, Value>(
    batch: Batch<Item, Value>,
    open: readonly Entry<Item, Value>[],
    beganMs: number,
  ): Promise<void> {
    const { route } = batch;
    const fail = (entries: readonly Entry<Item, Value>[], error: unknown, wasSent: boolean): void => {
      for (const entry of entries) this.#fail(batch, entry, { error, wasSent, beganMs });
    };
    try {
      await route.prepare(open.map(({ item }) => item));
    } catch (error) {
      fail(open, error, false);
      return;
    }
    const byKey = Map.groupBy(open, ({ item }) => route.key(item));
    const byConnection = new Map<BrokerConnection, Entry<Item, Value>[]>();
    await Promise.all(
      [...byKey.values()].map(async (entries) => {
        const [first] = entries;
        if (first === undefined) return;
        try {
          const connection = await route.connect(first.item);
          byConnection.set(connection, [...(byConnection.get(connection) ?? []), ...entries]);
        } catch (error) {
          fail(entries, error, false);
        }
      }),
    );
    await Promise.all(
      [...byConnection].map(async ([connection, entries]) => {
        try {
          const items = entries.map(({ item }) => item);
          const replies = await batch.send(connection, items);
          for (const [at, entry] of entries.entries())
            this.#take(batch, entry, { reply: replies[at], connection, beganMs });
        } catch (error) {
          fail(entries, error, true);
        }
      }),
    );
  }

  #take<Item, Value>(
    batch: Batch<Item, Value>,
    entry: Entry<Item, Value>,
    told: { readonly reply: Reply<Value>; readonly connection: BrokerConnection; readonly beganMs: number },
  ): void {
    const { reply, connection, beganMs } = told;
    const { item } = entry;
    if (reply?.ok === true) {
      entry.outcome = { item, ok: true, value: reply.value };
      return;
    }
    const options = { broker: connection.name };
    const name = batch.name(item);
    const error =
      reply === undefined
        ? new KafkaError("UNKNOWN_SERVER_ERROR", `${name}: the answer of ${connection.name} leaves it out`, options)
        : brokerError(reply.errorCode, name, reply.errorMessage, options);
    this.#fail(batch, entry, { error, wasSent: false, beganMs });
  }

  #fail<Item, Value>(
    batch: Batch<Item, Value>,
    entry: Entry<Item, Value>,
    failure: { readonly error: unknown; readonly wasSent: boolean; readonly beganMs: number },
  ): void {
    const { error, wasSent, beganMs } = failure;
    // Whatever is no KafkaError is a bug, and not the item's.
    if (!(error instanceof KafkaError)) throw error;
    const { item } = entry;
    if (error.retriable) batch.route.forget(item);
    const isLost = wasSent && lostAnswerCodes.has(error.code);
    const nowMs = this.wire.world.clock.monotonicMs();
    const topic = batch.topicOf?.(item) ?? null;
    const newsUntilMs = topic === null ? 0 : (this.#news.get(topic) ?? 0);
    const unknownUntilMs = Math.max(newsUntilMs, beganMs + (batch.unknownTopicMsMax ?? 0));
    const isWorthMore =
      error.retriable &&
      !(isLost && batch.mayRepeat === false) &&
      !answersThoughRetriable.has(error.code) &&
      !(batch.final ?? []).includes(error.code) &&
      (!unknownTopicCodes.has(error.code) || nowMs < unknownUntilMs);
    if (isWorthMore) {
      entry.last = error;
      entry.isUnsure ||= isLost;
      return;
    }
    entry.outcome = { item, ok: false, error: entry.isUnsure ? unsure(error) : error };
  }
}

/** TOPIC_ALREADY_EXISTS after a lost answer may be our own doing. */
function unsure(error: KafkaError): KafkaError {
  const { code, retriable, fatal, broker, cause } = error;
  const sentence = `${error.message} (an earlier try of this call got no answer, and may have done it)`;
  return new KafkaError(code, sentence, { retriable, fatal, broker, cause });
}
