import type { Clock } from "@millrace/base/world";
import { errorName } from "kafka-protocol-ts/errors";
import type { ErrorCode } from "kafka-protocol-ts/errors";
import { CloseConnection, noAnswer } from "../apis/handler.ts";
import type { BoundHandler, RequestContext, TwoPhases } from "../apis/handler.ts";
import { discard } from "../network/conversation.ts";
import { errorAnswer } from "./error-answers.ts";

/** A request that has arrived, before it is handled. */
export interface FaultRequest {
  readonly apiKey: number;
  /** "Produce", "Fetch" ... */
  readonly name: string;
  readonly version: number;
  /** "node-2" where another node of the cluster asks. */
  readonly clientId: string | null;
  /** The listener's name, in capitals. */
  readonly listener: string;
}

/** What is to go wrong with a request. A delay comes first; without another fault the request is handled after it. */
export interface Fault {
  readonly delayMs?: number;
  /** True: it never reaches the broker. "answer": it is carried out, and its answer gets lost. Its connection breaks either way. */
  readonly drop?: true | "answer";
  /** It is answered with this code and not carried out. Where the API's answer has no place for a code, the connection breaks. */
  readonly errorCode?: number;
}

/** For tests of clients: asked of each request that comes to a listener. Undefined: nothing goes wrong. */
export type FaultHook = (request: FaultRequest) => Fault | undefined | void;

/** Handlers with which goes wrong what the hook says. */
export function withFaults(
  handlers: ReadonlyMap<number, BoundHandler>,
  hook: FaultHook,
  clock: Clock,
): ReadonlyMap<number, BoundHandler> {
  return new Map([...handlers].map(([key, each]) => [key, faulty(each, hook, clock)]));
}

function faulty(inner: BoundHandler, hook: FaultHook, clock: Clock): BoundHandler {
  const { api, versions, phases } = inner;
  const handle = (request: unknown, context: RequestContext): unknown => {
    const { version, clientId, connection } = context;
    const fault = hook({ apiKey: api.key, name: api.name, version, clientId, listener: connection.listenerName });
    if (fault === undefined) return inner.handle(request, context);
    const delayed = delay(clock, fault.delayMs ?? 0);
    if (phases === "one")
      return delayed.then(async () => lost(fault, inner, await meet(fault, inner, request, context)));
    const begun = delayed.then((): TwoPhases<unknown> => {
      const outcome = meet(fault, inner, request, context);
      if (isTwoPhases(outcome)) return outcome;
      return { inOrder: null, answer: Promise.resolve(outcome), mayReuseRequest: () => false };
    });
    const answer = begun.then(async (outcome) => lost(fault, inner, await outcome.answer));
    const inOrder = begun.then(async (outcome) => (await outcome.inOrder) ?? undefined);
    return { inOrder, answer, mayReuseRequest: () => false } satisfies TwoPhases<unknown>;
  };
  return { api, versions, phases, handle };
}

/** @throws CloseConnection where there is no other way to fail. */
function meet({ drop, errorCode }: Fault, inner: BoundHandler, request: unknown, context: RequestContext): unknown {
  if (drop === true) throw new CloseConnection("a fault drops the request");
  if (errorCode === undefined) return inner.handle(request, context);
  const answer = errorAnswer(inner.api.key, request, { errorCode: errorCode as ErrorCode, version: context.version });
  if (answer === null) throw new CloseConnection(`a fault has no other way to tell ${errorName(errorCode)}`);
  return answer;
}

function lost({ drop }: Fault, inner: BoundHandler, response: unknown): unknown {
  if (drop !== "answer" || response === noAnswer) return response;
  discard(response);
  throw new CloseConnection(`a fault drops the answer of ${inner.api.name}`);
}

function isTwoPhases(outcome: unknown): outcome is TwoPhases<unknown> {
  return typeof outcome === "object" && outcome !== null && "mayReuseRequest" in outcome;
}

function delay(clock: Clock, delayMs: number): Promise<void> {
  if (delayMs <= 0) return Promise.resolve();
  return new Promise((resolve) => clock.schedule(delayMs, resolve, { isAwaited: true }));
}
