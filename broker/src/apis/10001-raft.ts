/**
 * Raft v0: messages of the controllers' consensus, Millrace's own. Whoever has no vote asks for its messages by it, and waits. What
 * comes is the transport's (`broker/src/quorum/transport.ts`); a node without one has no quorum to speak of.
 */
import { raft } from "kafka-protocol-ts/messages/10001-raft";
import type { RaftRequest, RaftResponseInput } from "kafka-protocol-ts/messages/10001-raft";
import { errorMessage, ErrorCode } from "kafka-protocol-ts/errors";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

/** Where Raft requests end. */
export interface RaftReceiver {
  receive(request: RaftRequest): Promise<RaftResponseInput>;
}

export interface RaftServices {
  readonly raft: RaftReceiver | null;
}

export const raftHandler: Handler<RaftServices> = handler(
  raft,
  async (services: RaftServices, request): Promise<RaftResponseInput> => {
    if (services.raft !== null) return services.raft.receive(request);
    const errorCode = ErrorCode.NOT_CONTROLLER;
    return { throttleTimeMs: 0, errorCode, errorMessage: errorMessage(errorCode), messages: [] };
  },
);
