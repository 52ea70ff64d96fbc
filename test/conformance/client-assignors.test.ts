import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { Prng } from "@millrace/base/prng";
import { beforeEach, describe, expect, test } from "vitest";
import type { Assignments, AssignorMember, AssignorTopic } from "../../client/src/consumer/assignors/assignor.ts";
import { comparePartitions } from "../../client/src/consumer/assignors/assignor.ts";
import { assignors } from "../../client/src/consumer/assignors/assignors.ts";
import type { AssignorName } from "../../client/src/consumer/assignors/assignors.ts";
import {
  assignmentBytes,
  groupedByTopic,
  partitionsOf,
  readAssignment,
  readSubscription,
  subscriptionBytes,
} from "../../client/src/consumer/assignors/embedded-protocol.ts";
import { readStickyUserData } from "../../client/src/consumer/assignors/user-data.ts";
import type { TopicPartition } from "../../client/src/topic-partition.ts";
import { partitionKey } from "../../client/src/topic-partition.ts";
import { librariesPath, skipWithoutKafka } from "./kafka-declarations.ts";

const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 1e9));

/** Random classic groups, each of them given to our client's assignor and to that of Apache Kafka's Java client. */
describe(`the assignors of Apache Kafka's Java client, SEED=${seed}`, () => {
  beforeEach(skipWithoutKafka);

  test.for(["range", "roundrobin"] as const)("%s: the same assignments, with and without racks", (name) => {
    const all = compared(name, named[name]);
    const wrong = all.filter(({ ours, theirs }) => textOf(ours) !== textOf(theirs));
    expect(wrong.slice(0, 2).map(describeCase)).toEqual([]);
    if (name === "range") {
      const without = (group: Case): Case => ({ ...group, topics: withoutRacks(group.topics) });
      const moved = all.filter(({ group, ours }) => textOf(ours) !== textOf(assign(name, without(group))));
      expect(moved.length).toBeGreaterThan(100);
    }
  });

  test("sticky, like subscriptions: as level as Java's, and as many moves at most", () => {
    const all = compared("sticky", named.alike);
    const wrong = all.filter(
      ({ group, ours, theirs }) =>
        brokenPromises(group, ours).length > 0 ||
        unevenness(ours) !== unevenness(theirs) ||
        moveCount(group, ours) > moveCount(group, theirs),
    );
    expect(wrong.slice(0, 2).map(describeCase)).toEqual([]);
    expect(all.filter(({ group, theirs }) => moveCount(group, theirs) > 0).length).toBeGreaterThan(300);
  });

  test("sticky, unlike subscriptions: at least as level, and where as level never more moves", () => {
    const all = compared("sticky", named.unlike);
    const isLevel = ({ ours, theirs }: Compared): boolean => unevenness(ours) === unevenness(theirs);
    const wrong = all.filter(
      (each) =>
        brokenPromises(each.group, each.ours).length > 0 ||
        unevenness(each.ours) > unevenness(each.theirs) ||
        (isLevel(each) && moveCount(each.group, each.ours) > moveCount(each.group, each.theirs)),
    );
    expect(wrong.slice(0, 2).map(describeCase)).toEqual([]);
    expect(all.filter((each) => isLevel(each) && moveCount(each.group, each.theirs) > 0).length).toBeGreaterThan(100);
  });

  test.for([true, false])(
    "cooperative-sticky, subscriptions alike: %s: nobody is given what another one has",
    (isAlike) => {
      const all = compared("cooperative-sticky", isAlike ? named.cooperativeAlike : named.cooperativeUnlike);
      const wrong = all.filter(
        ({ group, ours, theirs }) =>
          doubles(group, ours).length > 0 || (isAlike && moveCount(group, ours) > moveCount(group, theirs)),
      );
      expect(wrong.slice(0, 2).map(describeCase)).toEqual([]);
      // Where Java withholds, so do we; the numbers of what is withheld are those of what moves.
      const withholding = all.filter(({ group, ours }) => moveCount(group, ours) > 0);
      expect(withholding.length).toBeGreaterThan(100);
    },
  );

  test("the bytes of subscriptions, user data and assignments", () => {
    for (const { members, answer } of answered(named.bytes)) {
      const words = answer.split(" ");
      for (const [at, member] of members.entries()) {
        const last = { partitions: member.owned, generation: member.generation };
        const [subscription, userData, assignment] = words.slice(3 * at, 3 * at + 3);
        const cooperative = assignors["cooperative-sticky"].userData?.(last) ?? null;
        expect(hex(subscriptionBytes({ ...member, userData: cooperative }))).toBe(subscription);
        // Java orders topics in its own hash's order there: what is read must be the same.
        const told = userData === "null" ? null : readStickyUserData(Buffer.from(userData ?? "", "hex"));
        expect(told?.generation ?? -1).toBe(member.generation);
        const own = assignors.sticky.userData?.(last) ?? null;
        expect(own?.length ?? 0).toBe(userData === "null" ? 0 : (userData ?? "").length / 2);
        if (told !== null) expect(sorted(told.partitions)).toEqual(sorted(member.owned));
        expect(hex(assignmentBytes(member.owned))).toBe(assignment);
        expect(readAssignment(Buffer.from(assignment ?? "", "hex"))).toEqual(member.owned);
        const read = readSubscription(Buffer.from(subscription ?? "", "hex"));
        expect(read).toMatchObject({
          topics: member.topics.toSorted(),
          generation: member.generation,
          rack: member.rack,
        });
        expect(sorted(read.owned)).toEqual(sorted(member.owned));
      }
    }
  });
});

