import { valuesOf } from "@millrace/client";
import type { ApiInfo } from "kafka-protocol-ts/api";
import { joinGroup } from "kafka-protocol-ts/messages/11-join-group";
import { syncGroup } from "kafka-protocol-ts/messages/14-sync-group";
import { consumerGroupHeartbeat } from "kafka-protocol-ts/messages/68-consumer-group-heartbeat";
import { shareGroupHeartbeat } from "kafka-protocol-ts/messages/76-share-group-heartbeat";
import { streamsGroupHeartbeat } from "kafka-protocol-ts/messages/88-streams-group-heartbeat";
import { afterAll, expect, test, type TestContext } from "vitest";
import { RawClient } from "../journeys/raw-client.ts";
import { TransactionalProducer } from "../journeys/transactional.ts";
import { AdminSuite, all, codeOf, codes, expectCode, soon } from "./client-admin.ts";
import { skipWhenMissing } from "./journey.ts";
import { whyTargetMissing } from "./target.ts";

type Name = "kafka" | "millrace";

const names = ["kafka", "millrace"] as const;
const suites = new Map<Name, Promise<AdminSuite>>();
const minusOne = Buffer.from([255, 255, 255, 255]);

/** One broker of each kind for all tests. */
async function suiteFor(name: Name, context: TestContext): Promise<AdminSuite> {
  skipWhenMissing(context, whyTargetMissing(name));
  const suite = suites.get(name) ?? AdminSuite.start(name);
  suites.set(name, suite);
  return suite;
}

afterAll(async () => {
  for (const suite of suites.values()) await (await suite)[Symbol.asyncDispose]();
});

test.for(names)("%s: topics: one and many, validated and assigned, paged, by name and id", async (name, context) => {
  const suite = await suiteFor(name, context);
  const { admin } = suite;
  const made = await admin.topics.create({ name: "orders", partitions: 3, config: { "retention.ms": "3600000" } });
  expect(made).toMatchObject({ partitionsCount: 3, replicationFactor: 1 });
  const several = await admin.topics.create([
    { name: "bills", assignments: [[suite.brokerId()], [suite.brokerId()]] },
    { name: "orders" },
    { name: "bad name" },
    { name: "none", partitions: 0 },
  ]);
  expect(codes(several)).toEqual(["ok", "TOPIC_ALREADY_EXISTS", "INVALID_TOPIC_EXCEPTION", "INVALID_PARTITIONS"]);
  expect(await codeOf(admin.topics.create({ name: "checked" }, { validateOnly: true }))).toBe("ok");
  expect((await admin.topics.describe("bills")).partitions).toHaveLength(2);
  const described = await admin.topics.describe(["orders", { topicId: made.topicId }, "checked"]);
  expect(codes(described)).toEqual(["ok", "ok", "UNKNOWN_TOPIC_OR_PARTITION"]);
  const [byName, byId] = valuesOf(described.slice(0, 2));
  expect(byName).toMatchObject({ name: "orders", topicId: made.topicId, isInternal: false });
  expect(byId?.partitions.map(({ index }) => index)).toEqual([0, 1, 2]);
  await soon(async () => {
    const listed = await all(admin.topics.list());
    expect(listed.map((topic) => [topic.name, topic.partitions.length])).toEqual([
      ["bills", 2],
      ["orders", 3],
    ]);
  });
  await admin.topics.createPartitions({ topic: "orders", count: 4 });
  await soon(async () => {
    expect(await codeOf(admin.topics.createPartitions({ topic: "orders", count: 2 }))).toBe("INVALID_PARTITIONS");
  });
  const deleted = await admin.topics.delete(["bills", "nowhere"]);
  expect(codes(deleted)).toEqual(["ok", "UNKNOWN_TOPIC_OR_PARTITION"]);
  await admin.topics.create({ name: "brief" });
  await admin.topics.delete({ topicId: (await admin.topics.describe("brief")).topicId });
  await soon(async () => {
    expect(await codeOf(admin.topics.describe("brief"))).toBe("UNKNOWN_TOPIC_OR_PARTITION");
  });
  await soon(async () => {
    const internal = await all(admin.topics.list({ includeInternal: true }));
    expect(internal.map((topic) => topic.name).filter((each) => !each.startsWith("__"))).toEqual(["orders"]);
  });
});

