import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { Clock } from "@millrace/base/world";
import type { Api } from "kafka-protocol-ts/api";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { brokerHeartbeat } from "kafka-protocol-ts/messages/63-broker-heartbeat";
import type { BoundHandler, RequestContext } from "../apis/handler.ts";
import type { ControllerChannel } from "../peers/controller-channel.ts";
import type { Forwarder } from "../peers/forwarding.ts";
import { callInProcess } from "./in-process.ts";

export interface LinkOptions {
  readonly timeoutMs: number;
}

export interface ControllerLinkOptions {
  readonly clock: Clock;
  /** What this node serves as a controller. */
  readonly handlers: ReadonlyMap<number, BoundHandler>;
  /** This node decides. */
  isHere(): boolean;
  /** Null: there is no other node. */
  readonly elsewhere: {
    readonly channel: ControllerChannel;
    /** Of heartbeats: they wait for nothing else. */
    readonly heartbeats: ControllerChannel;
    readonly forwarder: Forwarder;
  } | null;
}

const ownConnection: RequestContext["connection"] = {
  id: "own",
  clientHost: "127.0.0.1",
  listenerName: "",
  kind: "controller",
};

/** The way from a broker to the active controller, wherever that is: also to the one in this process. */
export class ControllerLink {
  readonly #options: ControllerLinkOptions;

  constructor(options: ControllerLinkOptions) {
    this.#options = options;
  }

  get isHere(): boolean {
    return this.#options.isHere();
  }

  /** A broker's own request. Settles when the active controller has answered, or none did in time. */
  async request<Req, Res, ReqInput, ResInput>(
    api: Api<Req, Res, ReqInput, ResInput>,
    message: ReqInput,
    { timeoutMs }: LinkOptions,
  ): Promise<Result<Res, "no-controller">> {
    const { handlers, elsewhere } = this.#options;
    if (this.isHere || elsewhere === null) return ok(await callInProcess(handlers, api, message, ownConnection));
    const channel = api.key === brokerHeartbeat.key ? elsewhere.heartbeats : elsewhere.channel;
    const answered = await channel.request(api, message, { timeoutMs });
    return answered.ok ? answered : failed("no-controller", answered.message);
  }

  /** A client's request, as that client's. */
  async forward(
    api: Api<unknown, unknown>,
    request: unknown,
    { version, clientId, correlationId, connection }: RequestContext,
    { timeoutMs }: LinkOptions,
  ): Promise<Result<unknown, ErrorCode>> {
    const { elsewhere, clock } = this.#options;
    if (elsewhere === null) return failed(ErrorCode.NOT_CONTROLLER, "this node takes no changes");
    const from = { clientId, correlationId, clientHost: connection.clientHost };
    return elsewhere.forwarder.forward(api, version, request, from, clock.monotonicMs() + timeoutMs);
  }
}