interface Case {
  readonly topics: ReadonlyMap<string, AssignorTopic>;
  readonly members: readonly AssignorMember[];
}

interface Compared {
  readonly group: Case;
  readonly ours: Assignments;
  readonly theirs: Assignments;
}

interface Asked {
  readonly assignor: string;
  readonly groups: readonly Case[];
}

/** All that Java is asked, so that it is started once. */
const named = {
  range: asked("range", { count: 2_000, hasRacks: true }),
  roundrobin: asked("roundrobin", { count: 2_000 }),
  alike: asked("sticky", { count: 1_500, isAlike: true }),
  unlike: asked("sticky", { count: 1_500, isAlike: false }),
  cooperativeAlike: asked("cooperative-sticky", { count: 1_500, isAlike: true }),
  cooperativeUnlike: asked("cooperative-sticky", { count: 1_500, isAlike: false }),
  bytes: asked("bytes", { count: 300, hasRacks: true }),
} as const;

interface CaseOptions {
  readonly count: number;
  readonly isAlike?: boolean;
  readonly hasRacks?: boolean;
}

function asked(assignor: string, options: CaseOptions): Asked {
  return { assignor, groups: cases(options).filter(({ members }) => members.length > 0) };
}

let answers: ReadonlyMap<Asked, readonly string[]> | null = null;

function answered(one: Asked): readonly (Case & { readonly answer: string })[] {
  if (answers === null) {
    const lines = ask(
      Object.values(named).flatMap((each) => each.groups.map((group) => `${each.assignor} ${lineOf(group)}`)),
    );
    let from = 0;
    answers = new Map(
      Object.values(named).map((each) => [each, lines.slice(from, (from += each.groups.length))] as const),
    );
  }
  const found = answers.get(one);
  return one.groups.map((group, index) => ({
    ...group,
    answer: found?.[index] ?? expect.unreachable("Java's answer is missing"),
  }));
}

function compared(name: AssignorName, one: Asked): readonly Compared[] {
  return answered(one).map(({ answer, ...group }) => ({
    group,
    ours: assign(name, group),
    theirs: readAnswer(answer),
  }));
}

/** As Java's members would send it. */
function assign(name: AssignorName, { members, topics }: Case): Assignments {
  const told = members.map((member): AssignorMember => {
    const bytes = assignors[name].userData?.({ partitions: member.owned, generation: member.generation }) ?? null;
    return {
      ...member,
      owned: name === "sticky" ? [] : member.owned,
      userData: bytes === null ? null : Buffer.from(bytes),
    };
  });
  return assignors[name].assign(told, topics);
}

/**
 * Most groups come from a rested one: members came, left and changed what they read, topics came, went and grew.
 * Everybody subscribes to something: where somebody does not, Java gives it partitions all the same.
 */