test.for(names)("%s: offsets and records: ends, times, and what is deleted", async (name, context) => {
  const suite = await suiteFor(name, context);
  const { admin } = suite;
  await admin.topics.create({ name: "log", partitions: 2 });
  const beforeMs = Date.now();
  await suite.produce("log", ["a", "b", "c"]);
  const ends = valuesOf(await admin.topics.offsets("log", "latest")).map(({ offset }) => offset);
  expect(ends).toEqual([3, 0]);
  const found = await admin.topics.offsets([
    { topic: "log", partition: 0, at: { timestamp: beforeMs } },
    { topic: "log", partition: 1, at: { timestamp: beforeMs } },
    { topic: "log", partition: 7, at: "latest" },
  ]);
  expect(found).toMatchObject([
    { ok: true, value: { offset: 0 } },
    { ok: true, value: { offset: null, timestamp: null } },
    { ok: false, error: { code: "UNKNOWN_TOPIC_OR_PARTITION" } },
  ]);
  expect(valuesOf(await admin.topics.offsets("log", "max-timestamp"))).toMatchObject([{ offset: 2 }, { offset: null }]);
  const deleted = await admin.topics.deleteRecords([
    { topic: "log", partition: 0, before: 2 },
    { topic: "log", partition: 1, before: 9 },
  ]);
  expect(deleted).toMatchObject([
    { ok: true, value: { logStartOffset: 2 } },
    { ok: false, error: { code: "OFFSET_OUT_OF_RANGE" } },
  ]);
  await admin.topics.deleteRecords([{ topic: "log", partition: 0, before: "latest" }]);
  expect(valuesOf(await admin.topics.offsets("log", "earliest")).map(({ offset }) => offset)).toEqual([3, 0]);
  for (const at of ["earliest-local", "latest-tiered", "earliest-pending-upload"] as const) {
    expect(codes(await admin.topics.offsets("log", at)), at).toEqual(["ok", "ok"]);
  }
});

