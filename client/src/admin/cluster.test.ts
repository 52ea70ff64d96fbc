import { pbkdf2Sync } from "node:crypto";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { apiVersions } from "kafka-protocol-ts/messages/18-api-versions";
import { describeAcls } from "kafka-protocol-ts/messages/29-describe-acls";
import { describeConfigs } from "kafka-protocol-ts/messages/32-describe-configs";
import { describeLogDirs } from "kafka-protocol-ts/messages/35-describe-log-dirs";
import { electLeaders } from "kafka-protocol-ts/messages/43-elect-leaders";
import { describeClientQuotas } from "kafka-protocol-ts/messages/48-describe-client-quotas";
import { alterUserScramCredentials } from "kafka-protocol-ts/messages/51-alter-user-scram-credentials";
import { updateFeatures } from "kafka-protocol-ts/messages/57-update-features";
import { describeCluster } from "kafka-protocol-ts/messages/60-describe-cluster";
import { expect, test } from "vitest";
import { FakeBroker } from "../../test/fake-broker.ts";
import { FakeCluster } from "../../test/fake-cluster.ts";

test("the cluster is described by Metadata where there is nothing better, and what that cannot say is refused", async () => {
  const fake = await FakeCluster.start({ brokers: 2 });
  await using older = fake.client();
  const { cluster } = older.admin();
  expect(await cluster.describe()).toMatchObject({
    ...{ clusterId: "fake", controllerId: 0, authorizedOperations: null },
    brokers: [{ nodeId: 0, host: "broker", port: 9000 }, { nodeId: 1 }],
  });
  await expect(cluster.describe({ includeFenced: true })).rejects.toMatchObject({ code: "UNSUPPORTED_VERSION" });
  for (const broker of fake.brokers) {
    broker.on(describeCluster, ({ message }) => ({
      ...{ throttleTimeMs: 0, errorCode: 0, clusterId: "new", controllerId: -1 },
      brokers: [{ brokerId: 3, host: "h", port: 1, isFenced: message.includeFencedBrokers }],
      clusterAuthorizedOperations: 1 << 7,
    }));
  }
  await using newer = fake.client();
  const described = await newer.admin().cluster.describe({ includeFenced: true });
  expect(described).toMatchObject({ clusterId: "new", controllerId: null, brokers: [{ nodeId: 3, isFenced: true }] });
  expect([...described.authorizedOperations!]).toEqual(["alter"]);
});

/** It answers with its own address as the one setting of whatever it is asked about. */
function serveConfigs(broker: FakeBroker): void {
  broker.on(describeConfigs, ({ message }) => ({
    throttleTimeMs: 0,
    results: message.resources.map(({ resourceType, resourceName }) => ({
      ...{ errorCode: 0, errorMessage: null, resourceType, resourceName },
      configs: [{ name: "by", value: broker.text, readOnly: true, configSource: 99, isSensitive: false, synonyms: [] }],
    })),
  }));
}

test("settings of a broker and its loggers are asked of that broker, all others of any", async () => {
  const fake = await FakeCluster.start({ brokers: 3 });
  for (const broker of fake.brokers) serveConfigs(broker);
  await using cluster = fake.client();
  const { configs } = cluster.admin();
  const outcomes = await configs.describe([
    { type: "broker", name: "2" },
    { type: "topic", name: "2" },
    { type: "broker-logger", name: "1" },
    { type: "broker", name: "" },
  ]);
  expect(outcomes.map((each) => each.ok && each.value.get("by")?.value)).toEqual([
    ...["broker:9002", "broker:9000", "broker:9001", "broker:9000"],
  ]);
  expect(outcomes[0]).toMatchObject({
    value: new Map([["by", { source: "unknown", type: "unknown", isReadOnly: true }]]),
  });
  await expect(configs.describe({ type: "broker", name: "first" })).rejects.toMatchObject({ code: "INVALID_CONFIG" });
});

test("a broker that has moved to another address is asked there, though nobody has asked where it is", async () => {
  const fake = await FakeCluster.start({ brokers: 2 });
  for (const broker of fake.brokers) serveConfigs(broker);
  await using cluster = fake.client();
  const { configs } = cluster.admin();
  const askedBroker = async (): Promise<string | null | undefined> => {
    const asking = configs.describe([{ type: "broker", name: "1" }]);
    const [outcome] = await fake.within(10_000, asking);
    return outcome?.ok === true ? outcome.value.get("by")?.value : outcome?.error.message;
  };
  expect(await askedBroker()).toBe("broker:9001");
  await fake.brokers[1]![Symbol.asyncDispose]();
  fake.brokers[1] = await FakeBroker.start(fake.world.network, 9005);
  serveConfigs(fake.brokers[1]);
  expect(await askedBroker()).toBe("broker:9005");
});