function cases({ count, isAlike, hasRacks = false }: CaseOptions): readonly Case[] {
  const prng = new Prng(seed);
  return Array.from({ length: count }, (_, index) => {
    const isLarge = index % 20 === 0;
    return randomCase(prng, { isAlike: isAlike ?? prng.chance(0.5), hasRacks, isLarge });
  });
}

function randomCase(
  prng: Prng,
  { isAlike, hasRacks, isLarge }: { readonly isAlike: boolean; readonly hasRacks: boolean; readonly isLarge: boolean },
): Case {
  const racks = hasRacks && prng.chance(0.7) ? ["a", "b", "c"] : [];
  const names = Array.from({ length: prng.between(1, isLarge ? 8 : 4) }, (_, index) => `t${index}`);
  const countOf = (): number => prng.between(1, isLarge ? 40 : 6);
  const before = new Map(names.map((name) => [name, topicOf(prng, countOf(), racks)]));
  const subscription = (): readonly string[] =>
    isAlike ? names : [prng.pick(names), ...names].filter((name, at) => at === 0 || prng.chance(0.6)).filter(isFirst);
  const memberCount = prng.between(1, isLarge ? 30 : 6);
  const first = Array.from({ length: memberCount }, (_, index) => memberOf(prng, `m${index}`, subscription(), racks));
  const rested = prng.chance(0.8)
    ? assignors.sticky.assign(first, before)
    : new Map<string, readonly TopicPartition[]>();
  const generation = prng.between(0, 9);
  const stayed = first
    .filter(() => prng.chance(0.7))
    .map((member) => ({
      ...member,
      topics: !isAlike && prng.chance(0.3) ? subscription() : member.topics,
      owned: (rested.get(member.memberId) ?? []).toSorted(comparePartitions),
      generation: rested.size > 0 ? generation : -1,
    }));
  const joined = Array.from({ length: prng.between(0, isLarge ? 10 : 3) }, (_, index) =>
    memberOf(prng, `n${index}`, subscription(), racks),
  );
  const topics = new Map(
    [...before]
      .filter(() => prng.chance(0.9))
      .map(([name, topic]) => {
        const grown = topic.partitionCount + (prng.chance(0.2) ? prng.between(1, 3) : 0);
        return [name, grown === topic.partitionCount ? topic : topicOf(prng, grown, racks)];
      }),
  );
  const staying = stayed.map((member) => ({ ...member, owned: member.owned.filter(({ topic }) => topics.has(topic)) }));
  return { topics, members: prng.shuffle([...staying, ...joined]) };
}

function isFirst(name: string, index: number, all: readonly string[]): boolean {
  return all.indexOf(name) === index;
}

function topicOf(prng: Prng, partitionCount: number, racks: readonly string[]): AssignorTopic {
  if (racks.length === 0) return { partitionCount };
  const replicaCount = prng.between(1, racks.length);
  return {
    partitionCount,
    racks: Array.from({ length: partitionCount }, () => prng.shuffle(racks).slice(0, replicaCount)),
  };
}

function memberOf(prng: Prng, name: string, topics: readonly string[], racks: readonly string[]): AssignorMember {
  const memberId = `${name}-${prng.between(0, 99)}`;
  return {
    memberId,
    instanceId: prng.chance(0.3) ? `i${prng.between(0, 99)}${name}` : null,
    topics,
    userData: null,
    owned: [],
    generation: -1,
    rack: racks.length > 0 && prng.chance(0.8) ? prng.pick([...racks, "elsewhere"]) : null,
  };
}

function withoutRacks(topics: Case["topics"]): Case["topics"] {
  return new Map([...topics].map(([name, { partitionCount }]) => [name, { partitionCount }]));
}

// --- What an assignment promises ------------------------------------------------------------------------------------------

