/** RemoveRaftVoter v0 (KIP-853): a controller loses its vote; a leader that loses its own gives up the lead when that is committed. */
import { removeRaftVoter } from "kafka-protocol-ts/messages/81-remove-raft-voter";
import type { RemoveRaftVoterResponseInput } from "kafka-protocol-ts/messages/81-remove-raft-voter";
import { failed } from "@millrace/base/result";
import { zeroUuid } from "kafka-protocol-ts/reader";
import { removeVoter } from "../quorum/membership.ts";
import type { NodeServices } from "../services.ts";
import { outcomeOf } from "./config-answers.ts";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";
import { clusterFault } from "./quorum-requests.ts";

/** The request names no time: as long as a change that goes well can take. */
const timeoutMs = 10_000;

export const removeRaftVoterHandler: Handler<NodeServices> = handler(
  removeRaftVoter,
  async (services: NodeServices, request): Promise<RemoveRaftVoterResponseInput> => {
    const { voterId: nodeId, voterDirectoryId: directoryId } = request;
    const fault = clusterFault(services, request.clusterId);
    if (fault !== null) return { throttleTimeMs: 0, ...outcomeOf(fault) };
    if (nodeId < 0 || directoryId === zeroUuid) {
      const why = failed("bad-request" as const, "Remove voter request didn't include a valid voter");
      return { throttleTimeMs: 0, ...outcomeOf(why) };
    }
    const removed = await removeVoter(services, { nodeId, directoryId }, { timeoutMs });
    return { throttleTimeMs: 0, ...outcomeOf(removed) };
  },
);
