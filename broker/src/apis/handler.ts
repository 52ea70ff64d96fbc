import type { Api } from "kafka-protocol-ts/api";
import type { Services } from "../services.ts";

/** What a handler may know of a request beside its body. */
export interface RequestContext {
  readonly version: number;
  readonly correlationId: number;
  readonly clientId: string | null;
  readonly connection: ConnectionInfo;
}

/** One client connection as handlers see it: who is there, never the socket. */
export interface ConnectionInfo {
  /** Unique while the broker runs. */
  readonly id: string;
  readonly clientHost: string;
  readonly listenerName: string;
  readonly kind: "broker" | "controller";
}

/** Produce with acks=0: nothing goes back, and the next request may begin. */
export const noAnswer: unique symbol = Symbol("no answer");

/** The request cannot be told about its failure (acks=0): the connection is closed, as Kafka does. */
export class CloseConnection extends Error {
  override readonly name = "CloseConnection";
}

/**
 * Phase one puts the request in order; phase two answers it. Phase one of the next request of a connection begins when
 * `inOrder` has settled (null: it already has); a following request of the same kind overlaps with phase two.
 */
export interface TwoPhases<Res> {
  readonly inOrder: Promise<void> | null;
  readonly answer: Promise<Res | typeof noAnswer>;
  /** Asked when the answer is there: true where nothing refers to the request's bytes any more, so that they may be written over. */
  readonly mayReuseRequest: () => boolean;
}

type Awaitable<T> = T | Promise<T>;

/** One API as a node serves it, with what it works with. The list of these is the ApiVersions answer. */
export interface Handler<Needed = Services> {
  readonly api: Api<unknown, unknown>;
  /** Served versions, inclusive. */
  readonly versions: readonly [number, number];
  readonly phases: "one" | "two";
  // A method, so that handlers of single APIs fit in: the conversation gives each the request that its own api has read.
  handle(services: Needed, request: unknown, context: RequestContext): unknown;
}

/** As a conversation calls it. */
export interface BoundHandler extends Pick<Handler, "api" | "versions" | "phases"> {
  handle(request: unknown, context: RequestContext): unknown;
}

export function bindHandlers<Needed>(
  services: Needed,
  handlers: readonly Handler<Needed>[],
): ReadonlyMap<number, BoundHandler> {
  return new Map(
    handlers.map((each) => {
      const { api, versions, phases } = each;
      const handle = (request: unknown, context: RequestContext): unknown => each.handle(services, request, context);
      return [api.key, { api, versions, phases, handle }];
    }),
  );
}

/** A handler that runs to its answer before the next request of its connection begins. */
export function handler<Req, Res, ReqInput, ResInput, Needed = Services>(
  api: Api<Req, Res, ReqInput, ResInput>,
  handle: (services: Needed, request: Req, context: RequestContext) => Awaitable<ResInput>,
  options: { readonly versions?: readonly [number, number] } = {},
): Handler<Needed> {
  return {
    api,
    versions: options.versions ?? api.versions,
    phases: "one",
    handle,
  };
}

/** A handler whose answer may wait (for the disk, for replicas) while the next of its kind is already put in order. */
export function twoPhaseHandler<Req, Res, ReqInput, ResInput>(
  api: Api<Req, Res, ReqInput, ResInput>,
  handle: (services: Services, request: Req, context: RequestContext) => TwoPhases<ResInput>,
  options: { readonly versions?: readonly [number, number] } = {},
): Handler {
  return {
    api,
    versions: options.versions ?? api.versions,
    phases: "two",
    handle,
  };
}