function brokenPromises({ topics, members }: Case, assignments: Assignments): readonly string[] {
  const broken: string[] = [];
  const owners = new Map<string, string>();
  for (const { memberId, topics: subscribed } of members) {
    if (!assignments.has(memberId)) broken.push(`${memberId} is missing`);
    for (const partition of assignments.get(memberId) ?? []) {
      const key = partitionKey(partition);
      if (!subscribed.includes(partition.topic)) broken.push(`${memberId} does not read ${key}`);
      if (partition.partition >= (topics.get(partition.topic)?.partitionCount ?? 0)) broken.push(`${key} is not there`);
      if (owners.has(key)) broken.push(`${key} is given to ${owners.get(key)} and ${memberId}`);
      owners.set(key, memberId);
    }
  }
  for (const [topic, { partitionCount }] of topics) {
    if (!members.some((member) => member.topics.includes(topic))) continue;
    for (let partition = 0; partition < partitionCount; partition++) {
      if (!owners.has(partitionKey({ topic, partition }))) broken.push(`${topic}-${partition} is given to nobody`);
    }
  }
  return broken;
}

/** What is given to one while another one says that it has it. */
function doubles({ members }: Case, assignments: Assignments): readonly string[] {
  return members.flatMap(({ memberId, owned }) => {
    const own = new Set(owned.map(partitionKey));
    return [...assignments].flatMap(([other, partitions]) =>
      other === memberId ? [] : partitions.map(partitionKey).filter((key) => own.has(key)),
    );
  });
}

/** What leaves somebody who could keep it. */
function moveCount({ topics, members }: Case, assignments: Assignments): number {
  let count = 0;
  for (const { memberId, owned, topics: subscribed } of members) {
    const given = new Set((assignments.get(memberId) ?? []).map(partitionKey));
    for (const partition of owned) {
      const canStay =
        subscribed.includes(partition.topic) &&
        partition.partition < (topics.get(partition.topic)?.partitionCount ?? 0);
      if (canStay && !given.has(partitionKey(partition))) count++;
    }
  }
  return count;
}

/** The smaller, the more equal are the numbers, since their sum is the same. */
function unevenness(assignments: Assignments): number {
  return [...assignments.values()].reduce((sum, { length }) => sum + length * length, 0);
}

// --- Lines ----------------------------------------------------------------------------------------------------------------

function lineOf({ topics, members }: Case): string {
  return [
    [...topics]
      .map(([name, { partitionCount, racks }]) => {
        const replicas = Array.from({ length: partitionCount }, (_, partition) => racks?.[partition]?.join("+") ?? "-");
        return `${name}=${replicas.join(".")}`;
      })
      .join(","),
    ...members.map(({ memberId, instanceId, rack, topics: subscribed, owned, generation }) =>
      [memberId, instanceId ?? "", rack ?? "", subscribed.join(","), partitionsText(owned), generation].join("|"),
    ),
  ].join(" ");
}

function partitionsText(partitions: readonly TopicPartition[]): string {
  return groupedByTopic(sorted(partitions))
    .map(({ topic, partitions: indexes }) => `${topic}=${indexes.join(".")}`)
    .join(",");
}

function textOf(assignments: Assignments): string {
  return [...assignments]
    .map(([memberId, partitions]) => `${memberId}|${partitionsText(partitions)}`)
    .sort()
    .join(" ");
}

function readAnswer(answer: string): Assignments {
  const words = answer.split(" ").map((word) => word.split("|"));
  return new Map(
    words.map(([memberId = "", text = ""]) => {
      const topics = text === "" ? [] : text.split(",").map((each) => each.split("="));
      const grouped = topics.map(([topic = "", list = ""]) => ({ topic, partitions: list.split(".").map(Number) }));
      return [memberId, partitionsOf(grouped)];
    }),
  );
}

function sorted(partitions: readonly TopicPartition[]): readonly TopicPartition[] {
  return partitions.toSorted(comparePartitions);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

function ask(lines: readonly string[]): readonly string[] {
  const program = join(import.meta.dirname, "KafkaClientAssignors.java");
  const { status, stdout, stderr } = spawnSync("java", ["-cp", join(librariesPath, "*"), program], {
    input: lines.join("\n"),
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
  if (status !== 0) throw new Error(`java ended with ${status}: ${stderr}`);
  return stdout.split("\n").slice(0, -1);
}

function describeCase({ group, ours, theirs }: Compared): unknown {
  return { again: `SEED=${seed}`, group: lineOf(group), ours: textOf(ours), theirs: textOf(theirs) };
}