test.for(names)("%s: configs: described with synonyms and words, altered, replaced, listed", async (name, context) => {
  const suite = await suiteFor(name, context);
  const { admin, isKafka } = suite;
  await admin.topics.create({ name: "tuned", config: { "cleanup.policy": "delete" } });
  const topic = { type: "topic", name: "tuned" } as const;
  await admin.configs.alter({
    ...topic,
    changes: { set: { "retention.ms": "1000" }, append: { "cleanup.policy": "compact" } },
  });
  await soon(async () => {
    const config = await admin.configs.describe(topic, { includeSynonyms: true, includeDocumentation: true });
    expect(config.get("retention.ms")).toMatchObject({
      value: "1000",
      source: "topic",
      type: "long",
      isReadOnly: false,
    });
    expect(config.get("retention.ms")?.synonyms[0]).toMatchObject({ value: "1000", source: "topic" });
    expect(config.get("retention.ms")?.documentation?.length).toBeGreaterThan(10);
    expect(config.get("cleanup.policy")?.value?.split(",").toSorted()).toEqual(["compact", "delete"]);
  });
  await admin.configs.alter({
    ...topic,
    changes: { delete: ["retention.ms"], subtract: { "cleanup.policy": "compact" } },
  });
  await soon(async () => {
    const after = await admin.configs.describe(topic, { names: ["retention.ms", "cleanup.policy"] });
    expect([...after.values()].map(({ value }) => value).toSorted()).toEqual(["604800000", "delete"]);
  });
  const bad = { ...topic, changes: { set: { "retention.ms": "soon" } } };
  const none = { type: "topic", name: "nowhere", changes: { set: { "retention.ms": "1" } } } as const;
  expect(codes(await admin.configs.alter([bad, none]))).toEqual(["INVALID_CONFIG", "UNKNOWN_TOPIC_OR_PARTITION"]);
  await admin.configs.alter({ ...topic, changes: { set: { "retention.ms": "5000" } } }, { validateOnly: true });
  expect((await admin.configs.describe(topic)).get("retention.ms")?.value).toBe("604800000");
  await admin.configs.replace({ ...topic, config: { "max.message.bytes": "5000" } });
  await soon(async () => {
    const replaced = [...(await admin.configs.describe(topic)).values()].filter(({ source }) => source === "topic");
    expect(replaced.map((entry) => [entry.name, entry.value])).toEqual([["max.message.bytes", "5000"]]);
  });
  const broker = await admin.configs.describe({ type: "broker", name: `${suite.brokerId()}` });
  expect(broker.get("log.dirs")?.isReadOnly).toBe(true);
  expect(await admin.configs.list({ types: ["topic"] })).toContainEqual(topic);
  if (!isKafka) return;
  const loggers = await admin.configs.describe({ type: "broker-logger", name: `${suite.brokerId()}` });
  expect(loggers.get("root")?.source).toBe("broker-logger");
  const metrics = { type: "client-metrics", name: "all" } as const;
  await admin.configs.alter({ ...metrics, changes: { set: { "interval.ms": "60000" } } });
  await soon(async () => {
    expect(await admin.configs.list({ types: ["client-metrics"] })).toEqual([metrics]);
  });
  const group = { type: "group", name: "tuned" } as const;
  await admin.configs.alter({ ...group, changes: { set: { "consumer.session.timeout.ms": "50000" } } });
  await soon(async () => {
    expect((await admin.configs.describe(group)).get("consumer.session.timeout.ms")).toMatchObject({
      value: "50000",
      source: "group",
    });
  });
});

test.for(names)(
  "%s: groups: offsets are committed, read, moved and deleted; a group is listed, described and deleted",
  async (name, context) => {
    const suite = await suiteFor(name, context);
    const { admin } = suite;
    await admin.topics.create({ name: "read", partitions: 2 });
    await suite.produce("read", ["a", "b", "c", "d"]);
    const [first, second] = [0, 1].map((partition) => ({ topic: "read", partition }));
    const committed = await admin.groups.alterOffsets("readers", [
      { topic: "read", partition: 0, offset: 2, metadata: "by hand" },
      { topic: "read", partition: 1, offset: 0 },
      { topic: "nowhere", partition: 0, offset: 0 },
    ]);
    expect(codes(committed)).toEqual(["ok", "ok", "UNKNOWN_TOPIC_OR_PARTITION"]);
    const offsets = await admin.groups.offsets("readers", { requireStable: true });
    expect(offsets.find(({ item }) => item.partition === 0)).toMatchObject({
      value: { offset: 2, metadata: "by hand" },
    });
    const some = await admin.groups.offsets("readers", { partitions: [first!] });
    expect(some).toHaveLength(1);
    const many = await admin.groups.offsets(["readers", "nobody"]);
    expect(many.map((each) => each.ok && each.value.length)).toEqual([2, 0]);
    const plan = await admin.groups.resetOffsets("readers", { to: { shiftBy: 5 }, partitions: [first!], dryRun: true });
    expect(plan).toMatchObject([{ ok: true, value: { from: 2, to: 4 } }]);
    expect((await admin.groups.offsets("readers", { partitions: [first!] }))[0]).toMatchObject({
      value: { offset: 2 },
    });
    await admin.groups.resetOffsets("readers", { to: "latest" });
    await admin.groups.resetOffsets("readers", { to: { ageMs: 3_600_000 }, topics: ["read"] });
    const moved = await admin.groups.offsets("readers", { partitions: [first!, second!] });
    expect(valuesOf(moved).map(({ offset }) => offset)).toEqual([0, 0]);
    const listed = await all(admin.groups.list({ states: ["Empty"], types: ["classic"] }));
    expect(listed.find(({ groupId }) => groupId === "readers")).toMatchObject({ type: "classic", state: "Empty" });
    expect(await all(admin.groups.list({ types: ["consumer"] }))).toEqual([]);
    const described = await admin.groups.describe(["readers", "nobody"], { includeAuthorizedOperations: true });
    expect(codes(described)).toEqual(["ok", "GROUP_ID_NOT_FOUND"]);
    expect(described[0]).toMatchObject({ value: { type: "classic", state: "Empty", members: [] } });
    expect(codes(await admin.groups.removeMembers("readers", [{ memberId: "nobody" }, { instanceId: "no" }]))).toEqual([
      "UNKNOWN_MEMBER_ID",
      "UNKNOWN_MEMBER_ID",
    ]);
    expect(codes(await admin.groups.deleteOffsets("readers", [first!]))).toEqual(["ok"]);
    expect(valuesOf(await admin.groups.offsets("readers", { partitions: [first!] }))).toMatchObject([{ offset: null }]);
    expect(codes(await admin.groups.delete(["readers", "nobody"]))).toEqual(["ok", "GROUP_ID_NOT_FOUND"]);
  },
);

