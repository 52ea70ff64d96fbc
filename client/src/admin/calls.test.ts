import { ErrorCode } from "kafka-protocol-ts/errors";
import { listOffsets } from "kafka-protocol-ts/messages/02-list-offsets";
import { findCoordinator } from "kafka-protocol-ts/messages/10-find-coordinator";
import { createTopics } from "kafka-protocol-ts/messages/19-create-topics";
import { createDelegationToken } from "kafka-protocol-ts/messages/38-create-delegation-token";
import { deleteGroups } from "kafka-protocol-ts/messages/42-delete-groups";
import { expect, test } from "vitest";
import { silence } from "../../test/fake-broker.ts";
import { FakeCluster } from "../../test/fake-cluster.ts";

/** Groups named a... are coordinated by broker 0, b... by 1, and so on, unless a test moves them. */
function coordinate(fake: FakeCluster, coordinatorOf = (key: string): number => key.charCodeAt(0) - 97): void {
  for (const broker of fake.brokers) {
    broker.on(findCoordinator, ({ message }) => ({
      coordinators: message.coordinatorKeys.map((key) => {
        const nodeId = coordinatorOf(key);
        const errorCode = nodeId < 0 ? ErrorCode.COORDINATOR_NOT_AVAILABLE : 0;
        return { key, nodeId, host: "broker", port: 9000 + nodeId, errorCode, errorMessage: null };
      }),
    }));
  }
}

const deleted =
  (errors: Readonly<Record<string, number>> = {}) =>
  ({ message }: { message: { readonly groupsNames: readonly string[] } }) => ({
    throttleTimeMs: 0,
    results: message.groupsNames.map((groupId) => ({ groupId, errorCode: errors[groupId] ?? 0 })),
  });

test("items go to their coordinators: one look-up for all, one request each; every item has an outcome of its own", async () => {
  const fake = await FakeCluster.start({ brokers: 3 });
  coordinate(fake);
  for (const broker of fake.brokers) broker.on(deleteGroups, deleted({ "b-full": ErrorCode.NON_EMPTY_GROUP }));
  await using cluster = fake.client();
  const ids = ["a-1", "b-full", "a-2", "c-1"];
  const outcomes = await cluster.admin().groups.delete(ids);
  expect(outcomes.map(({ item }) => item)).toEqual(ids);
  expect(outcomes).toMatchObject([{ ok: true }, { ok: false }, { ok: true }, { ok: true }]);
  expect(outcomes[1]).toMatchObject({ error: { code: "NON_EMPTY_GROUP", broker: "broker:9001" } });
  expect(outcomes[1]).toMatchObject({ error: { message: expect.stringMatching(/^group b-full: /) as string } });
  expect(fake.requests("FindCoordinator")).toBe(1);
  expect(
    fake.brokers.map(({ asked }) => asked.filter(({ api }) => api === "DeleteGroups").map(({ message }) => message)),
  ).toEqual([[{ groupsNames: ["a-1", "a-2"] }], [{ groupsNames: ["b-full"] }], [{ groupsNames: ["c-1"] }]]);
});

test("a coordinator that has moved is looked up again, for what it refused only", async () => {
  const fake = await FakeCluster.start({ brokers: 2 });
  let at = 0;
  coordinate(fake, (key) => (key === "moves" ? at : 0));
  fake.brokers[0]!.on(deleteGroups, (asked) => {
    at = 1;
    return deleted({ moves: ErrorCode.NOT_COORDINATOR })(asked);
  });
  fake.brokers[1]!.on(deleteGroups, deleted());
  await using cluster = fake.client();
  const outcomes = await fake.within(1_000, cluster.admin().groups.delete(["stays", "moves"]));
  expect(outcomes.map(({ ok }) => ok)).toEqual([true, true]);
  expect(fake.brokers[1]!.asked.at(-1)?.message).toEqual({ groupsNames: ["moves"] });
  expect(fake.requests("DeleteGroups")).toBe(2);
});

