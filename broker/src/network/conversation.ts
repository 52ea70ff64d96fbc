import { AssertionFailure, must } from "@millrace/base/assert";
import { Deque } from "@millrace/base/deque";
import type { Logger } from "@millrace/base/logger";
import type { Clock, Connection, Part } from "@millrace/base/world";
import { readRequestHeader, writeResponseHeader } from "kafka-protocol-ts/header";
import { MalformedMessage } from "kafka-protocol-ts/malformed";
import { ByteReader } from "kafka-protocol-ts/reader";
import { ByteWriter } from "kafka-protocol-ts/writer";
import { CloseConnection, noAnswer } from "../apis/handler.ts";
import type { BoundHandler, ConnectionInfo, RequestContext, TwoPhases } from "../apis/handler.ts";
import { unsupportedApiVersions } from "../apis/18-api-versions.ts";
import type { FramePool } from "./frame-pool.ts";
import { BadFrame, FrameAssembler } from "./frames.ts";
import type { BudgetHolder, MemoryBudget } from "./memory-budget.ts";

export interface ConversationLimits {
  readonly frameBytesMax: number;
  /** Requests of one connection that are begun and not yet answered. */
  readonly inFlightMax: number;
  /** Request bytes one connection may hold once it has something in flight. */
  readonly inFlightBytesMax: number;
  /** Answer bytes that may wait for the peer to read before its next request is begun. */
  readonly unsentBytesMax: number;
}

export interface ConversationHost {
  readonly handlers: ReadonlyMap<number, BoundHandler>;
  readonly limits: ConversationLimits;
  readonly budget: MemoryBudget;
  readonly framePool: FramePool;
  readonly clock: Clock;
  readonly logger: Logger;
  /** A bug showed itself: the broker stops. */
  fatal(error: unknown): void;
  onClosed(conversation: Conversation): void;
}

/** A place in the order of answers, and its answer once that is known. */
interface Reply {
  parts: readonly Part[] | null;
  isDone: boolean;
  readonly frame: Buffer;
  mayReuseFrame: (() => boolean) | null;
}

/** A request that runs to its answer before the next one begins. */
interface Served {
  readonly reply: Reply;
  readonly handler: BoundHandler;
  readonly context: RequestContext;
}

const apiVersionsKey = 18;
const lengthBytes = 4;
/** How long a peer that sends no more is given to take its answers. */
const peerDoneMs = 5_000;

/**
 * One connection: frames in, answers out in the order of arrival. A request begins when the one before has run to its
 * answer; only a two-phase request (Produce) begins as soon as the two-phase request before it is in order.
 * Whatever is full — requests in flight, bytes held, answers the peer does not read — stops the reading.
 */
export class Conversation implements BudgetHolder {
  readonly info: ConnectionInfo;
  readonly #connection: Connection;
  readonly #host: ConversationHost;
  readonly #frames: FrameAssembler;
  readonly #replies = new Deque<Reply>();
  /** Whole frames that wait for their turn. At most one is taken out of the assembler ahead. */
  #waiting: Buffer | null = null;
  #heldBytes = 0;
  /** A request is in its phase one (for one-phase requests: until its answer). */
  #isBusy = false;
  /** What makes it busy, where that is an answer: there is one at most. */
  #served: Served | null = null;
  #isPumping = false;
  #isPaused = false;
  #isOverBudget = false;
  #isPeerDone = false;
  /** The broker stops: what is in flight is answered, nothing more is begun. */
  #isFinishing = false;
  #isClosed = false;
  lastActiveMs: number;

  constructor(connection: Connection, info: ConnectionInfo, host: ConversationHost) {
    this.#connection = connection;
    this.info = info;
    this.#host = host;
    this.#frames = new FrameAssembler(host.limits.frameBytesMax, host.framePool);
    this.lastActiveMs = host.clock.monotonicMs();
  }