test.for(names)(
  "%s: groups with a member are described as what they are, each in its own form",
  async (name, context) => {
    const { admin, cluster, isKafka } = await suiteFor(name, context);
    await admin.topics.create({ name: "watched", partitions: 2 });
    const memberId = "AAAAAAAAAAAAAAAAAAAAAQ";
    const isServed = (api: ApiInfo): boolean => connection.serves(api);
    const connection = await cluster.wire.coordinator("group", "classic");
    // The classic member.
    const protocol = { groupId: "classic", protocolType: "consumer", groupInstanceId: "static-1" };
    const joining = { ...protocol, sessionTimeoutMs: 10_000, rebalanceTimeoutMs: 10_000, memberId: "" };
    const metadata = Buffer.concat([Buffer.from([0, 0, 0, 0, 0, 1, 0, 7]), Buffer.from("watched"), minusOne]);
    const joined = await connection.request(joinGroup, { ...joining, protocols: [{ name: "range", metadata }] });
    expect(joined.errorCode).toBe(0);
    const assignment = Buffer.concat([
      Buffer.from([0, 0, 0, 0, 0, 1, 0, 7]),
      Buffer.from("watched"),
      Buffer.from([0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1]),
      minusOne,
    ]);
    const { generationId, memberId: classicId } = joined;
    const assignments = [{ memberId: classicId, assignment }];
    const synced = await connection.request(syncGroup, {
      ...{ ...protocol, protocolName: "range" },
      ...{ generationId, memberId: classicId, assignments },
    });
    expect(synced.errorCode).toBe(0);
    const partitions = [0, 1].map((partition) => ({ topic: "watched", partition }));
    expect(await admin.groups.describe("classic")).toMatchObject({
      type: "classic",
      state: "Stable",
      protocolType: "consumer",
      protocol: "range",
      members: [{ instanceId: "static-1", subscribedTopics: ["watched"], assignment: partitions }],
    });
    expect(await codeOf(admin.groups.delete("classic"))).toBe("NON_EMPTY_GROUP");
    const [refused] = await admin.groups.alterOffsets("classic", [{ topic: "watched", partition: 0, offset: 0 }]);
    expect(refused).toMatchObject({
      error: { code: "UNKNOWN_MEMBER_ID", message: expect.stringMatching(/stop them/) },
    });
    expect(codes(await admin.groups.removeMembers("classic", "all", { reason: "a test" }))).toEqual(["ok"]);
    expect(await admin.groups.describe("classic")).toMatchObject({ state: "Empty", members: [] });
    // The one of KIP-848.
    const beat = { memberId, memberEpoch: 0, subscribedTopicNames: ["watched"] };
    const consumer = { ...beat, rebalanceTimeoutMs: 10_000, topicPartitions: [] };
    expect((await connection.request(consumerGroupHeartbeat, { ...consumer, groupId: "new" })).errorCode).toBe(0);
    const described = await admin.groups.describe(["new", "classic"]);
    expect(described).toMatchObject([
      { value: { type: "consumer", members: [{ memberId, subscribedTopics: ["watched"], protocol: "consumer" }] } },
      { value: { type: "classic" } },
    ]);
    const types = await all(admin.groups.list({ types: ["consumer"] }));
    expect(types.map(({ groupId, type }) => [groupId, type])).toEqual([["new", "consumer"]]);
    expect(await codeOf(admin.groups.describe("new", { types: ["classic"] }))).toBe("GROUP_ID_NOT_FOUND");
    expect(isServed(shareGroupHeartbeat)).toBe(isKafka);
    if (!isKafka) return;
    expect((await connection.request(shareGroupHeartbeat, { ...beat, groupId: "jobs-2" })).errorCode).toBe(0);
    expect(await admin.groups.describe("jobs-2")).toMatchObject({ type: "share", members: [{ memberId }] });
    const subtopology = {
      subtopologyId: "0",
      sourceTopics: ["watched"],
      sourceTopicRegex: [],
      stateChangelogTopics: [],
    };
    const sinks = { repartitionSinkTopics: [], repartitionSourceTopics: [], copartitionGroups: [] };
    const streams = await connection.request(streamsGroupHeartbeat, {
      ...{ groupId: "flow", memberId, memberEpoch: 0, endpointInformationEpoch: 0, rebalanceTimeoutMs: 10_000 },
      ...{ topology: { epoch: 0, subtopologies: [{ ...subtopology, ...sinks }] }, processId: "p", clientTags: [] },
      ...{ activeTasks: [], standbyTasks: [], warmupTasks: [] },
    });
    expect(streams.errorCode).toBe(0);
    expect(await admin.groups.describe("flow")).toMatchObject({
      type: "streams",
      topology: { epoch: 0, subtopologies: [{ subtopologyId: "0", sourceTopics: ["watched"] }] },
      members: [{ memberId, processId: "p", isClassic: false }],
    });
  },
);

