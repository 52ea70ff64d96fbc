import { KafkaError } from "../../errors.ts";
import type { Assignor, AsyncAssignor } from "../assignors/assignor.ts";
import { assignorsOf } from "../assignors/assignors.ts";
import type { AssignorName } from "../assignors/assignors.ts";
import type { Subscription } from "./membership.ts";

/** How a consumer is a member of its group. */
export interface MembershipOptions {
  /** The name of the group. */
  readonly groupId: string;
  /** What is to be read. */
  readonly subscription: Subscription;
  /**
   * "classic" works with every broker; its leader assigns. "consumer" (KIP-848) is Kafka's since 4.0: the broker assigns, and
   * a member that comes or goes stops nobody else. Members of both can be in one group where the broker allows it. Default
   * "classic".
   */
  readonly protocol?: GroupProtocol;
  /**
   * A static member (KIP-345): it leaves nothing when it closes, and whoever comes back under the same id within the session
   * goes on with the same partitions, without a rebalance. Two at a time fence each other.
   */
  readonly instanceId?: string;
  /** Where this consumer is (KIP-881): assignors that know of racks give it partitions that have a replica there. */
  readonly rack?: string;
  /**
   * A member that is silent for so long is out, and its partitions are others'. Of the consumer protocol the brokers set it
   * (group.consumer.session.timeout.ms); say theirs here if it is not 45,000: after so long without an answer this member
   * holds itself for expelled. Default 45,000.
   */
  readonly sessionTimeoutMs?: number;
  /** Classic only; the consumer protocol's brokers set it. Default 3,000, and at most a third of the session. */
  readonly heartbeatIntervalMs?: number;
  /**
   * How long the others of a group wait for this member to give partitions up, work in flight included; a little before it
   * ends, that work is aborted. Default 60,000.
   */
  readonly rebalanceTimeoutMs?: number;
  /**
   * Classic only, the preferred one first; all members of a group need one in common. A rebalance stops only what moves where
   * the group agrees on a cooperative one. Default ["cooperative-sticky", "range"]: the second is for groups with members of
   * other clients, most of which have it among their defaults.
   */
  readonly assignors?: readonly (AssignorName | Assignor | AsyncAssignor)[];
  /** Consumer protocol only: "uniform" or "range", or what else the brokers have. Default: their first. */
  readonly serverAssignor?: string;
}

/** How a group finds out who reads what: "classic" by its members, "consumer" by the broker (KIP-848). */
export type GroupProtocol = "classic" | "consumer";

/** The options with their defaults, checked. */
export interface MembershipSettings {
  readonly groupId: string;
  readonly protocol: GroupProtocol;
  readonly instanceId: string | null;
  readonly rack: string | null;
  readonly sessionTimeoutMs: number;
  readonly heartbeatIntervalMs: number;
  readonly rebalanceTimeoutMs: number;
  readonly assignors: readonly (Assignor | AsyncAssignor)[];
  readonly serverAssignor: string | null;
  /** After so long the owner's work on what it gives up is aborted, so that the group never has to. */
  readonly revokeTimeoutMs: number;
}

/** @throws KafkaError INVALID_CONFIG, naming the option. */
export function membershipSettings(options: MembershipOptions): MembershipSettings {
  const { groupId, protocol = "classic", assignors = ["cooperative-sticky", "range"] } = options;
  if (groupId === "") throw new KafkaError("INVALID_CONFIG", "groupId: an empty name is no group");
  if (options.instanceId === "")
    throw new KafkaError("INVALID_CONFIG", "instanceId: it is empty; leave it out instead");
  const sessionTimeoutMs = positive("sessionTimeoutMs", options.sessionTimeoutMs ?? 45_000);
  const rebalanceTimeoutMs = positive("rebalanceTimeoutMs", options.rebalanceTimeoutMs ?? 60_000);
  const ownInterval = positive("heartbeatIntervalMs", options.heartbeatIntervalMs ?? 3_000);
  const heartbeatIntervalMs = Math.min(ownInterval, sessionTimeoutMs / 3);
  // A rebalance is heard of a heartbeat after it began.
  const revokeTimeoutMs = Math.max(rebalanceTimeoutMs / 2, rebalanceTimeoutMs - heartbeatIntervalMs - 2_000);
  return {
    groupId,
    protocol,
    instanceId: options.instanceId ?? null,
    rack: options.rack ?? null,
    sessionTimeoutMs,
    heartbeatIntervalMs,
    rebalanceTimeoutMs,
    assignors: assignorsOf(assignors),
    serverAssignor: options.serverAssignor ?? null,
    revokeTimeoutMs,
  };
}

function positive(name: string, value: number): number {
  if (value > 0 && Number.isFinite(value)) return value;
  throw new KafkaError("INVALID_CONFIG", `${name}: ${value} is not a time in milliseconds above 0`);
}