test("before KIP-699 coordinators are looked up one by one", async () => {
  const fake = await FakeCluster.start();
  fake.brokers[0]!.on(
    findCoordinator,
    () => ({ errorCode: 0, errorMessage: null, nodeId: 0, host: "broker", port: 9000 }),
    [0, 3],
  );
  fake.brokers[0]!.on(deleteGroups, deleted());
  await using cluster = fake.client();
  expect((await cluster.admin().groups.delete(["a", "b"])).map(({ ok }) => ok)).toEqual([true, true]);
  expect(fake.requests("FindCoordinator")).toBe(2);
});

test("when the time is over, what has no answer says what was last wrong, and the rest keeps its outcome", async () => {
  const fake = await FakeCluster.start({ brokers: 2 });
  coordinate(fake, (key) => (key === "lost" ? -1 : 0));
  fake.brokers[0]!.on(deleteGroups, deleted());
  await using cluster = fake.client();
  const deleting = cluster.admin().groups.delete(["fine", "lost"], { timeoutMs: 5_000 });
  const outcomes = await fake.within(5_001, deleting);
  expect(outcomes).toMatchObject([
    { ok: true },
    { ok: false, error: { code: "TIMED_OUT", retriable: true, cause: { code: "COORDINATOR_NOT_AVAILABLE" } } },
  ]);
  expect(fake.requests("DeleteGroups")).toBe(1);
});

test("a leader that has moved is looked up again; the others' partitions are not asked for twice", async () => {
  const fake = await FakeCluster.start({ brokers: 2 });
  const [first] = fake.create("orders", [0, 1]);
  await using cluster = fake.client();
  const { topics } = cluster.admin();
  const queries = [0, 1].map((partition) => ({ topic: "orders", partition, at: "latest" as const }));
  expect((await topics.offsets(queries)).map(({ ok }) => ok)).toEqual([true, true]);
  expect(fake.requests("ListOffsets")).toBe(2);
  first!.leaderId = 1;
  expect((await fake.within(1_000, topics.offsets(queries))).map(({ ok }) => ok)).toEqual([true, true]);
  expect(fake.brokers[1]!.asked.at(-1)).toMatchObject({
    message: { topics: [{ partitions: [{ partitionIndex: 0 }] }] },
  });
  expect(fake.requests("ListOffsets")).toBe(5);
});

test("a broker that is gone: its partitions move, and are asked for where they are", async () => {
  const fake = await FakeCluster.start({ brokers: 2 });
  const [partition] = fake.create("orders", [1]);
  await using cluster = fake.client();
  await cluster.wire.topic("orders");
  await fake.brokers[1]!.stop();
  partition!.leaderId = 0;
  const query = [{ topic: "orders", partition: 0, at: "earliest" as const }];
  expect(await fake.within(5_000, cluster.admin().topics.offsets(query))).toMatchObject([
    { ok: true, value: { offset: 0 } },
  ]);
});

test("who is not the controller any more is not asked again", async () => {
  const fake = await FakeCluster.start({ brokers: 2 });
  const answer =
    (errorCode: number) =>
    ({ message }: { message: { readonly topics: readonly { readonly name: string }[] } }) => ({
      throttleTimeMs: 0,
      topics: message.topics.map(({ name }) => ({ name, errorCode, errorMessage: null })),
    });
  fake.brokers[0]!.on(createTopics, (asked) => {
    fake.controllerId = 1;
    return answer(ErrorCode.NOT_CONTROLLER)(asked);
  });
  fake.brokers[1]!.on(createTopics, answer(0));
  await using cluster = fake.client();
  await fake.within(1_000, cluster.admin().topics.create({ name: "new" }));
  expect(fake.brokers.map(({ names }) => names.filter((name) => name === "CreateTopics").length)).toEqual([1, 1]);
});

test("a lost answer is asked for again, and an error after it says that it may be our own doing", async () => {
  const fake = await FakeCluster.start();
  let isFirst = true;
  fake.brokers[0]!.on(createTopics, ({ connection }) => {
    if (isFirst) {
      isFirst = false;
      connection.destroy();
      return silence;
    }
    return {
      throttleTimeMs: 0,
      topics: [{ name: "new", errorCode: ErrorCode.TOPIC_ALREADY_EXISTS, errorMessage: null }],
    };
  });
  await using cluster = fake.client();
  await expect(fake.within(2_000, cluster.admin().topics.create({ name: "new" }))).rejects.toMatchObject({
    code: "TOPIC_ALREADY_EXISTS",
    message: expect.stringMatching(/an earlier try of this call got no answer, and may have done it/) as string,
  });
});