test.for(names)(
  "%s: transactions: listed, described, fenced; one that hangs is found and ended",
  async (name, context) => {
    const { admin, target } = await suiteFor(name, context);
    await admin.topics.create({ name: "paid" });
    await using raw = await RawClient.connect({ host: "127.0.0.1", port: target.port });
    const producer = new TransactionalProducer(raw, "payments");
    expect(await producer.init()).toBe(0);
    // Its partition was never named to the coordinator: nobody will end it.
    expect((await producer.send(["a"], { topic: "paid", version: 11 })).errorCode).toBe(0);
    const listed = await all(admin.transactions.list({ states: ["Empty"], pattern: "pay.*" }));
    expect(listed).toMatchObject([{ transactionalId: "payments", state: "Empty" }]);
    expect(await codeOf(all(admin.transactions.list({ states: ["Sleeping"] })))).toBe("INVALID_REQUEST");
    const described = await admin.transactions.describe(["payments", "nothing"]);
    expect(codes(described)).toEqual(["ok", "TRANSACTIONAL_ID_NOT_FOUND"]);
    expect(described[0]).toMatchObject({ value: { state: "Empty", startedAtMs: null, partitions: [] } });
    const [producers] = await admin.transactions.describeProducers([{ topic: "paid", partition: 0 }]);
    expect(producers).toMatchObject({ ok: true, value: [{ transactionStartOffset: 0, producerEpoch: 0 }] });
    expect(await admin.transactions.findHanging({ olderThanMs: Date.now() })).toEqual([]);
    const hanging = await admin.transactions.findHanging({ olderThanMs: -60_000 });
    expect(hanging).toMatchObject([{ topic: "paid", partition: 0, startOffset: 0 }]);
    expect(await codeOf(admin.transactions.abort({ topic: "paid", partition: 0, startOffset: 7 }))).toBe(
      "INVALID_REQUEST",
    );
    expect(codes(await admin.transactions.abort(hanging))).toEqual(["ok"]);
    expect(await admin.transactions.findHanging({ olderThanMs: -60_000, topics: ["paid"] })).toEqual([]);
    const fenced = await admin.transactions.fenceProducers("payments");
    expect(fenced.producerEpoch).toBeGreaterThan(0);
    await admin.transactions.forceTerminate("payments");
    expect(await producer.end("abort")).not.toBe(0);
  },
);

