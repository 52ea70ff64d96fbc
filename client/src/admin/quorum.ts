import { describeQuorum } from "kafka-protocol-ts/messages/55-describe-quorum";
import type { DescribeQuorumResponse } from "kafka-protocol-ts/messages/55-describe-quorum";
import { addRaftVoter } from "kafka-protocol-ts/messages/80-add-raft-voter";
import { removeRaftVoter } from "kafka-protocol-ts/messages/81-remove-raft-voter";
import { KafkaError } from "../errors.ts";
import type { CallOptions, Calls } from "./calls.ts";
import { check } from "./calls.ts";
import { controller } from "./routes.ts";

/** The controllers, which agree on the cluster's metadata, and who follows them. */
export interface QuorumDescription {
  /** The active controller; -1 while there is none. */
  readonly leaderId: number;
  /** Grows with each election. */
  readonly leaderEpoch: number;
  /** The end of the metadata log that most voters have. */
  readonly highWatermark: number;
  /** Those that elect, the leader among them. */
  readonly voters: readonly QuorumReplica[];
  /** Those that follow and do not vote: brokers. */
  readonly observers: readonly QuorumReplica[];
  /** Where the voters listen; empty where the broker is older than 3.9. */
  readonly controllers: readonly QuorumController[];
}

/** Somebody who keeps the metadata log. */
export interface QuorumReplica {
  /** Its `node.id`. */
  readonly nodeId: number;
  /** Base64; null where the broker is older than 3.9. */
  readonly directoryId: string | null;
  /** How far it has come; the leader says it of others as of their last fetch. */
  readonly logEndOffset: number;
  /** Null where the leader does not know. */
  readonly lastFetchAtMs: number | null;
  /** Null where the leader does not know. */
  readonly lastCaughtUpAtMs: number | null;
}

/** A controller with the addresses that it listens on. */
export interface QuorumController {
  /** Its `node.id`. */
  readonly nodeId: number;
  /** One for each name of a listener. */
  readonly listeners: readonly QuorumListener[];
}

/** An address of a controller. */
export interface QuorumListener {
  /** The name of the listener: "CONTROLLER". */
  readonly name: string;
  /** Where it is reached. */
  readonly host: string;
  /** Where it is reached. */
  readonly port: number;
}

/** A controller by its id and that of its directory, which tells a new disk from the one that was lost. */
export interface QuorumVoter {
  /** Its `node.id`. */
  readonly nodeId: number;
  /** Base64, as meta.properties of the controller has it. */
  readonly directoryId: string;
}

/** How to change the voters. */
export interface VoterOptions extends CallOptions {
  /** Refused where the cluster has another. Default: any. */
  readonly clusterId?: string;
}

const metadataTopic = "__cluster_metadata";
type ReplicaAnswer = DescribeQuorumResponse["topics"][number]["partitions"][number]["currentVoters"][number];

/**
 * The quorum of controllers (KRaft).
 *
 * @example
 *     const { leaderId, voters } = await admin.quorum.describe();
 */
export class QuorumAdmin {
  readonly #calls: Calls;

  constructor(calls: Calls) {
    this.#calls = calls;
  }

  /**
   * Who leads, who votes, and how far each has come.
   *
   * @throws KafkaError UNSUPPORTED_VERSION where the cluster has no quorum, as with ZooKeeper.
   */
  async describe(options: CallOptions = {}): Promise<QuorumDescription> {
    const parts = { call: "quorum.describe", route: controller(this.#calls.wire) };
    return this.#calls.ask(parts, options, async (connection) => {
      const version = connection.versionOf(describeQuorum);
      const answer = await connection.request(describeQuorum, {
        topics: [{ topicName: metadataTopic, partitions: [{ partitionIndex: 0 }] }],
      });
      check(answer, "quorum.describe", connection);
      const found = answer.topics[0]?.partitions[0];
      if (found === undefined) {
        const sentence = `quorum.describe: the answer of ${connection.name} names no quorum`;
        throw new KafkaError("UNKNOWN_SERVER_ERROR", sentence, { broker: connection.name });
      }
      check(found, "quorum.describe", connection);
      const { leaderId, leaderEpoch, highWatermark } = found;
      const replicaOf = (told: ReplicaAnswer): QuorumReplica => ({
        nodeId: told.replicaId,
        directoryId: version >= 2 ? told.replicaDirectoryId : null,
        logEndOffset: told.logEndOffset,
        lastFetchAtMs: told.lastFetchTimestamp < 0 ? null : told.lastFetchTimestamp,
        lastCaughtUpAtMs: told.lastCaughtUpTimestamp < 0 ? null : told.lastCaughtUpTimestamp,
      });
      return {
        leaderId,
        leaderEpoch,
        highWatermark,
        voters: found.currentVoters.map(replicaOf),
        observers: found.observers.map(replicaOf),
        controllers: answer.nodes,
      };
    });
  }

  /**
   * Makes a controller that runs as an observer a voter.
   *
   * @throws KafkaError DUPLICATE_VOTER; UNSUPPORTED_VERSION, or INVALID_REQUEST, where the quorum is a static one.
   */
  async addVoter(
    voter: QuorumVoter & { readonly listeners: readonly QuorumListener[] },
    options: VoterOptions = {},
  ): Promise<void> {
    const { nodeId: voterId, directoryId: voterDirectoryId, listeners } = voter;
    const parts = { call: "quorum.addVoter", route: controller(this.#calls.wire) };
    await this.#calls.ask(parts, options, async (connection) => {
      const answer = await connection.request(addRaftVoter, {
        clusterId: options.clusterId ?? null,
        timeoutMs: this.#calls.brokerTimeoutMs(options),
        voterId,
        voterDirectoryId,
        listeners,
      });
      check(answer, `voter ${voterId}`, connection);
    });
  }

  /**
   * Takes a controller out of the quorum.
   *
   * @throws KafkaError VOTER_NOT_FOUND; UNSUPPORTED_VERSION, or INVALID_REQUEST, where the quorum is a static one.
   */
  async removeVoter(voter: QuorumVoter, options: VoterOptions = {}): Promise<void> {
    const { nodeId: voterId, directoryId: voterDirectoryId } = voter;
    const parts = { call: "quorum.removeVoter", route: controller(this.#calls.wire) };
    await this.#calls.ask(parts, options, async (connection) => {
      const answer = await connection.request(removeRaftVoter, {
        clusterId: options.clusterId ?? null,
        voterId,
        voterDirectoryId,
      });
      check(answer, `voter ${voterId}`, connection);
    });
  }
}
