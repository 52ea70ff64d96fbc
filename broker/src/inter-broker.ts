import { failed } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { Api } from "kafka-protocol-ts/api";

/** Requests of this broker to another one, on the listener that brokers use. */
export interface InterBroker {
  /** Who leads it, by the metadata; null: nobody at present. */
  leaderOf(topic: string, partition: number): number | null;
  /**
   * unreachable: there is no answer, and nobody knows whether the other one has done what was asked. A function gives the message for the
   * version on which both agree.
   */
  request<Req, Res, ReqInput, ResInput>(
    brokerId: number,
    api: Api<Req, Res, ReqInput, ResInput>,
    message: ReqInput | ((version: number) => ReqInput),
    options: { readonly timeoutMs: number },
  ): Promise<Result<Res, "unreachable">>;
}

/** Of a node by itself: everything is led here, so nobody else is asked. */
export function localOnly(nodeId: number): InterBroker {
  return {
    leaderOf: () => nodeId,
    request: async () => failed("unreachable"),
  };
}