test.for(names)("%s: the cluster: brokers, features, quorum, directories", async (name, context) => {
  const suite = await suiteFor(name, context);
  const { admin, target } = suite;
  const { clusterId, brokers, authorizedOperations } = await admin.cluster.describe({
    includeAuthorizedOperations: true,
    includeFenced: true,
  });
  expect(clusterId).toHaveLength(22);
  expect(brokers).toMatchObject([{ nodeId: suite.brokerId(), isFenced: false, port: target.port }]);
  expect(authorizedOperations?.has("alter-configs")).toBe(true);
  const { features } = await admin.features.describe();
  expect(features.get("group.version")?.finalizedLevel).toBe(1);
  const [directories] = await admin.logDirs.describe();
  expect(directories).toMatchObject({ item: suite.brokerId(), ok: true });
  const dirs = directories?.ok === true ? directories.value : [];
  expect(dirs.map(({ error }) => error)).toEqual([null]);
  expect(dirs[0]?.totalBytes).toBeGreaterThan(0);
  expect(
    (await admin.logDirs.describe({ brokers: [suite.brokerId(), 99], timeoutMs: 500 })).map(({ ok }) => ok),
  ).toEqual([true, false]);
  const quorum = await admin.quorum.describe();
  expect(quorum.voters).toMatchObject([{ nodeId: 1 }]);
  const listeners = quorum.controllers[0]?.listeners ?? [];
  const voter = { nodeId: 1, directoryId: quorum.voters[0]?.directoryId ?? "" };
  const unknown = { nodeId: 9, directoryId: Buffer.alloc(16, 9).toString("base64url") };
  if (suite.isKafka) {
    expect(listeners[0]?.name).toBe("CONTROLLER");
    expect(await codeOf(admin.quorum.addVoter({ ...voter, listeners }))).toBe("DUPLICATE_VOTER");
    expect(await codeOf(admin.quorum.removeVoter(unknown))).toBe("VOTER_NOT_FOUND");
  } else {
    // Millrace by itself has no listener for other controllers, and nobody can come: kraft.version is 0.
    expect(listeners).toEqual([]);
    const somewhere = [{ name: "CONTROLLER", host: "localhost", port: 9093 }];
    const refused = { code: "UNSUPPORTED_VERSION" };
    await expect(admin.quorum.addVoter({ ...voter, listeners: somewhere })).rejects.toMatchObject(refused);
    await expect(admin.quorum.removeVoter(unknown)).rejects.toMatchObject(refused);
  }
  await expectCode(admin.cluster.unregisterBroker(99), "BROKER_ID_NOT_REGISTERED");
  const feature = suite.isKafka ? "share.version" : "eligible.leader.replicas.version";
  await admin.features.update({ feature, level: 1 }, { validateOnly: true });
  await expectCode(admin.features.update({ feature, level: 99 }), "INVALID_UPDATE_VERSION");
});

