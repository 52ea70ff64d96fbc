import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { ErrorCode, errorName } from "kafka-protocol-ts/errors";
import { offsetCommit } from "kafka-protocol-ts/messages/08-offset-commit";
import { offsetFetch } from "kafka-protocol-ts/messages/09-offset-fetch";
import { heartbeat } from "kafka-protocol-ts/messages/12-heartbeat";
import { describeGroups } from "kafka-protocol-ts/messages/15-describe-groups";
import { median } from "../statistics.ts";
import { ClassicMember, heartbeatVersion } from "./classic-member.ts";
import { ConsumerMember } from "./consumer-member.ts";
import { failRun, frameOf, Link } from "./link.ts";
import { Meter } from "./meter.ts";
import type { CommitPlan, HeartbeatPlan, RebalancePlan } from "./plan.ts";
import { Settling } from "./settling.ts";

/** The longest that brokers allow by default: a broker that is not measured does not hear of anybody for minutes. */
const sessionTimeoutMs = 1_800_000;
/** While a group is made, its members learn soon that more have come. */
const makingHeartbeatMs = 5;

// --- Rebalance -------------------------------------------------------------------------------------------------------

interface SettleTimes {
  readonly allMs: number;
  readonly leaveMs: number;
  readonly joinMs: number;
}

/** One group after the other for as long as it is measured, and at least one. */
export async function runRebalance(plan: RebalancePlan): Promise<void> {
  const meter = new Meter();
  const times: SettleTimes[] = [];
  meter.begin();
  const endMs = performance.now() + plan.measureMs;
  do {
    times.push(await settleOneGroup({ ...plan, groupId: `${plan.groupId}-${times.length}` }, meter));
  } while (performance.now() < endMs);
  meter.end();
  const middle = (of: (one: SettleTimes) => number): number => median(times.map(of));
  meter.report({
    count: times.length,
    checked: `all ${plan.partitions} partitions owned once after each change, ${times.length} groups`,
    values: {
      allMs: middle((one) => one.allMs),
      leaveMs: middle((one) => one.leaveMs),
      joinMs: middle((one) => one.joinMs),
    },
    transactions: [],
  });
}

/** All members at once; then one leaves; then one comes. */
async function settleOneGroup(plan: RebalancePlan, meter: Meter): Promise<SettleTimes> {
  const settling = new Settling(plan.partitions);
  const links = await linksTo(plan.port, plan.members + 1);
  const onChange = (): void => settling.look();
  const classicPlan = { ...plan, sessionTimeoutMs };
  const members = links.map((link) =>
    plan.protocol === "classic"
      ? new ClassicMember(link, classicPlan, meter, onChange)
      : new ConsumerMember(link, plan, meter, onChange),
  );
  const [first, newcomer] = [members.slice(0, -1), members.at(-1)];
  const [leaver, ...others] = first.toReversed();
  if (leaver === undefined || newcomer === undefined) failRun("a group needs two members");

  const beganMs = performance.now();
  for (const member of first) member.start();
  await settling.until(first, "all join");
  const allMs = performance.now() - beganMs;
  await leaver.stop();
  const leavingMs = performance.now();
  await leaver.leave();
  await settling.until(others, "one leaves");
  const leaveMs = performance.now() - leavingMs;
  const joiningMs = performance.now();
  newcomer.start();
  const all = [...others, newcomer];
  await settling.until(all, "one joins");
  const joinMs = performance.now() - joiningMs;

  await Promise.all(all.map((member) => member.stop()));
  await Promise.all(all.map((member) => member.leave()));
  for (const link of links) link.close();
  return { allMs, leaveMs, joinMs };
}

// --- Heartbeats ------------------------------------------------------------------------------------------------------

interface KeptGroup {
  readonly groupId: string;
  readonly generation: number;
  readonly memberIds: readonly string[];
}

/** Every member is heard of once in each interval, evenly over it. */
export async function runHeartbeats(plan: HeartbeatPlan): Promise<void> {
  const meter = new Meter();
  const links = await linksTo(plan.port, plan.connections);
  if (!existsSync(plan.membersFile)) {
    writeFileSync(plan.membersFile, JSON.stringify(await makeGroups(plan, links, meter)));
  }
  const groups = JSON.parse(readFileSync(plan.membersFile, "utf8")) as readonly KeptGroup[];
  const members = groups.flatMap(({ groupId, generation, memberIds }) =>
    memberIds.map((memberId) => ({
      frame: frameOf(heartbeat, heartbeatVersion, { groupId, generationId: generation, memberId }),
      isOnItsWay: false,
    })),
  );
  const beganMs = performance.now();
  let due = 0;
  const sendDue = (): void => {
    const nowMs = performance.now();
    for (const dueMax = ((nowMs - beganMs) / plan.intervalMs) * members.length; due < dueMax; due++) {
      const member = members[due % members.length];
      const link = links[due % links.length];
      if (member === undefined || link === undefined) continue;
      if (member.isOnItsWay) failRun(`a heartbeat was not answered for ${plan.intervalMs} ms`);
      member.isOnItsWay = true;
      link.send(member.frame, (answer) => {
        // ... throttle time, error code, tags
        const code = answer.readInt16BE(answer.length - 3);
        if (code !== ErrorCode.NONE) failRun(`Heartbeat was answered with ${errorName(code)}`);
        member.isOnItsWay = false;
        meter.count(performance.now() - nowMs);
      });
    }
  };
  const timer = setInterval(sendDue, 1);
  await meter.measure(plan);
  clearInterval(timer);
  const checked = await expectStable(links[0] ?? failRun("no connection"), groups);
  for (const link of links) link.close();
  meter.report({ checked, values: { wantedPerSecond: (members.length / plan.intervalMs) * 1000 }, transactions: [] });
}