test("what may not be done twice is not asked for again after a lost answer", async () => {
  const fake = await FakeCluster.start();
  fake.brokers[0]!.on(createDelegationToken, ({ connection }) => {
    connection.destroy();
    return silence;
  });
  await using cluster = fake.client();
  await expect(cluster.admin().tokens.create()).rejects.toMatchObject({ code: "NETWORK_EXCEPTION" });
  expect(fake.requests("CreateDelegationToken")).toBe(1);
});

test("a topic that this admin has made may be unknown for a moment, any other is unknown", async () => {
  const fake = await FakeCluster.start();
  fake.brokers[0]!.on(createTopics, ({ message }) => {
    const [topic] = message.topics;
    fake.world.clock.schedule(700, () => void fake.create(topic!.name));
    return { throttleTimeMs: 0, topics: [{ name: topic!.name, errorCode: 0, errorMessage: null }] };
  });
  await using cluster = fake.client();
  const { topics } = cluster.admin();
  await topics.create({ name: "new" });
  expect(await fake.within(2_000, topics.describe("new"))).toMatchObject({ name: "new" });
  await expect(topics.describe("other")).rejects.toMatchObject({ code: "UNKNOWN_TOPIC_OR_PARTITION" });
});

test("a signal ends the call at once, whatever it waits for, and a closed cluster does, too", async () => {
  const fake = await FakeCluster.start();
  fake.brokers[0]!.on(createTopics, () => new Promise<never>(() => {}));
  const cluster = fake.client();
  const { topics } = cluster.admin();
  const stop = new AbortController();
  const creating = topics.create([{ name: "new" }], { signal: stop.signal });
  await fake.world.clock.settle();
  stop.abort(new Error("enough"));
  await expect(creating).rejects.toMatchObject({ code: "ABORTED", cause: { message: "enough" } });
  await expect(topics.describe("x", { signal: stop.signal })).rejects.toMatchObject({ code: "ABORTED" });
  const another = topics.create([{ name: "new" }]);
  await fake.world.clock.settle();
  await Promise.all([expect(another).rejects.toMatchObject({ code: "CLOSED" }), cluster.close()]);
});

test("an API that is not served is named, with the broker; so is what an older version cannot say", async () => {
  const fake = await FakeCluster.start();
  fake.create("orders");
  await using cluster = fake.client();
  const admin = cluster.admin();
  await expect(admin.quorum.describe()).rejects.toMatchObject({
    code: "UNSUPPORTED_VERSION",
    message: "broker:9000 does not serve DescribeQuorum",
  });
  fake.brokers[0]!.on(listOffsets, () => silence, [1, 6]);
  await using older = fake.client();
  const [outcome] = await older.admin().topics.offsets("orders", "max-timestamp");
  expect(outcome).toMatchObject({
    error: {
      code: "UNSUPPORTED_VERSION",
      message: 'broker:9000 serves an older ListOffsets, which cannot find "max-timestamp"',
      broker: "broker:9000",
    },
  });
});

test("an answer that leaves an item out is an error of that item; a time of nothing is refused", async () => {
  const fake = await FakeCluster.start();
  coordinate(fake, () => 0);
  fake.brokers[0]!.on(deleteGroups, () => ({ throttleTimeMs: 0, results: [{ groupId: "a", errorCode: 0 }] }));
  await using cluster = fake.client();
  const { groups } = cluster.admin();
  expect(await groups.delete(["a", "b"])).toMatchObject([
    { ok: true },
    { error: { code: "UNKNOWN_SERVER_ERROR", message: "group b: the answer of broker:9000 leaves it out" } },
  ]);
  await expect(groups.delete("a", { timeoutMs: 0 })).rejects.toMatchObject({ code: "INVALID_CONFIG" });
  expect(await groups.delete([])).toEqual([]);
});