test.for(names)("%s: partitions: elections and reassignments", async (name, context) => {
  const suite = await suiteFor(name, context);
  const { admin } = suite;
  await admin.topics.create({ name: "placed" });
  const partition = { topic: "placed", partition: 0 };
  const [elected] = await admin.partitions.electLeaders([partition]);
  expect(elected).toMatchObject({ ok: true, value: "not-needed" });
  expect(await admin.partitions.electLeaders("all", { kind: "unclean" })).toEqual([]);
  const outcomes = await admin.partitions.reassign([
    { ...partition, replicas: [suite.brokerId()] },
    { topic: "placed", partition: 5, replicas: [suite.brokerId()] },
  ]);
  expect(codes(outcomes)).toEqual(["ok", "UNKNOWN_TOPIC_OR_PARTITION"]);
  expect(codes(await admin.partitions.cancelReassignments([partition]))).toEqual(["NO_REASSIGNMENT_IN_PROGRESS"]);
  expect(await admin.partitions.listReassignments()).toEqual([]);
  await suite.servedByKafka("AlterReplicaLogDirs", async () => {
    const move = { ...partition, brokerId: suite.brokerId(), path: "/nowhere" };
    const [outcome] = await admin.logDirs.moveReplicas([move]);
    if (outcome?.ok !== false) expect.fail("it moved");
    if (outcome.error.code === "UNSUPPORTED_VERSION") throw outcome.error;
    expect(outcome.error.code).toBe("LOG_DIR_NOT_FOUND");
  });
});

test.for(names)("%s: access rules are made, found and deleted", async (name, context) => {
  const suite = await suiteFor(name, context);
  const { admin } = suite;
  const acl = { resource: "topic", name: "secret", principal: "User:alice", operation: "read" } as const;
  await suite.servedByKafka("CreateAcls", async () => {
    await admin.acls.create(acl);
    const outcomes = await admin.acls.create([
      { ...acl, pattern: "prefixed", permission: "deny", host: "10.0.0.1" },
      { ...acl, principal: "alice" },
    ]);
    expect(outcomes.map(({ ok }) => ok)).toEqual([true, false]);
  });
  await suite.servedByKafka("DescribeAcls", async () => {
    await soon(async () => {
      const found = await admin.acls.list({ resource: "topic", name: "secret", pattern: "match" });
      expect(found.toSorted((a, b) => (a.pattern < b.pattern ? -1 : 1))).toEqual([
        { ...acl, pattern: "literal", host: "*", permission: "allow" },
        { ...acl, pattern: "prefixed", host: "10.0.0.1", permission: "deny" },
      ]);
    });
    await soon(async () => {
      expect(await admin.acls.list()).toHaveLength(2);
      const further = await admin.acls.list({ resource: "topic", name: "secret-plans", pattern: "match" });
      expect(further.map(({ pattern }) => pattern)).toEqual(["prefixed"]);
    });
  });
  await suite.servedByKafka("DeleteAcls", async () => {
    const deleted = await admin.acls.delete({ principal: "User:alice", permission: "deny" });
    expect(deleted).toMatchObject([{ ok: true, item: { pattern: "prefixed" } }]);
    await soon(async () => {
      expect(await admin.acls.list()).toHaveLength(1);
    });
  });
});

test.for(names)("%s: quotas are set, found and removed", async (name, context) => {
  const suite = await suiteFor(name, context);
  const { admin } = suite;
  await suite.servedByKafka("AlterClientQuotas", async () => {
    await admin.quotas.alter({
      entity: { user: "alice" },
      set: { producer_byte_rate: 1_048_576, request_percentage: 12.5 },
    });
    const outcomes = await admin.quotas.alter([
      { entity: { user: null, clientId: "app" }, set: { consumer_byte_rate: 1000 } },
      { entity: { user: "bob" }, set: { no_such_rate: 1 } },
    ]);
    expect(codes(outcomes)).toEqual(["ok", "INVALID_REQUEST"]);
  });
  await suite.servedByKafka("DescribeClientQuotas", async () => {
    await soon(async () => {
      const [quota] = await admin.quotas.list({ user: "alice" });
      expect(quota?.entity).toEqual({ user: "alice" });
      expect(Object.fromEntries(quota?.limits ?? [])).toEqual({
        producer_byte_rate: 1_048_576,
        request_percentage: 12.5,
      });
    });
    await soon(async () => {
      expect((await admin.quotas.list({ user: null, clientId: true })).map(({ entity }) => entity)).toEqual([
        { user: null, clientId: "app" },
      ]);
    });
    await admin.quotas.alter({ entity: { user: "alice" }, remove: ["producer_byte_rate", "request_percentage"] });
    await soon(async () => {
      expect(await admin.quotas.list({ user: "alice", isStrict: true })).toEqual([]);
    });
  });
});

