import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { Address, Clock, Timer } from "@millrace/base/world";
import type { Api } from "kafka-protocol-ts/api";
import { ErrorCode } from "kafka-protocol-ts/errors";
import type { PeerFailure } from "./failures.ts";
import type { PeerName, Peers, Purpose } from "./peers.ts";

/**
 * - timed-out: no controller that is active has answered in time
 * - unsupported: the controller is of a version that does not know what is asked
 * - closed: this node is stopping
 */
export type ChannelFailure = "timed-out" | "unsupported" | "closed";

export interface ActiveController {
  readonly nodeId: PeerName;
  readonly address: Address;
}

export interface ChannelOptions {
  readonly peers: Peers;
  readonly clock: Clock;
  /** Requests of one channel are answered in order: what must not wait for others has a channel of its own. */
  readonly purpose: Purpose;
  /** A controller that is silent for so long is taken for gone; Kafka's controller.socket.timeout.ms. Default 30 s. */
  readonly attemptTimeoutMs?: number;
  /** Null: none is known. */
  activeController(): ActiveController | null;
}

const attemptTimeoutMsDefault = 30_000;
/** As often as Kafka looks for a controller; `controllerChanged` is faster. */
const lookMs = 100;

/**
 * Brings requests to the controller that is active, whichever that is: as Kafka's NodeToControllerChannelManager, one that a
 * connection or a controller was lost under is sent again, without a question whether it was carried out. So what goes through it
 * may be carried out twice.
 */
export class ControllerChannel {
  readonly #options: ChannelOptions;
  /** What waits, and looks whether it is over. */
  readonly #looks = new Set<() => void>();
  #isClosed = false;

  constructor(options: ChannelOptions) {
    this.#options = options;
  }

  /** There is another controller, or none: whoever waits looks at once. */
  controllerChanged(): void {
    for (const look of [...this.#looks]) look();
  }

  close(): void {
    this.#isClosed = true;
    this.controllerChanged();
  }

  /** Sends to the active controller until one answers that it is; an answer of any other kind is the caller's. */
  async request<Req, Res, ReqInput, ResInput>(
    api: Api<Req, Res, ReqInput, ResInput>,
    message: ReqInput | ((version: number) => ReqInput),
    { timeoutMs }: { readonly timeoutMs: number },
  ): Promise<Result<Res, ChannelFailure>> {
    const { clock, activeController } = this.#options;
    const untilMs = clock.monotonicMs() + timeoutMs;
    let why = "no controller is known";
    for (;;) {
      if (this.#isClosed) return failed("closed", "this node is stopping");
      if (clock.monotonicMs() >= untilMs)
        return failed("timed-out", `${api.name} was not done by a controller within ${timeoutMs} ms: ${why}`);
      const controller = activeController();
      if (controller === null) {
        await this.#when(() => activeController() !== null, untilMs).over;
        continue;
      }
      const moved = this.#when(() => isOther(activeController(), controller), untilMs);
      const outcome = await Promise.race([this.#attempt(controller, api, message), moved.over]);
      moved.stop();
      if (outcome === undefined) {
        why = `node ${controller.nodeId} has not answered`;
        continue;
      }
      if (outcome.ok && !saysNotController(outcome.value)) return ok(outcome.value);
      if (!outcome.ok && outcome.failure === "unsupported") return failed("unsupported", outcome.message);
      why = outcome.ok
        ? `node ${controller.nodeId} is not the active controller`
        : (outcome.message ?? outcome.failure);
      const pauseEndMs = Math.min(untilMs, clock.monotonicMs() + lookMs);
      await this.#when(() => isOther(activeController(), controller), pauseEndMs).over;
    }
  }

  async #attempt<Req, Res, ReqInput, ResInput>(
    { nodeId, address }: ActiveController,
    api: Api<Req, Res, ReqInput, ResInput>,
    message: ReqInput | ((version: number) => ReqInput),
  ): Promise<Result<Res, PeerFailure>> {
    const { peers, purpose, attemptTimeoutMs = attemptTimeoutMsDefault } = this.#options;
    const connected = await peers.to(nodeId, address, purpose);
    if (!connected.ok) return connected;
    // The deadline of a request is not that of the connection: it would take the others with it.
    return connected.value.request(api, message, { timeoutMs: attemptTimeoutMs });
  }

  /** Until it holds, the time is over, or the channel is closed. */
  #when(isOver: () => boolean, untilMs: number): { readonly over: Promise<void>; stop(): void } {
    const { clock } = this.#options;
    const { promise, resolve } = Promise.withResolvers<void>();
    let timer: Timer | null = null;
    const stop = (): void => {
      timer?.cancel();
      this.#looks.delete(look);
      resolve();
    };
    const look = (): void => {
      timer?.cancel();
      const leftMs = untilMs - clock.monotonicMs();
      if (this.#isClosed || leftMs <= 0 || isOver()) stop();
      else timer = clock.schedule(Math.min(lookMs, leftMs), look);
    };
    this.#looks.add(look);
    look();
    return { over: promise, stop };
  }
}

/** None is no other one: the one that was may still answer. */
function isOther(now: ActiveController | null, before: ActiveController): boolean {
  if (now === null) return false;
  const { nodeId, address } = now;
  return nodeId !== before.nodeId || address.host !== before.address.host || address.port !== before.address.port;
}

/** Anywhere in an answer, as Kafka looks for it: some APIs tell errors of their parts only. */
export function saysNotController(answer: unknown): boolean {
  if (Array.isArray(answer)) return answer.some(saysNotController);
  if (answer === null || typeof answer !== "object" || ArrayBuffer.isView(answer)) return false;
  if ("errorCode" in answer && answer.errorCode === ErrorCode.NOT_CONTROLLER) return true;
  return Object.values(answer).some(saysNotController);
}
