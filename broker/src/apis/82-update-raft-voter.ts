/** UpdateRaftVoter v0 (KIP-853): a voter that started says where it is reached. */
import { updateRaftVoter } from "kafka-protocol-ts/messages/82-update-raft-voter";
import type {
  UpdateRaftVoterRequest,
  UpdateRaftVoterResponseInput,
} from "kafka-protocol-ts/messages/82-update-raft-voter";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { codeOfControllerFailure } from "../metadata/controller/decision.ts";
import { updateVoter } from "../quorum/membership.ts";
import type { NodeServices } from "../services.ts";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";
import { clusterFault } from "./quorum-requests.ts";

export const updateRaftVoterHandler: Handler<NodeServices> = handler(
  updateRaftVoter,
  async (services: NodeServices, request): Promise<UpdateRaftVoterResponseInput> => ({
    throttleTimeMs: 0,
    errorCode: await outcome(services, request),
  }),
);

async function outcome(services: NodeServices, request: UpdateRaftVoterRequest): Promise<ErrorCode> {
  const fault = clusterFault(services, request.clusterId);
  if (fault !== null) return codeOfControllerFailure[fault.failure];
  const { term } = services.metadata.quorum.status;
  if (request.currentLeaderEpoch < term) return ErrorCode.FENCED_LEADER_EPOCH;
  if (request.currentLeaderEpoch > term) return ErrorCode.UNKNOWN_LEADER_EPOCH;
  const { minSupportedVersion, maxSupportedVersion } = request.kRaftVersionFeature;
  const level = services.metadata.image.features.get("kraft.version") ?? 0;
  const isServed = minSupportedVersion <= level && level <= maxSupportedVersion;
  if (request.listeners.length === 0 || !isServed) return ErrorCode.INVALID_REQUEST;
  const updated = await updateVoter(services, {
    id: request.voterId,
    directoryId: request.voterDirectoryId,
    endpoints: request.listeners.map(({ name, host, port }) => ({ listener: name, host, port })),
  });
  return updated.ok ? ErrorCode.NONE : codeOfControllerFailure[updated.failure];
}
