import { apis } from "kafka-protocol-ts/apis";
import type { Api } from "kafka-protocol-ts/api";
import { findCoordinator } from "kafka-protocol-ts/messages/10-find-coordinator";
import { expect, test } from "vitest";
import { silence } from "../../test/fake-broker.ts";
import { FakeCluster } from "../../test/fake-cluster.ts";
import type { Admin } from "./admin.ts";

/** The call of the admin that sends an API, or the reason why none does. */
type Row =
  | {
      readonly by: string;
      /** Below it, Apache Kafka 3.0 and later never negotiate. */
      readonly versionMin?: number;
      /** Above it topics are named by ids only, which an admin does not want. */
      readonly versionMax?: number;
      call(admin: Admin): Promise<unknown>;
    }
  | { readonly reason: string };

const orders = { topic: "orders", partition: 0 };
const first = (listing: AsyncGenerator): Promise<unknown> => listing.next();
const ofData: Row = { reason: "producers and consumers send it" };
const ofMembers: Row = { reason: "members of a group send it" };
const ofTransactions: Row = { reason: "a transactional producer sends it" };
const ofConnections: Row = { reason: "connections send it before anything else" };
const ofTelemetry: Row = { reason: "a client that pushes metrics of its own sends it" };
const ofBrokers: Row = { reason: "brokers and controllers send it to each other" };

