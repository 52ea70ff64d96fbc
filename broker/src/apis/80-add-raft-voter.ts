/**
 * AddRaftVoter v0–v1 (KIP-853): a controller that follows the quorum gets a vote. The answer leaves when that is committed, also where
 * v1 asks for less: nobody waits for this answer who has to commit it.
 */
import { addRaftVoter } from "kafka-protocol-ts/messages/80-add-raft-voter";
import type { AddRaftVoterResponseInput } from "kafka-protocol-ts/messages/80-add-raft-voter";
import { failed } from "@millrace/base/result";
import { zeroUuid } from "kafka-protocol-ts/reader";
import { addVoter } from "../quorum/membership.ts";
import type { NodeServices } from "../services.ts";
import { outcomeOf } from "./config-answers.ts";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";
import { clusterFault } from "./quorum-requests.ts";

/** Whoever asks for longer is answered before its patience or its forwarder's ends. */
const timeoutMsMax = 20_000;

export const addRaftVoterHandler: Handler<NodeServices> = handler(
  addRaftVoter,
  async (services: NodeServices, request): Promise<AddRaftVoterResponseInput> => {
    const { voterId, voterDirectoryId, timeoutMs } = request;
    const fault = clusterFault(services, request.clusterId);
    if (fault !== null) return { throttleTimeMs: 0, ...outcomeOf(fault) };
    const endpoints = request.listeners.map(({ name, host, port }) => ({ listener: name, host, port }));
    const isVoter = voterId >= 0 && voterDirectoryId !== zeroUuid;
    if (!isVoter || endpoints.length === 0) {
      const lack = isVoter ? "the endpoint of a listener" : "a valid voter";
      const why = failed("bad-request" as const, `Add voter request didn't include ${lack}`);
      return { throttleTimeMs: 0, ...outcomeOf(why) };
    }
    const node = { id: voterId, directoryId: voterDirectoryId, endpoints };
    const added = await addVoter(services, node, { timeoutMs: Math.min(Math.max(0, timeoutMs), timeoutMsMax) });
    return { throttleTimeMs: 0, ...outcomeOf(added) };
  },
);