/** Each member of a group has a link of its own while the group is made: a JoinGroup that waits holds up what comes after it. */
async function makeGroups(plan: HeartbeatPlan, links: readonly Link[], meter: Meter): Promise<KeptGroup[]> {
  const { membersPerGroup } = plan;
  const groups: KeptGroup[] = [];
  let next = 0;
  const lanes = Array.from({ length: Math.floor(links.length / membersPerGroup) }, async (_, lane) => {
    while (next < plan.groups) {
      const groupId = `bench-heartbeats-${next++}`;
      const own = links.slice(lane * membersPerGroup, (lane + 1) * membersPerGroup);
      const members = await makeGroup(own, { groupId, topic: "bench-heartbeats", partitions: membersPerGroup }, meter);
      const generation = members[0]?.generation ?? -1;
      groups.push({ groupId, generation, memberIds: members.map(({ memberId }) => memberId) });
    }
  });
  await Promise.all(lanes);
  return groups;
}

/** Its members are stable, and then nothing more is heard of them. */
async function makeGroup(
  links: readonly Link[],
  group: { readonly groupId: string; readonly topic: string; readonly partitions: number },
  meter: Meter,
): Promise<readonly ClassicMember[]> {
  const settling = new Settling(group.partitions);
  const plan = { ...group, sessionTimeoutMs, heartbeatMs: makingHeartbeatMs };
  const members = links.map((link) => new ClassicMember(link, plan, meter, () => settling.look()));
  for (const member of members) member.start();
  await settling.until(members, group.groupId);
  await Promise.all(members.map((member) => member.stop()));
  return members;
}

const describedAtOnce = 100;

async function expectStable(link: Link, groups: readonly KeptGroup[]): Promise<string> {
  for (let at = 0; at < groups.length; at += describedAtOnce) {
    const some = groups.slice(at, at + describedAtOnce);
    const described = await link.call(describeGroups, 5, { groups: some.map(({ groupId }) => groupId) });
    for (const { groupId, groupState, members } of described.groups) {
      const wanted = some.find((group) => group.groupId === groupId)?.memberIds.length;
      if (groupState !== "Stable" || members.length !== wanted)
        failRun(`${groupId} is ${groupState} with ${members.length} members`);
    }
  }
  return `${groups.length} groups stable`;
}

// --- Commits ---------------------------------------------------------------------------------------------------------

const commitVersion = 9;
/** A number that is found again in the frame, to be written over. */
const someOffset = 0x0123_4567_89ab;

/** Every committer commits its next offset when the last one was answered. */
export async function runCommits(plan: CommitPlan): Promise<void> {
  const meter = new Meter();
  const links = await linksTo(plan.port, plan.committers);
  const committed = links.map(() => 0);
  const begun = links.map(async (link, partitionIndex) => {
    const groupId = `${plan.groupPrefix}-${partitionIndex}`;
    const [member] = await makeGroup([link], { groupId, topic: plan.topic, partitions: 1 }, meter);
    if (member === undefined) failRun(`${groupId} has no member`);
    const { memberId, generation } = member;
    const partitions = [{ partitionIndex, committedOffset: someOffset, committedMetadata: "" }];
    const topics = [{ name: plan.topic, partitions }];
    const frame = frameOf(offsetCommit, commitVersion, {
      groupId,
      generationIdOrMemberEpoch: generation,
      memberId,
      topics,
    });
    const pattern = Buffer.alloc(8);
    pattern.writeBigInt64BE(BigInt(someOffset));
    return { link, frame, offsetAt: frame.indexOf(pattern), partitionIndex, member };
  });
  const committers = await Promise.all(begun);
  const ended = committers.map(({ link, frame, offsetAt, partitionIndex }) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const commit = (offset: number): void => {
      const sentMs = performance.now();
      frame.writeBigInt64BE(BigInt(offset), offsetAt);
      link.send(frame, (answer) => {
        // ... error code, and the tags of partition, topic and answer
        const code = answer.readInt16BE(answer.length - 5);
        if (code === ErrorCode.NONE) {
          committed[partitionIndex] = offset;
          meter.count(performance.now() - sentMs);
        } else if (code === ErrorCode.COORDINATOR_LOAD_IN_PROGRESS || code === ErrorCode.NOT_COORDINATOR) {
          meter.retry("OffsetCommit", code);
        } else failRun(`OffsetCommit was answered with ${errorName(code)}`);
        if (meter.isEnded) resolve();
        else commit(code === ErrorCode.NONE ? offset + 1 : offset);
      });
    };
    commit(1);
    return promise;
  });
  await meter.measure(plan);
  await Promise.all(ended);
  await Promise.all(links.map((link, partition) => expectCommitted(link, plan, partition, committed[partition] ?? -1)));
  await Promise.all(committers.map(({ member }) => member.leave()));
  for (const link of links) link.close();
  meter.report({ checked: `${links.length} offsets read back`, values: {}, transactions: [] });
}

async function expectCommitted(link: Link, plan: CommitPlan, partition: number, expected: number): Promise<void> {
  const groupId = `${plan.groupPrefix}-${partition}`;
  const { groups } = await link.call(offsetFetch, 8, { groups: [{ groupId, topics: null }] });
  const offset = groups[0]?.topics[0]?.partitions[0]?.committedOffset;
  if (offset !== expected) failRun(`${groupId} committed ${expected}, and ${offset} can be read`);
}

function linksTo(port: number, count: number): Promise<Link[]> {
  return Promise.all(Array.from({ length: count }, () => Link.open(port)));
}