  start(): void {
    this.#connection.start({
      onData: (chunk) => this.#receive(chunk),
      onEnd: () => {
        this.#isPeerDone = true;
        this.#endWhenAnswered();
        // A peer that is gone has ended its side too: what it waits for, perhaps for hours, is not waited for.
        this.#host.clock.schedule(peerDoneMs, () => this.close("the peer has ended its side", "info"));
      },
      onClose: (error) => this.#closed(error),
    });
  }

  get isIdle(): boolean {
    return this.#replies.length === 0;
  }

  /** Something whose end gives memory back, without reading on. */
  get #hasWork(): boolean {
    return this.#isBusy || this.#replies.length > 0 || this.#waiting !== null;
  }

  get isHalfFrame(): boolean {
    return !this.#hasWork && this.#frames.bufferedBytes > 0;
  }

  /** Closes at once and says why in the log; `level` is warn where the peer is to blame. */
  close(reason: string, level: "info" | "warn" = "warn"): void {
    if (this.#isClosed) return;
    this.#host.logger[level]("connection closed", { peer: this.#peer(), reason });
    this.#connection.destroy();
  }

  /** Begins nothing more; closes when everything in flight has been answered. */
  finish(): void {
    this.#isFinishing = true;
    this.#connection.pause();
    this.#endWhenAnswered();
  }

  closeStalled(reason: string): void {
    this.close(reason);
  }

  resumeReading(): void {
    this.#isOverBudget = false;
    this.#regulate();
  }

  #peer(): string {
    return `${this.#connection.remote.host}:${this.#connection.remote.port}`;
  }

  #receive(chunk: Buffer): void {
    if (this.#isClosed) return;
    this.lastActiveMs = this.#host.clock.monotonicMs();
    this.#frames.push(chunk);
    this.#heldBytes += chunk.length;
    if (!this.#host.budget.take(this, chunk.length)) this.#isOverBudget = true;
    this.#pump();
  }

  /** Begins every request whose turn has come. */
  #pump(): void {
    if (this.#isPumping) return; // An answer given at once comes back here: the loop below goes on with the next request.
    this.#isPumping = true;
    while (!this.#isClosed && !this.#isBusy && !this.#isFinishing) {
      const frame = this.#nextFrame();
      if (frame === null) break;
      if (this.#replies.length >= this.#host.limits.inFlightMax) break;
      if (this.#connection.queuedBytes > this.#host.limits.unsentBytesMax) break;
      if (!this.#begin(frame)) break;
      this.#waiting = null;
    }
    this.#isPumping = false;
    this.#regulate();
  }

  #nextFrame(): Buffer | null {
    if (this.#waiting !== null) return this.#waiting;
    try {
      this.#waiting = this.#frames.next();
    } catch (error) {
      if (!(error instanceof BadFrame)) throw error;
      this.close(error.message);
      return null;
    }
    return this.#waiting;
  }

  /** False: its turn has not come (an earlier request must be answered first), or the connection was closed. */
  #begin(frame: Buffer): boolean {
    const reader = new ByteReader(frame);
    let context: RequestContext;
    let handler: BoundHandler | undefined;
    try {
      const { key, version } = requestOf(frame);
      handler = this.#host.handlers.get(key);
      if (handler === undefined) {
        this.close(`request for API key ${key} version ${version}, which this listener does not serve`);
        return false;
      }
      const isServed = version >= handler.versions[0] && version <= handler.versions[1];
      if (!isServed) {
        if (key === apiVersionsKey && this.#replies.length === 0) {
          this.#replyUnsupportedApiVersions(frame);
          return true;
        }
        if (key === apiVersionsKey) return false;
        this.close(
          `${handler.api.name} version ${version} is not served (${handler.versions[0]} to ${handler.versions[1]} are)`,
        );
        return false;
      }
      if (handler.phases === "one" && this.#replies.length > 0) return false;
      const header = readRequestHeader(reader);
      context = { version, correlationId: header.correlationId, clientId: header.clientId, connection: this.info };
      this.#serve(handler, handler.api.request.read(reader, version), context, frame);
      return true;
    } catch (error) {
      this.#refuse(error, handler, frame);
      return false;
    }
  }

  #replyUnsupportedApiVersions(frame: Buffer): void {
    const reply = this.#enqueue(frame);
    this.#complete(reply, unsupportedApiVersions(frame.readInt32BE(4)));
  }

  #enqueue(frame: Buffer): Reply {
    const reply: Reply = { parts: null, isDone: false, frame, mayReuseFrame: null };
    this.#replies.push(reply);
    return reply;
  }

  #serve(handler: BoundHandler, request: unknown, context: RequestContext, frame: Buffer): void {
    const reply = this.#enqueue(frame);
    const outcome = handler.handle(request, context);
    if (handler.phases === "two") {
      const { inOrder, answer, mayReuseRequest } = outcome as TwoPhases<unknown>;
      reply.mayReuseFrame = mayReuseRequest;
      answer.then(
        (response) => this.#answer(reply, handler, context, response),
        (error: unknown) => this.#fail(error, handler, context),
      );
      if (inOrder !== null) this.#busyUntil(inOrder, handler, context);
    } else if (outcome instanceof Promise) {
      this.#isBusy = true;
      this.#served = { reply, handler, context };
      outcome.then(this.#onOutcome, this.#onFailure);
    } else {
      this.#answer(reply, handler, context, outcome);
    }
  }

  #busyUntil(settled: Promise<void>, handler: BoundHandler, context: RequestContext): void {
    this.#isBusy = true;
    settled.then(
      () => {
        this.#isBusy = false;
        this.#pump();
      },
      (error: unknown) => this.#fail(error, handler, context),
    );
  }

  readonly #onOutcome = (response: unknown): void => {
    const served = must(this.#served, "what is answered is being served");
    this.#isBusy = false;
    this.#served = null;
    try {
      this.#answer(served.reply, served.handler, served.context, response);
    } catch (error) {
      this.#fail(error, served.handler, served.context);
    }
  };

  readonly #onFailure = (error: unknown): void => {
    this.#fail(error, this.#served?.handler, this.#served?.context ?? null);
  };

  #answer(reply: Reply, handler: BoundHandler, context: RequestContext, response: unknown): void {
    if (this.#isClosed) return discard(response);
    if (response === noAnswer) return this.#complete(reply, []);
    const writer = new ByteWriter();
    writeResponseHeader(writer, handler.api, context.version, context.correlationId);
    handler.api.response.write(writer, response, context.version);
    this.#complete(reply, writer.finishFrame() as readonly Part[]);
  }

  #complete(reply: Reply, parts: readonly Part[]): void {
    reply.parts = parts;
    reply.isDone = true;
    let first = this.#replies.first();
    while (first?.isDone === true && !this.#isClosed) {
      this.#replies.shift();
      this.#release(first);
      if (first.parts !== null && first.parts.length > 0) this.#connection.send(first.parts, this.#onSent);
      first = this.#replies.first();
    }
    this.#pump();
    if (this.#isPeerDone || this.#isFinishing) this.#endWhenAnswered();
  }

  #release({ frame, mayReuseFrame }: Reply): void {
    const heldBytes = frame.length + lengthBytes;
    this.#heldBytes -= heldBytes;
    this.#host.budget.release(heldBytes);
    if (mayReuseFrame?.() === true) this.#host.framePool.give(frame);
  }

  readonly #onSent = (): void => {
    if (this.#waiting !== null && !this.#isBusy) this.#pump();
  };

  #endWhenAnswered(): void {
    const hasMore = this.#waiting !== null && !this.#isFinishing;
    if (this.#replies.length === 0 && !hasMore && !this.#isClosed) this.#connection.end();
  }

  /** Reads on or stops reading, by what is held. */
  #regulate(): void {
    if (this.#isClosed || this.#isFinishing) return;
    const { inFlightMax, inFlightBytesMax } = this.#host.limits;
    const isFull =
      this.#isOverBudget ||
      this.#replies.length >= inFlightMax ||
      (this.#hasWork && this.#heldBytes >= inFlightBytesMax);
    if (isFull === this.#isPaused) return;
    this.#isPaused = isFull;
    if (isFull) this.#connection.pause();
    else this.#connection.resume();
  }

  /** The request could not be read, or its handler threw before its first wait. */
  #refuse(error: unknown, handler: BoundHandler | undefined, frame: Buffer): void {
    if (error instanceof MalformedMessage) {
      const { key, version } = requestOf(frame);
      const api = handler?.api.name ?? `API key ${key}`;
      this.close(`unreadable ${api} version ${version}: ${error.message}`);
      return;
    }
    this.#fail(error, handler, null);
  }

  #fail(error: unknown, handler: BoundHandler | undefined, context: RequestContext | null): void {
    const api = `${handler?.api.name ?? "unknown API"} version ${context?.version ?? "?"}`;
    if (error instanceof CloseConnection) {
      this.close(`${api}: ${error.message}`);
      return;
    }
    if (error instanceof MalformedMessage) {
      this.close(`unreadable ${api}: ${error.message}`);
      return;
    }
    this.#host.logger.error("a request failed for a reason that has no error code", {
      api: handler?.api.name,
      version: context?.version,
      peer: this.#peer(),
      clientId: context?.clientId,
      error,
    });
    if (error instanceof AssertionFailure) this.#host.fatal(error);
    this.#connection.destroy();
  }

  #closed(error: Error | null): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (error !== null) this.#host.logger.debug("connection lost", { peer: this.#peer(), reason: error.message });
    for (const reply of this.#replies) if (reply.parts !== null) discard(reply.parts);
    this.#replies.clear();
    this.#waiting = null;
    this.#host.budget.release(this.#heldBytes);
    this.#heldBytes = 0;
    this.#host.budget.forget(this);
    this.#host.onClosed(this);
  }
}

/** As its first bytes say; −1 where there are none. */
function requestOf(frame: Buffer): { readonly key: number; readonly version: number } {
  const key = frame.length >= 2 ? frame.readInt16BE(0) : -1;
  return { key, version: frame.length >= 4 ? frame.readInt16BE(2) : -1 };
}

/** Gives back the file slices of an answer that nobody will read. */
export function discard(value: unknown): void {
  if (Array.isArray(value)) for (const item of value) discard(item);
  else if (value !== null && typeof value === "object") {
    if ("release" in value && typeof value.release === "function") value.release();
    else if (!ArrayBuffer.isView(value)) for (const item of Object.values(value)) discard(item);
  }
}
