import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { Clock } from "@millrace/base/world";
import type { Refusal } from "raft-ts-lite";
import type { ItemResult } from "../metadata/controller/decision.ts";
import { forgetQuorumNode, registerQuorumNode } from "../metadata/controller/quorum-nodes.ts";
import type { ControllerImage } from "../metadata/image.ts";
import type { MetadataService } from "../metadata/metadata.ts";
import { memberOf, raftIdOf } from "./node-ids.ts";
import type { QuorumMember } from "./node-ids.ts";
import type { ProposalFailure } from "./quorum.ts";

export interface MembershipServices {
  readonly clock: Clock;
  readonly metadata: MetadataService;
}

/** Between two looks at a node that is about to vote. */
const lookMs = 50;
/** As long as a node that takes the lead at once may take, and longer than raft itself tries it. */
const transferMs = 1_000;

/**
 * AddRaftVoter (KIP-853): a node that follows gets a vote when it has nearly all of the log. Before, all nodes learn where it is:
 * whoever leads next must be able to send to it.
 */
export async function addVoter(
  services: MembershipServices,
  node: ControllerImage,
  { timeoutMs }: { readonly timeoutMs: number },
): Promise<ItemResult<null>> {
  const { metadata, clock } = services;
  const allowed = await mayChange(services, "adding");
  if (!allowed.ok) return allowed;
  const { id: nodeId, directoryId } = node;
  const voters = votersOf(metadata);
  if (voters.some((voter) => voter.nodeId === nodeId)) {
    return failed(
      "duplicate-voter",
      `The voter id for ${keyText({ nodeId, directoryId })} is already part of the set of voters ${keysText(voters)}.`,
    );
  }
  const name = raftIdOf({ nodeId, directoryId });
  const untilMs = clock.monotonicMs() + timeoutMs;
  const follows = (): boolean => metadata.quorum.status.others.some(({ id }) => id === name);
  while (!follows()) {
    if (clock.monotonicMs() >= untilMs) {
      const member = keyText({ nodeId, directoryId });
      return failed("timed-out", `New voter ${member} is not ready to receive requests: it does not follow the leader`);
    }
    await pause(clock);
  }
  const registered = await metadata.decide((context) => registerQuorumNode(context, node));
  if (!registered.ok) return registered;
  for (;;) {
    const changed = await inTime(clock, untilMs, metadata.quorum.change({ kind: "add", node: name }));
    if (changed.ok) return ok(null);
    const isSoon = changed.failure === "not-caught-up" || changed.failure === "change-pending";
    if (isSoon && clock.monotonicMs() < untilMs) {
      await pause(clock);
      continue;
    }
    // A change that is under way may still come about; then the address is needed.
    const isOver = changed.failure !== "in-doubt" && changed.failure !== "lost";
    if (isOver) await metadata.decide((context) => forgetQuorumNode(context, { id: nodeId, directoryId }));
    return failed(failureOf[changed.failure], reasonOf(changed.failure, "add", { nodeId, directoryId }));
  }
}

/** RemoveRaftVoter (KIP-853): a voter becomes one that follows. */
export async function removeVoter(
  services: MembershipServices,
  member: QuorumMember,
  { timeoutMs }: { readonly timeoutMs: number },
): Promise<ItemResult<null>> {
  const { metadata, clock } = services;
  const allowed = await mayChange(services, "removing");
  if (!allowed.ok) return allowed;
  const voters = votersOf(metadata);
  const name = raftIdOf(member);
  if (!metadata.quorum.status.voters.includes(name)) {
    const text = `Cannot remove voter ${keyText(member)} from the set of voters ${keysText(voters)}`;
    return failed("voter-not-found", text);
  }
  if (name === metadata.quorum.id && (await gaveUpLead(services))) {
    return failed("not-controller", "this node has given the lead to another one, which is to remove it");
  }
  const untilMs = clock.monotonicMs() + timeoutMs;
  for (;;) {
    const changed = await inTime(clock, untilMs, metadata.quorum.change({ kind: "remove", node: name }));
    if (changed.ok) break;
    if (changed.failure === "change-pending" && clock.monotonicMs() < untilMs) {
      await pause(clock);
      continue;
    }
    return failed(failureOf[changed.failure], reasonOf(changed.failure, "remove", member));
  }
  // Not waited for: one that has removed itself leads no more, and an address too many does no harm.
  void metadata.decide((context) => forgetQuorumNode(context, { id: member.nodeId, directoryId: member.directoryId }));
  return ok(null);
}

