import { setTimeout as sleep } from "node:timers/promises";
import type { GroupAsker } from "./client.ts";

const joining = { rebalanceTimeoutMs: 60_000, topicPartitions: [], subscribedTopicNames: ["t"] };
/** A target is not made sooner after the last one: long enough for what is asked within it, on a busy machine too. */
const assignmentIntervalMs = 3_000;
export const askedSettings: Readonly<Record<string, string>> = {
  "group.initial.rebalance.delay.ms": "0",
  "group.consumer.assignment.interval.ms": `${assignmentIntervalMs}`,
};
const intervalMs: number = assignmentIntervalMs + 100;

/** What a member may say, right and wrong, and what is answered. */
export async function askAll(asker: GroupAsker): Promise<void> {
  await asker.createTopic("t", 4);
  await asker.createTopic("u", 2);
  await firstAndSecond(asker);
  await wrongByItself(asker);
  await otherApis(asker);
  await offsets(asker);
  await leaving(asker);
  await staticMembers(asker);
  await classicMember(asker);
  await foreignGroups(asker);
  await newTopics(asker);
}

async function firstAndSecond(asker: GroupAsker): Promise<void> {
  asker.title("the first member, and a second");
  await asker.beat("g", "a", 0, joining);
  await asker.beat("g", "a", 1);
  await asker.beat("g", "a", 2);
  await asker.beat("g", "b", 0, joining);
  await asker.beat("g", "a", 2);
  await asker.describe("g");
  await sleep(intervalMs);
  await asker.beat("g", "a", 2);
  await asker.beat("g", "b", 2);
  await asker.describe("g");
  await asker.beat("g", "b", 3);
  await asker.beat("g", "a", 2, { owned: { t: [0, 1] } });
  await asker.beat("g", "b", 3);
  await asker.beat("g", "a", 2, { owned: { t: [0, 1] } });
  await asker.beat("g", "a", 2, { owned: { t: [0, 1, 2] } });
  await asker.beat("g", "a", 1);
  await asker.beat("g", "a", 9);
  await asker.describe("g");
}

async function wrongByItself(asker: GroupAsker): Promise<void> {
  asker.title("what is wrong by itself");
  await asker.beat("g", "nobody", 3);
  await asker.beat("none", "a", 3);
  await asker.beat("none", "a", -1);
  await asker.beat("g", "", 0, joining);
  await asker.beat("h", "", 0, joining, 0);
  await asker.beat("", "c", 0, joining);
  await asker.beat("g", "c", 0, { ...joining, rebalanceTimeoutMs: -1 });
  await asker.beat("g", "c", 0, { rebalanceTimeoutMs: 1, subscribedTopicNames: ["t"], owned: { t: [0] } });
  await asker.beat("g", "c", 0, { rebalanceTimeoutMs: 1, topicPartitions: [] });
  await asker.beat("g", "c", -3);
  await asker.beat("g", "c", -2);
  await asker.beat("g", "c", 0, { ...joining, instanceId: "" });
  await asker.beat("g", "c", 0, { ...joining, rackId: "" });
  await asker.beat("g", "c", 0, { ...joining, serverAssignor: "magic" });
  await asker.beat("g", "c", 0, { ...joining, subscribedTopicNames: null, subscribedTopicRegex: "(t" });
  await asker.beat("g", "c", 0, { ...joining, subscribedTopicNames: null, subscribedTopicRegex: "t(?=u)" });
}

async function otherApis(asker: GroupAsker): Promise<void> {
  asker.title("as other APIs see it");
  await asker.describe("none");
  await asker.describeClassic("g", 5);
  await asker.describeClassic("g", 6);
  await asker.list(["consumer"]);
  await asker.list(["classic"]);
  await asker.delete("g");
}

