import type { NodeServices } from "../services.ts";
import type { Handler } from "./handler.ts";
import { produceHandler } from "./00-produce.ts";
import { fetchHandler } from "./01-fetch.ts";
import { listOffsetsHandler } from "./02-list-offsets.ts";
import { metadataHandler } from "./03-metadata.ts";
import { offsetCommitHandler } from "./08-offset-commit.ts";
import { offsetFetchHandler } from "./09-offset-fetch.ts";
import { findCoordinatorHandler } from "./10-find-coordinator.ts";
import { joinGroupHandler } from "./11-join-group.ts";
import { heartbeatHandler } from "./12-heartbeat.ts";
import { leaveGroupHandler } from "./13-leave-group.ts";
import { syncGroupHandler } from "./14-sync-group.ts";
import { describeGroupsHandler } from "./15-describe-groups.ts";
import { listGroupsHandler } from "./16-list-groups.ts";
import { apiVersionsHandler } from "./18-api-versions.ts";
import { createTopicsHandler } from "./19-create-topics.ts";
import { deleteTopicsHandler } from "./20-delete-topics.ts";
import { deleteRecordsHandler } from "./21-delete-records.ts";
import { initProducerIdHandler } from "./22-init-producer-id.ts";
import { offsetForLeaderEpochHandler } from "./23-offset-for-leader-epoch.ts";
import { addPartitionsToTxnHandler } from "./24-add-partitions-to-txn.ts";
import { addOffsetsToTxnHandler } from "./25-add-offsets-to-txn.ts";
import { endTxnHandler } from "./26-end-txn.ts";
import { writeTxnMarkersHandler } from "./27-write-txn-markers.ts";
import { txnOffsetCommitHandler } from "./28-txn-offset-commit.ts";
import { describeConfigsHandler } from "./32-describe-configs.ts";
import { alterConfigsHandler } from "./33-alter-configs.ts";
import { describeLogDirsHandler } from "./35-describe-log-dirs.ts";
import { createPartitionsHandler } from "./37-create-partitions.ts";
import { deleteGroupsHandler } from "./42-delete-groups.ts";
import { electLeadersHandler } from "./43-elect-leaders.ts";
import { incrementalAlterConfigsHandler } from "./44-incremental-alter-configs.ts";
import { alterPartitionReassignmentsHandler } from "./45-alter-partition-reassignments.ts";
import { listPartitionReassignmentsHandler } from "./46-list-partition-reassignments.ts";
import { offsetDeleteHandler } from "./47-offset-delete.ts";
import { describeQuorumHandler } from "./55-describe-quorum.ts";
import { alterPartitionHandler } from "./56-alter-partition.ts";
import { updateFeaturesHandler } from "./57-update-features.ts";
import { envelopeHandler } from "./58-envelope.ts";
import { describeClusterHandler, describeControllersHandler } from "./60-describe-cluster.ts";
import { describeProducersHandler } from "./61-describe-producers.ts";
import { brokerRegistrationHandler } from "./62-broker-registration.ts";
import { brokerHeartbeatHandler } from "./63-broker-heartbeat.ts";
import { unregisterBrokerHandler } from "./64-unregister-broker.ts";
import { describeTransactionsHandler } from "./65-describe-transactions.ts";
import { listTransactionsHandler } from "./66-list-transactions.ts";
import { allocateProducerIdsHandler } from "./67-allocate-producer-ids.ts";
import { consumerGroupHeartbeatHandler } from "./68-consumer-group-heartbeat.ts";
import { consumerGroupDescribeHandler } from "./69-consumer-group-describe.ts";
import { listConfigResourcesHandler } from "./74-list-config-resources.ts";
import { describeTopicPartitionsHandler } from "./75-describe-topic-partitions.ts";
import { addRaftVoterHandler } from "./80-add-raft-voter.ts";
import { removeRaftVoterHandler } from "./81-remove-raft-voter.ts";
import { updateRaftVoterHandler } from "./82-update-raft-voter.ts";
import { explainHandler } from "./10000-explain.ts";
import { formationHandler } from "./10002-formation.ts";
import { forwarded } from "./forwarded.ts";
import { raftHandler } from "./10001-raft.ts";

/** Everything the broker listener speaks. A handler that is not here is not served and not advertised. */
export const brokerHandlers: readonly Handler[] = [
  produceHandler,
  fetchHandler,
  listOffsetsHandler,
  metadataHandler,
  offsetCommitHandler,
  offsetFetchHandler,
  findCoordinatorHandler,
  joinGroupHandler,
  heartbeatHandler,
  leaveGroupHandler,
  syncGroupHandler,
  describeGroupsHandler,
  listGroupsHandler,
  apiVersionsHandler,
  forwarded(createTopicsHandler),
  forwarded(deleteTopicsHandler),
  deleteRecordsHandler,
  initProducerIdHandler,
  offsetForLeaderEpochHandler,
  addPartitionsToTxnHandler,
  addOffsetsToTxnHandler,
  endTxnHandler,
  writeTxnMarkersHandler,
  txnOffsetCommitHandler,
  describeConfigsHandler,
  forwarded(alterConfigsHandler),
  describeLogDirsHandler,
  forwarded(createPartitionsHandler),
  deleteGroupsHandler,
  forwarded(electLeadersHandler),
  forwarded(incrementalAlterConfigsHandler),
  forwarded(alterPartitionReassignmentsHandler),
  forwarded(listPartitionReassignmentsHandler),
  offsetDeleteHandler,
  forwarded(describeQuorumHandler),
  forwarded(updateFeaturesHandler),
  describeClusterHandler,
  describeProducersHandler,
  forwarded(unregisterBrokerHandler),
  describeTransactionsHandler,
  listTransactionsHandler,
  consumerGroupHeartbeatHandler,
  consumerGroupDescribeHandler,
  listConfigResourcesHandler,
  describeTopicPartitionsHandler,
  forwarded(addRaftVoterHandler),
  forwarded(removeRaftVoterHandler),
  explainHandler,
];

/** What every node serves on a controller listener: what nodes say to each other, and what the active controller decides. */
export const controllerHandlers: readonly Handler<NodeServices>[] = [
  apiVersionsHandler,
  createTopicsHandler,
  deleteTopicsHandler,
  alterConfigsHandler,
  createPartitionsHandler,
  electLeadersHandler,
  incrementalAlterConfigsHandler,
  alterPartitionReassignmentsHandler,
  listPartitionReassignmentsHandler,
  describeQuorumHandler,
  alterPartitionHandler,
  updateFeaturesHandler,
  envelopeHandler,
  describeControllersHandler,
  brokerRegistrationHandler,
  brokerHeartbeatHandler,
  unregisterBrokerHandler,
  allocateProducerIdsHandler,
  addRaftVoterHandler,
  removeRaftVoterHandler,
  updateRaftVoterHandler,
  raftHandler,
  formationHandler,
];