/**
 * Whoever asked for the removal of the leader is to ask the next one: a leader that removed itself would leave the others without one
 * until they miss it. False: nobody took the lead, and this node has to do it.
 */
async function gaveUpLead({ metadata }: MembershipServices): Promise<boolean> {
  const { quorum } = metadata;
  if (!quorum.status.others.some(({ isVoter }) => isVoter)) return false;
  await quorum.handOver(transferMs);
  return !quorum.isActive;
}

/** UpdateRaftVoter (KIP-853): a voter says where it is. */
export async function updateVoter({ metadata }: MembershipServices, node: ControllerImage): Promise<ItemResult<null>> {
  if (!(await metadata.quorum.activate())) return failed("not-controller");
  const { id: nodeId, directoryId } = node;
  if (!metadata.quorum.status.voters.includes(raftIdOf({ nodeId, directoryId }))) return failed("voter-not-found");
  const decided = await metadata.decide((context) => registerQuorumNode(context, node));
  return decided.ok ? ok(null) : decided;
}

async function mayChange({ metadata }: MembershipServices, what: "adding" | "removing"): Promise<ItemResult<null>> {
  if (!(await metadata.quorum.activate())) return failed("not-controller", "this node is not the active controller");
  const level = metadata.image.features.get("kraft.version") ?? 0;
  if (level > 0) return ok(null);
  return failed(
    "unsupported-version",
    `Cluster doesn't support ${what} voter because the kraft.version feature is ${level}`,
  );
}

type ChangeFailure = ProposalFailure | Refusal | "in-doubt";

const failureOf = {
  "not-leader": "not-controller",
  transferring: "not-controller",
  full: "timed-out",
  "change-pending": "timed-out",
  "no-change": "bad-request",
  "not-caught-up": "timed-out",
  "last-voter": "bad-request",
  "not-written": "metadata-unavailable",
  failed: "metadata-unavailable",
  lost: "timed-out",
  "in-doubt": "timed-out",
} as const satisfies Record<ChangeFailure, unknown>;

function reasonOf(failure: ChangeFailure, what: "add" | "remove", member: QuorumMember): string {
  const reasons: Readonly<Partial<Record<ChangeFailure, string>>> = {
    "not-caught-up": "it is lagging behind",
    "change-pending": "the voter change before it is not committed yet",
    "in-doubt": "it was not committed in time, and may still be",
    lost: "another node leads, and may have it or not",
    "last-voter": "nobody would be left to vote",
    "no-change": "the voters have changed meanwhile",
  };
  return `Aborted ${what} voter operation for ${keyText(member)} since ${reasons[failure] ?? failure}`;
}

/** "in-doubt": it is under way, and not waited for any longer. */
async function inTime<F extends string>(
  clock: Clock,
  untilMs: number,
  outcome: Promise<Result<void, F>>,
): Promise<Result<void, F | "in-doubt">> {
  const { promise, resolve } = Promise.withResolvers<Result<void, "in-doubt">>();
  const timer = clock.schedule(Math.max(lookMs, untilMs - clock.monotonicMs()), () => resolve(failed("in-doubt")));
  const first = await Promise.race([outcome, promise]);
  timer.cancel();
  return first;
}

function pause(clock: Clock): Promise<void> {
  return new Promise((resolve) => clock.schedule(lookMs, resolve, { isAwaited: true }));
}

function votersOf({ quorum }: MetadataService): QuorumMember[] {
  return quorum.status.voters.map(memberOf);
}

function keyText({ nodeId, directoryId }: QuorumMember): string {
  return `ReplicaKey(id=${nodeId}, directoryId=${directoryId})`;
}

function keysText(members: readonly QuorumMember[]): string {
  return `[${members.map(keyText).join(", ")}]`;
}