test("an election that is not needed is no failure, and is not tried again", async () => {
  const fake = await FakeCluster.start();
  const codes = [0, ErrorCode.ELECTION_NOT_NEEDED, ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE];
  fake.brokers[0]!.on(electLeaders, () => ({
    ...{ throttleTimeMs: 0, errorCode: 0 },
    replicaElectionResults: [
      {
        topic: "orders",
        partitionResult: codes.map((errorCode, partitionId) => ({ partitionId, errorCode, errorMessage: null })),
      },
    ],
  }));
  await using cluster = fake.client();
  const { partitions } = cluster.admin();
  const expected = [
    { value: "elected" },
    { value: "not-needed" },
    { error: { code: "PREFERRED_LEADER_NOT_AVAILABLE" } },
  ];
  const items = [0, 1, 2].map((partition) => ({ topic: "orders", partition }));
  expect(await partitions.electLeaders(items)).toMatchObject(expected);
  expect(await partitions.electLeaders("all")).toMatchObject(expected);
  expect(fake.requests("ElectLeaders")).toBe(2);
});

test("features: what is supported and in use; before v1 nothing can be validated, from v2 on one error is everybody's", async () => {
  const fake = await FakeCluster.start();
  const [broker] = fake.brokers;
  broker!.on(apiVersions, () => ({
    ...{ errorCode: 0, apiKeys: broker!.served, finalizedFeaturesEpoch: 9 },
    supportedFeatures: [{ name: "a", minVersion: 0, maxVersion: 3 }],
    finalizedFeatures: [{ name: "b", minVersionLevel: 2, maxVersionLevel: 2 }],
  }));
  const refusal = { throttleTimeMs: 0, errorCode: ErrorCode.FEATURE_UPDATE_FAILED, errorMessage: "no" };
  broker!.on(updateFeatures, () => refusal);
  await using cluster = fake.client();
  const { features } = cluster.admin();
  const described = await features.describe();
  expect(described.epoch).toBe(9);
  expect([...described.features.values()]).toEqual([
    { name: "a", finalizedLevel: null, supported: { min: 0, max: 3 } },
    { name: "b", finalizedLevel: 2, supported: null },
  ]);
  const updates = [
    { feature: "a", level: 1 },
    { feature: "b", level: 0, kind: "unsafe-downgrade" as const },
  ];
  const refused = { error: { code: "FEATURE_UPDATE_FAILED", message: "features.update: no" } };
  expect(await features.update(updates)).toMatchObject([refused, refused]);
  broker!.on(updateFeatures, () => ({ throttleTimeMs: 0, errorCode: 0, errorMessage: null }));
  expect(await features.update(updates)).toMatchObject([{ ok: true }, { ok: true }]);
  const result = { feature: "b", errorCode: ErrorCode.INVALID_UPDATE_VERSION, errorMessage: null };
  const results = [{ feature: "a", errorCode: 0, errorMessage: null }, result];
  broker!.on(updateFeatures, () => ({ throttleTimeMs: 0, errorCode: 0, errorMessage: null, results }), [0, 0]);
  await using older = fake.client();
  expect(await older.admin().features.update(updates)).toMatchObject([{ ok: true }, { ok: false }]);
  expect(broker!.asked.at(-1)?.message).toMatchObject({
    featureUpdates: [{ allowDowngrade: false }, { allowDowngrade: true, maxVersionLevel: 0 }],
  });
  const validating = older.admin().features.update(updates, { validateOnly: true });
  expect((await validating).map((each) => !each.ok && each.error.code)).toEqual([
    "UNSUPPORTED_VERSION",
    "UNSUPPORTED_VERSION",
  ]);
});

