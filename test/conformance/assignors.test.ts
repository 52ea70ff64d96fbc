import { spawnSync } from "node:child_process";
import { join } from "node:path";
import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { rangeAssignor } from "../../broker/src/groups/assignors/range.ts";
import { brokenPromises, changedGroup, moveCount, plain, sizeOf, type Case } from "../../broker/test/assignor-cases.ts";
import type { Assignment, Assignor } from "../../broker/src/groups/assignors/types.ts";
import { uniformAssignor } from "../../broker/src/groups/assignors/uniform.ts";
import { librariesPath, skipWithoutKafka } from "./kafka-declarations.ts";

const seed = Number(process.env["SEED"] ?? fc.sample(fc.noBias(fc.nat()), 1)[0]);

/** Random groups, each of them given to our assignor and to Apache Kafka's own. */
describe(`Apache Kafka's assignors, SEED=${seed}`, () => {
  beforeEach(skipWithoutKafka);

  test("range: the same assignments", () => {
    const wrong = compared(rangeAssignor, [true, false]).filter(({ ours, theirs }) => !isSame(ours, theirs));
    expect(wrong.slice(0, 3).map(describeCase)).toEqual([]);
  });

  test("uniform, like subscriptions: as level as Kafka's, and never more moves", () => {
    const all = compared(uniformAssignor, [true]);
    const wrong = all.filter(
      ({ group, ours, theirs }) =>
        brokenPromises(group, ours).length > 0 ||
        unevenness(ours) !== unevenness(theirs) ||
        moveCount(group, ours) > moveCount(group, theirs),
    );
    expect(wrong.slice(0, 3).map(describeCase)).toEqual([]);
    expect(all.filter(({ group, theirs }) => moveCount(group, theirs) > 0).length).toBeGreaterThan(10);
  });

  test("uniform, unlike subscriptions: at least as level as Kafka's, and where as level never more moves", () => {
    const all = compared(uniformAssignor, [false]);
    const isLevel = ({ ours, theirs }: Compared): boolean => unevenness(ours) === unevenness(theirs);
    const wrong = all.filter(
      (each) =>
        brokenPromises(each.group, each.ours).length > 0 ||
        unevenness(each.ours) > unevenness(each.theirs) ||
        (isLevel(each) && moveCount(each.group, each.ours) > moveCount(each.group, each.theirs)),
    );
    expect(wrong.slice(0, 3).map(describeCase)).toEqual([]);
    const moving = all.filter((each) => isLevel(each) && moveCount(each.group, each.theirs) > 0);
    expect(moving.length).toBeGreaterThan(10);
  });
});

interface Compared {
  readonly group: Case;
  readonly ours: ReadonlyMap<string, Assignment>;
  readonly theirs: ReadonlyMap<string, Assignment>;
}

/** Small groups, where every corner is met, and some larger ones. */
function compared(assignor: Assignor, likenesses: readonly boolean[]): readonly Compared[] {
  const groups = likenesses
    .flatMap((isAlike) => [
      ...sample(assignor, { membersMax: 6, topicsMax: 4, partitionsMax: 6, isAlike }, 1_500),
      ...sample(assignor, { membersMax: 40, topicsMax: 10, partitionsMax: 60, isAlike }, 100),
    ])
    .map(withKafkaIds)
    .filter(({ members }) => members.length > 0);
  const answers = ask(groups.map((group) => `${assignor.name} ${lineOf(group)}`));
  return groups.map((group, index) => ({
    group,
    ours: assignor.assign(group.members, group.topics),
    theirs: readAnswer(group, answers[index] ?? expect.unreachable("Kafka's answer is missing")),
  }));
}

function sample(assignor: Assignor, limits: Parameters<typeof changedGroup>[1], numRuns: number): readonly Case[] {
  return fc.sample(changedGroup(assignor, limits), { seed, numRuns });
}

/** Kafka wants UUIDs for topics, and no subscription to a topic that does not exist. */
function withKafkaIds({ topics, members }: Case): Case {
  const idOf = (name: string): string => name.padEnd(21, "_") + "A";
  return {
    topics: new Map([...topics.values()].map((topic) => [idOf(topic.name), { ...topic, topicId: idOf(topic.name) }])),
    members: members.map((member) => ({
      ...member,
      topicIds: new Set([...member.topicIds].filter((name) => topics.has(name)).map(idOf)),
      current: new Map([...member.current].map(([name, partitions]) => [idOf(name), partitions])),
    })),
  };
}

function lineOf({ topics, members }: Case): string {
  return [
    [...topics.values()].map(({ topicId, partitionCount }) => `${topicId}=${partitionCount}`).join(","),
    ...members.map(({ memberId, instanceId, topicIds, current }) =>
      [memberId, instanceId ?? "", [...topicIds].join(","), textOf(current)].join("|"),
    ),
  ].join(" ");
}

function textOf(assignment: Assignment): string {
  return [...assignment].map(([topicId, partitions]) => `${topicId}=${partitions.join(".")}`).join(",");
}

/** Who is given nothing may be missing in Kafka's answer. */
function readAnswer({ members }: Case, answer: string): ReadonlyMap<string, Assignment> {
  const assignments = new Map<string, Assignment>(members.map(({ memberId }) => [memberId, new Map()]));
  const words = answer.split(" ").filter((word) => word !== "");
  for (const [memberId = "", text = ""] of words.map((word) => word.split("|"))) {
    if (!assignments.has(memberId)) throw new Error(`Kafka's answer names ${memberId}: ${answer}`);
    const topics = text.split(",").filter((each) => each !== "");
    assignments.set(
      memberId,
      new Map(
        topics
          .map((each) => each.split("="))
          .map(([topicId = "", list = ""]): [string, number[]] => [topicId, list.split(".").map(Number)]),
      ),
    );
  }
  return assignments;
}

function ask(lines: readonly string[]): readonly string[] {
  const program = join(import.meta.dirname, "KafkaAssignors.java");
  const { status, stdout, stderr } = spawnSync("java", ["-cp", join(librariesPath, "*"), program], {
    input: lines.join("\n"),
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
  if (status !== 0) throw new Error(`java ended with ${status}: ${stderr}`);
  return stdout.split("\n").slice(0, -1);
}

/** The smaller, the more equal are the numbers, since their sum is the same. */
function unevenness(result: ReadonlyMap<string, Assignment>): number {
  return [...result.values()].map(sizeOf).reduce((sum, size) => sum + size * size, 0);
}

function isSame(one: ReadonlyMap<string, Assignment>, other: ReadonlyMap<string, Assignment>): boolean {
  return [...one].every(([memberId, assignment]) => {
    const theirs = other.get(memberId);
    return (
      theirs?.size === assignment.size &&
      [...assignment].every(([topicId, partitions]) => partitions.join() === theirs.get(topicId)?.join())
    );
  });
}

function describeCase({ group, ours, theirs }: Compared): unknown {
  return { again: `SEED=${seed}`, group: lineOf(group), ours: plain(ours), theirs: plain(theirs) };
}