test.for(names)("%s: users: credentials are salted here, told without secrets, and deleted", async (name, context) => {
  const suite = await suiteFor(name, context);
  const { admin } = suite;
  await suite.servedByKafka("AlterUserScramCredentials", async () => {
    await admin.users.alter({ user: "alice", mechanism: "SCRAM-SHA-512", password: "secret" });
    const outcomes = await admin.users.alter([
      { user: "bob", mechanism: "SCRAM-SHA-256", password: "secret", iterations: 4096 },
      { user: "carol", mechanism: "SCRAM-SHA-256", password: "secret", iterations: 1 },
      { user: "dave", delete: "SCRAM-SHA-256" },
    ]);
    expect(codes(outcomes)).toEqual(["ok", "UNACCEPTABLE_CREDENTIAL", "RESOURCE_NOT_FOUND"]);
  });
  await suite.servedByKafka("DescribeUserScramCredentials", async () => {
    await soon(async () => {
      expect(Object.fromEntries(await admin.users.list())).toEqual({
        alice: [{ mechanism: "SCRAM-SHA-512", iterations: 8192 }],
        bob: [{ mechanism: "SCRAM-SHA-256", iterations: 4096 }],
      });
    });
    await soon(async () => {
      expect(codes(await admin.users.describe(["bob", "nobody"]))).toEqual(["ok", "RESOURCE_NOT_FOUND"]);
    });
    await admin.users.alter({ user: "bob", delete: "SCRAM-SHA-256" });
    await soon(async () => {
      expect(await codeOf(admin.users.describe("bob"))).toBe("RESOURCE_NOT_FOUND");
    });
  });
});

test.for(names)("%s: delegation tokens want a connection that says who it is", async (name, context) => {
  const suite = await suiteFor(name, context);
  const { admin } = suite;
  const refused = "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED";
  const hmac = Buffer.alloc(64, 7);
  await suite.servedByKafka("CreateDelegationToken", () => expectCode(admin.tokens.create(), refused));
  await suite.servedByKafka("RenewDelegationToken", () => expectCode(admin.tokens.renew(hmac), refused));
  await suite.servedByKafka("ExpireDelegationToken", () => expectCode(admin.tokens.expire(hmac), refused));
  await suite.servedByKafka("DescribeDelegationToken", () => expectCode(admin.tokens.list(), refused));
});

test.for(names)("%s: share groups: offsets", async (name, context) => {
  const suite = await suiteFor(name, context);
  const { admin } = suite;
  await admin.topics.create({ name: "shared" });
  await suite.servedByKafka("AlterShareGroupOffsets", async () => {
    const [outcome] = await admin.shareGroups.alterOffsets("jobs", [{ topic: "shared", partition: 0, startOffset: 0 }]);
    if (outcome?.ok === false) throw outcome.error;
  });
  await suite.servedByKafka("DescribeShareGroupOffsets", async () => {
    await soon(async () => {
      const found = await admin.shareGroups.offsets("jobs");
      expect(found).toMatchObject([{ item: { topic: "shared", partition: 0 }, ok: true, value: { startOffset: 0 } }]);
    });
    await soon(async () => {
      expect(await admin.groups.describe("jobs")).toMatchObject({ type: "share", state: "Empty" });
    });
  });
  await suite.servedByKafka("DeleteShareGroupOffsets", async () => {
    const [outcome] = await admin.shareGroups.deleteOffsets("jobs", ["shared"]);
    if (outcome?.ok === false) throw outcome.error;
  });
});