const table: Readonly<Record<string, Row>> = {
  Produce: ofData,
  Fetch: ofData,
  OffsetForLeaderEpoch: ofData,
  ListOffsets: { by: "topics.offsets", call: ({ topics }) => topics.offsets([{ ...orders, at: "latest" }]) },
  Metadata: { by: "topics.describe", versionMin: 4, call: ({ topics }) => topics.describe("orders") },
  OffsetCommit: {
    by: "groups.alterOffsets",
    versionMax: 9,
    call: ({ groups }) => groups.alterOffsets("readers", [{ ...orders, offset: 1 }]),
  },
  OffsetFetch: { by: "groups.offsets", versionMin: 2, versionMax: 9, call: ({ groups }) => groups.offsets("readers") },
  FindCoordinator: { by: "groups.describe", call: ({ groups }) => groups.describe("readers") },
  JoinGroup: ofMembers,
  Heartbeat: ofMembers,
  SyncGroup: ofMembers,
  ConsumerGroupHeartbeat: ofMembers,
  ShareGroupHeartbeat: ofMembers,
  ShareFetch: ofMembers,
  ShareAcknowledge: ofMembers,
  StreamsGroupHeartbeat: ofMembers,
  LeaveGroup: {
    by: "groups.removeMembers",
    call: ({ groups }) => groups.removeMembers("readers", [{ memberId: "one" }], { reason: "a test" }),
  },
  DescribeGroups: { by: "groups.describe", call: ({ groups }) => groups.describe("readers") },
  ConsumerGroupDescribe: { by: "groups.describe", call: ({ groups }) => groups.describe("readers") },
  ShareGroupDescribe: { by: "groups.describe", call: ({ groups }) => groups.describe("readers") },
  StreamsGroupDescribe: { by: "groups.describe", call: ({ groups }) => groups.describe("readers") },
  ListGroups: { by: "groups.list", call: ({ groups }) => first(groups.list({ types: ["classic"] })) },
  DeleteGroups: { by: "groups.delete", call: ({ groups }) => groups.delete("readers") },
  OffsetDelete: { by: "groups.deleteOffsets", call: ({ groups }) => groups.deleteOffsets("readers", [orders]) },
  DescribeShareGroupOffsets: { by: "shareGroups.offsets", call: ({ shareGroups }) => shareGroups.offsets("jobs") },
  AlterShareGroupOffsets: {
    by: "shareGroups.alterOffsets",
    call: ({ shareGroups }) => shareGroups.alterOffsets("jobs", [{ ...orders, startOffset: 1 }]),
  },
  DeleteShareGroupOffsets: {
    by: "shareGroups.deleteOffsets",
    call: ({ shareGroups }) => shareGroups.deleteOffsets("jobs", ["orders"]),
  },
  SaslHandshake: ofConnections,
  SaslAuthenticate: ofConnections,
  ApiVersions: {
    reason: "connections send it before anything else, and features.describe, which has a test of its own",
  },
  CreateTopics: { by: "topics.create", call: ({ topics }) => topics.create({ name: "new" }) },
  DeleteTopics: { by: "topics.delete", call: ({ topics }) => topics.delete("orders") },
  CreatePartitions: {
    by: "topics.createPartitions",
    call: ({ topics }) => topics.createPartitions({ topic: "orders", count: 2 }),
  },
  DeleteRecords: { by: "topics.deleteRecords", call: ({ topics }) => topics.deleteRecords([{ ...orders, before: 1 }]) },
  DescribeTopicPartitions: { by: "topics.describe", call: ({ topics }) => topics.describe("orders") },
  DescribeConfigs: {
    by: "configs.describe",
    call: ({ configs }) => configs.describe({ type: "topic", name: "orders" }, { includeDocumentation: true }),
  },
  AlterConfigs: {
    by: "configs.replace",
    call: ({ configs }) => configs.replace({ type: "topic", name: "orders", config: { "retention.ms": "1" } }),
  },
  IncrementalAlterConfigs: {
    by: "configs.alter",
    call: ({ configs }) =>
      configs.alter({ type: "topic", name: "orders", changes: { set: { "retention.ms": "1" }, delete: ["x"] } }),
  },
  ListConfigResources: { by: "configs.list", call: ({ configs }) => configs.list({ types: ["client-metrics"] }) },
  InitProducerId: { by: "transactions.fenceProducers", call: ({ transactions }) => transactions.fenceProducers("pay") },
  AddPartitionsToTxn: ofTransactions,
  AddOffsetsToTxn: ofTransactions,
  EndTxn: ofTransactions,
  TxnOffsetCommit: ofTransactions,
  WriteTxnMarkers: {
    by: "transactions.abort",
    call: ({ transactions }) => transactions.abort({ ...orders, producerId: 1, producerEpoch: 0 }),
  },
  DescribeProducers: {
    by: "transactions.describeProducers",
    call: ({ transactions }) => transactions.describeProducers([orders]),
  },
  DescribeTransactions: { by: "transactions.describe", call: ({ transactions }) => transactions.describe("pay") },
  ListTransactions: {
    by: "transactions.list",
    call: ({ transactions }) => first(transactions.list({ states: ["Ongoing"] })),
  },
  DescribeAcls: { by: "acls.list", call: ({ acls }) => acls.list() },
  CreateAcls: {
    by: "acls.create",
    call: ({ acls }) => acls.create({ resource: "topic", name: "orders", principal: "User:a", operation: "read" }),
  },
  DeleteAcls: { by: "acls.delete", call: ({ acls }) => acls.delete({ principal: "User:a" }) },
  DescribeClientQuotas: { by: "quotas.list", call: ({ quotas }) => quotas.list({ user: "a" }) },
  AlterClientQuotas: {
    by: "quotas.alter",
    call: ({ quotas }) => quotas.alter({ entity: { user: "a" }, set: { producer_byte_rate: 1 } }),
  },
  DescribeUserScramCredentials: { by: "users.list", call: ({ users }) => users.list() },
  AlterUserScramCredentials: {
    by: "users.alter",
    call: ({ users }) => users.alter({ user: "a", mechanism: "SCRAM-SHA-256", password: "p", iterations: 1 }),
  },
  CreateDelegationToken: { by: "tokens.create", call: ({ tokens }) => tokens.create({ renewers: ["User:a"] }) },
  RenewDelegationToken: { by: "tokens.renew", call: ({ tokens }) => tokens.renew(Buffer.alloc(4)) },
  ExpireDelegationToken: { by: "tokens.expire", call: ({ tokens }) => tokens.expire(Buffer.alloc(4)) },
  DescribeDelegationToken: { by: "tokens.list", call: ({ tokens }) => tokens.list({ owners: ["User:a"] }) },
  ElectLeaders: { by: "partitions.electLeaders", call: ({ partitions }) => partitions.electLeaders("all") },
  AlterPartitionReassignments: {
    by: "partitions.reassign",
    call: ({ partitions }) => partitions.reassign([{ ...orders, replicas: [1] }]),
  },
  ListPartitionReassignments: {
    by: "partitions.listReassignments",
    call: ({ partitions }) => partitions.listReassignments(),
  },
  AlterReplicaLogDirs: {
    by: "logDirs.moveReplicas",
    call: ({ logDirs }) => logDirs.moveReplicas([{ ...orders, brokerId: 0, path: "/data" }]),
  },
  DescribeLogDirs: { by: "logDirs.describe", call: ({ logDirs }) => logDirs.describe({ partitions: [orders] }) },
  DescribeCluster: { by: "cluster.describe", call: ({ cluster }) => cluster.describe() },
  UnregisterBroker: { by: "cluster.unregisterBroker", call: ({ cluster }) => cluster.unregisterBroker(9) },
  UpdateFeatures: {
    by: "features.update",
    call: ({ features }) => features.update({ feature: "f", level: 1, kind: "safe-downgrade" }),
  },
  DescribeQuorum: { by: "quorum.describe", call: ({ quorum }) => quorum.describe() },
  AddRaftVoter: {
    by: "quorum.addVoter",
    call: ({ quorum }) => quorum.addVoter({ nodeId: 1, directoryId: "AAAAAAAAAAAAAAAAAAAAAQ", listeners: [] }),
  },
  RemoveRaftVoter: {
    by: "quorum.removeVoter",
    call: ({ quorum }) => quorum.removeVoter({ nodeId: 1, directoryId: "AAAAAAAAAAAAAAAAAAAAAQ" }),
  },
  GetTelemetrySubscriptions: ofTelemetry,
  PushTelemetry: ofTelemetry,
  InitializeShareGroupState: ofBrokers,
  ReadShareGroupState: ofBrokers,
  WriteShareGroupState: ofBrokers,
  DeleteShareGroupState: ofBrokers,
  ReadShareGroupStateSummary: ofBrokers,
  Explain: { by: "explain", call: (admin) => admin.explain("group", "readers") },
};