test("directories of each broker; an older broker that says nothing has refused, and one that is away is its own failure", async () => {
  const fake = await FakeCluster.start({ brokers: 2 });
  const dir = { errorCode: ErrorCode.KAFKA_STORAGE_ERROR, logDir: "/a", topics: [] };
  fake.brokers[0]!.on(describeLogDirs, () => ({ throttleTimeMs: 0, errorCode: 0, results: [dir] }));
  fake.brokers[1]!.on(describeLogDirs, () => ({ throttleTimeMs: 0, results: [] }), [1, 2]);
  await using cluster = fake.client();
  const describing = cluster.admin().logDirs.describe({ brokers: [0, 1, 7], timeoutMs: 1_000 });
  expect(await fake.within(1_001, describing)).toMatchObject([
    { item: 0, value: [{ path: "/a", totalBytes: null, error: { code: "KAFKA_STORAGE_ERROR" } }] },
    { item: 1, error: { code: "CLUSTER_AUTHORIZATION_FAILED" } },
    { item: 7, error: { code: "TIMED_OUT", cause: { code: "BROKER_NOT_AVAILABLE" } } },
  ]);
});

test("a password leaves salted and hashed, with a salt of this world's chance", async () => {
  const fake = await FakeCluster.start();
  fake.brokers[0]!.on(alterUserScramCredentials, ({ message }) => ({
    throttleTimeMs: 0,
    results: message.upsertions.map(({ name }) => ({ user: name, errorCode: 0, errorMessage: null })),
  }));
  await using cluster = fake.client();
  const { users } = cluster.admin();
  await users.alter({ user: "alice", mechanism: "SCRAM-SHA-512", password: "pencil" });
  // RFC 7677: what its example hashes to.
  const salt = Buffer.from("W22ZaJ0SNY7soEsUEjb6gQ==", "base64");
  await users.alter({ user: "user", mechanism: "SCRAM-SHA-256", password: "pencil", salt, iterations: 4096 });
  type Sent = { upsertions: { mechanism: number; iterations: number; salt: Buffer; saltedPassword: Buffer }[] };
  const sent = fake.brokers[0]!.asked.filter(({ api }) => api === "AlterUserScramCredentials").map(
    ({ message }) => (message as Sent).upsertions[0]!,
  );
  expect(sent[0]).toMatchObject({ mechanism: 2, iterations: 8192 });
  expect(sent[0]!.salt).toHaveLength(32);
  expect(sent[0]!.saltedPassword).toEqual(pbkdf2Sync("pencil", sent[0]!.salt, 8192, 64, "sha512"));
  expect(sent[1]!.saltedPassword.toString("hex")).toBe(
    "c4a49510323ab4f952cac1fa99441939e78ea74d6be81ddf7096e87513dc615d",
  );
  await expect(users.alter({ user: "a", mechanism: "SCRAM-SHA-256", password: "" })).rejects.toMatchObject({
    code: "INVALID_CONFIG",
  });
});

test("filters: absent is any, null the default; rules that this client has no word for are left out", async () => {
  const fake = await FakeCluster.start();
  const [broker] = fake.brokers;
  const acl = { principal: "User:a", host: "*", operation: 3, permissionType: 3 };
  broker!.on(describeAcls, () => ({
    ...{ throttleTimeMs: 0, errorCode: 0, errorMessage: null },
    resources: [
      { resourceType: 2, resourceName: "orders", patternType: 4, acls: [acl, { ...acl, operation: 77 }] },
      { resourceType: 55, resourceName: "odd", patternType: 3, acls: [acl] },
    ],
  }));
  broker!.on(describeClientQuotas, () => ({ throttleTimeMs: 0, errorCode: 0, errorMessage: null, entries: null }));
  await using cluster = fake.client();
  const { acls, quotas } = cluster.admin();
  expect(await acls.list({ operation: "read" })).toEqual([
    {
      ...{ resource: "topic", name: "orders", pattern: "prefixed", principal: "User:a", host: "*" },
      ...{ operation: "read", permission: "allow" },
    },
  ]);
  expect(broker!.asked.at(-1)?.message).toMatchObject({
    ...{ resourceTypeFilter: 1, resourceNameFilter: null, patternTypeFilter: 1, operation: 3, permissionType: 1 },
  });
  expect(await quotas.list({ user: null, clientId: true, ip: "10.0.0.1" })).toEqual([]);
  expect(broker!.asked.at(-1)?.message).toMatchObject({
    components: [
      { entityType: "user", matchType: 1, match: null },
      { entityType: "client-id", matchType: 2, match: null },
      { entityType: "ip", matchType: 0, match: "10.0.0.1" },
    ],
  });
  await expect(acls.list({ operation: "fly" as "read" })).rejects.toMatchObject({
    code: "INVALID_CONFIG",
    message: expect.stringMatching(/^ACL operation: "fly" is none of all, read/) as string,
  });
});