async function offsets(asker: GroupAsker): Promise<void> {
  asker.title("offsets");
  for (const epoch of [3, 2, 1, 9]) await asker.commit("g", "a", epoch);
  await asker.commit("g", "a", 2, { partition: 3 });
  await asker.commit("g", "b", 2, { partition: 3 });
  await asker.commit("g", "a", 3, { version: 8 });
  await asker.commit("g", "nobody", 3);
  await asker.commit("g", "", -1);
  await asker.commit("none", "a", 3);
  await asker.commit("none", "a", 3, { version: 8 });
  await asker.fetch("g", "a", 3);
  await asker.fetch("g", "a", 2);
  await asker.fetch("g", "nobody", 3);
  await asker.fetch("g", null, -1);
  await asker.fetch("g", "a", -1);
  await asker.fetch("none", "a", 3);
}

async function leaving(asker: GroupAsker): Promise<void> {
  asker.title("leaving");
  await asker.beat("g", "b", -1);
  await asker.describe("g");
  await asker.beat("g", "a", 3);
  await sleep(intervalMs);
  await asker.beat("g", "a", 3);
  await asker.beat("g", "a", -1);
  await asker.describe("g");
  await asker.commit("g", "", -1);
  await asker.delete("g");
  await asker.describe("g");
}

async function staticMembers(asker: GroupAsker): Promise<void> {
  asker.title("static members");
  await asker.beat("s", "s1", 0, { ...joining, instanceId: "i" });
  await asker.beat("s", "s2", 0, { ...joining, instanceId: "i" });
  await asker.beat("s", "s1", 0, { ...joining, instanceId: "i" });
  await asker.beat("s", "s2", 2, { instanceId: "i" });
  await asker.beat("s", "s1", 2, { instanceId: "j" });
  await asker.beat("s", "s1", -2, { instanceId: "i" });
  await asker.describe("s");
  await asker.beat("s", "s2", 0, { ...joining, instanceId: "i" });
  await asker.beat("s", "s1", 2, { instanceId: "i" });
  await asker.beat("s", "s1", 2);
  await asker.beat("s", "s1", -2, { instanceId: "i" });
  await asker.describe("s");
  await asker.beat("s", "s2", -1, { instanceId: "i" });
}

async function classicMember(asker: GroupAsker): Promise<void> {
  asker.title("a classic member in a consumer group");
  await asker.beat("m", "k", 0, joining);
  await asker.join("m", "c", { type: "connect", version: 3 });
  await asker.join("m", "c");
  let generation = await asker.join("m", "c");
  await asker.sync("m", "c", generation);
  await asker.sync("m", "c", 7);
  await asker.heartbeat("m", "c", generation);
  await asker.heartbeat("m", "c", 7);
  await sleep(intervalMs);
  await asker.beat("m", "k", 2);
  await asker.beat("m", "k", 2, { owned: { t: [0, 1] } });
  await asker.heartbeat("m", "c", generation);
  generation = await asker.join("m", "c");
  await asker.sync("m", "c", generation);
  await asker.heartbeat("m", "c", generation);
  await asker.describe("m");

  asker.title("down to the classic protocol, and up again");
  await asker.beat("m", "k", -1);
  await asker.describe("m");
  generation = await asker.join("m", "c");
  await asker.beat("m", "x", 0, joining);
  await asker.describe("m");
  await asker.heartbeat("m", "c", generation);
  await asker.sync("m", "c", generation);
}

async function foreignGroups(asker: GroupAsker): Promise<void> {
  asker.title("classic groups that stay what they are");
  await asker.join("f", "f", { type: "connect", protocol: "p", version: 3 });
  await asker.beat("f", "x", 0, joining);
  await asker.beat("f", "x", 3);
  await asker.join("f2", "f2", { version: 3, metadata: Buffer.from([0, 0, 255]) });
  await asker.beat("f2", "x", 0, joining);
}

async function newTopics(asker: GroupAsker): Promise<void> {
  asker.title("topics that come");
  await asker.beat("n", "a", 0, { ...joining, subscribedTopicNames: ["t", "w"] });
  await sleep(intervalMs);
  await asker.createTopic("w", 1);
  await sleep(intervalMs);
  await asker.beat("n", "a", 2);
  await asker.describe("n");
}