const all: readonly Api<unknown, unknown>[] = Object.values(apis);

test("every API that a client sees has a call, or a reason; the calls exist", async () => {
  const visible = all.filter(({ listeners }) => listeners.includes("broker")).map(({ name }) => name);
  expect(Object.keys(table).toSorted(), "write down which call sends it, or why none does").toEqual(visible.toSorted());
  const fake = await FakeCluster.start();
  await using cluster = fake.client();
  const admin: object = cluster.admin();
  for (const [api, row] of Object.entries(table)) {
    if (!("by" in row)) continue;
    const found = row.by.split(".").reduce<unknown>((of, name) => (of as Record<string, unknown>)[name], admin);
    expect(typeof found, `${api}: ${row.by}`).toBe("function");
  }
});

const called = all.flatMap((api) => {
  const row = table[api.name];
  return row !== undefined && "by" in row ? [[api.name, api, row] as const] : [];
});

test.for(called)("%s is sent in each version that a broker may speak", async ([, api, row]) => {
  const { versionMin = api.versions[0], versionMax = api.versions[1] } = row;
  for (let version = versionMin; version <= versionMax; version++) {
    const fake = await FakeCluster.start();
    fake.create("orders");
    const broker = fake.brokers[0]!;
    broker.on(findCoordinator, ({ message }) => ({
      coordinators: message.coordinatorKeys.map((key) => ({
        ...{ key, nodeId: 0, host: "broker", port: 9000 },
        ...{ errorCode: 0, errorMessage: null },
      })),
    }));
    const before = broker.answerOf(api);
    broker.on(api, (asked) => before?.(asked) ?? silence, [version, version]);
    const cluster = fake.client();
    const call = row.call(cluster.admin()).catch(() => {});
    const isAsked = (): boolean => broker.asked.some((asked) => asked.api === api.name && asked.version === version);
    await fake.world.clock.settle();
    // Hashing a password takes real time.
    if (row.by === "users.alter") await expect.poll(isAsked).toBe(true);
    expect(isAsked(), `version ${version}: ${broker.names.join(", ")}`).toBe(true);
    await cluster.close();
    await call;
  }
});
