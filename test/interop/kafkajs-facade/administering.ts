import type { Admin } from "kafkajs";
import { Collected, createTopics, errorOf, numbered } from "./story.ts";
import type { Context, Program } from "./story.ts";

async function withAdmin(context: Context, work: (admin: Admin) => Promise<unknown>): Promise<unknown> {
  const admin = context.kafka({ retry: { retries: 2, initialRetryTime: 30 } }).admin();
  await admin.connect();
  try {
    return await work(admin);
  } finally {
    await admin.disconnect();
  }
}

/** Of a call that fails with several errors. */
async function errorsOf(work: Promise<unknown>): Promise<unknown> {
  try {
    return { value: await work };
  } catch (error) {
    const { name, errors = [] } = error as Error & { readonly errors?: (Error & Record<string, unknown>)[] };
    return { name, errors: errors.map(({ name: each, type, code, topic }) => ({ name: each, type, code, topic })) };
  }
}

const topics: Program = async (library, context) =>
  withAdmin(context, async (admin) => {
    const [a, b, c] = ["topic-a", "topic-b", "topic-c"].map((name) => context.name(name)) as [string, string, string];
    const created = await admin.createTopics({
      topics: [
        {
          topic: a,
          numPartitions: 3,
          replicationFactor: 1,
          configEntries: [{ name: "cleanup.policy", value: "compact" }],
        },
        { topic: b },
      ],
    });
    const again = await admin.createTopics({ topics: [{ topic: a }] });
    const validated = await admin.createTopics({ validateOnly: true, waitForLeaders: false, topics: [{ topic: c }] });
    const mixed = await errorsOf(admin.createTopics({ topics: [{ topic: a }, { topic: "bad name" }] }));
    const wrong = await errorsOf(admin.createTopics({ topics: [{ topic: c, numPartitions: 0 }] }));
    const listed = (await admin.listTopics()).filter((name) => [a, b, c].includes(name)).sort();
    const { topics: described } = await admin.fetchTopicMetadata({ topics: [a] });
    const metadata = described.map(({ name, partitions }) => ({
      name,
      partitions: partitions
        .map(({ partitionErrorCode, partitionId, leader, replicas, isr, offlineReplicas }) => ({
          partitionErrorCode,
          partitionId,
          leader,
          replicas,
          isr,
          offlineReplicas,
        }))
        .sort((x, y) => x.partitionId - y.partitionId),
    }));
    const more = await errorOf(
      admin.createPartitions({ topicPartitions: [{ topic: a, count: 5 }] }).then(() => "done"),
    );
    const fewer = await errorOf(admin.createPartitions({ topicPartitions: [{ topic: a, count: 2 }] }));
    const nowhere = await errorOf(admin.createPartitions({ topicPartitions: [{ topic: c, count: 2 }] }));
    const absent = await errorOf(admin.fetchTopicMetadata({ topics: [c] }));
    const deleted = await errorOf(admin.deleteTopics({ topics: [a, b] }));
    const gone = await errorOf(admin.deleteTopics({ topics: [c] }));
    const refused = {
      noArray: await errorOf(admin.createTopics({ topics: "x" as never })),
      noName: await errorOf(admin.createTopics({ topics: [{ topic: 1 as never }] })),
      twice: await errorOf(admin.createTopics({ topics: [{ topic: a }, { topic: a }] })),
      entries: await errorOf(admin.createTopics({ topics: [{ topic: a, configEntries: [{ name: "x" } as never] }] })),
      nothingToDelete: await errorOf(admin.deleteTopics({ topics: 1 as never })),
      partitions: await errorOf(admin.createPartitions({ topicPartitions: [] })),
      metadata: await errorOf(admin.fetchTopicMetadata({ topics: [""] })),
    };
    const isAggregate = library.KafkaJSAggregateError.prototype instanceof Error;
    return {
      created,
      again,
      validated,
      mixed,
      wrong,
      listed,
      metadata,
      more,
      fewer,
      nowhere,
      absent,
      deleted,
      gone,
      refused,
      isAggregate,
    };
  });

const offsetsOfTopics: Program = async (_library, context) => {
  const kafka = context.kafka();
  const topic = context.name("offsets");
  await createTopics(kafka, { [topic]: 2 });
  const producer = kafka.producer();
  await producer.connect();
  await producer.send({ topic, messages: numbered(6, 2).map((each) => ({ ...each, timestamp: "1700000000000" })) });
  await producer.send({ topic, messages: numbered(2, 2).map((each) => ({ ...each, timestamp: "1700000005000" })) });
  await producer.disconnect();
  return await withAdmin(context, async (admin) => {
    const ends = await admin.fetchTopicOffsets(topic);
    const before = await admin.fetchTopicOffsetsByTimestamp(topic, 1_700_000_001_000);
    const later = await admin.fetchTopicOffsetsByTimestamp(topic, 1_800_000_000_000);
    await admin.deleteTopicRecords({
      topic,
      partitions: [
        { partition: 0, offset: "2" },
        { partition: 1, offset: "-1" },
      ],
    });
    const cut = await admin.fetchTopicOffsets(topic);
    const beyond = await errorOf(admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: "99" }] }));
    const noPartition = await errorOf(admin.deleteTopicRecords({ topic, partitions: [{ partition: 7, offset: "1" }] }));
    const noTopic = await errorOf(admin.fetchTopicOffsets(""));
    const sorted = [ends, before, later, cut].map((of) => [...of].sort((a, b) => a.partition - b.partition));
    return { sorted, beyond, noPartition, noTopic };
  });
};

const groups: Program = async (library, context) => {
  const kafka = context.kafka();
  const topic = context.name("grouped");
  const groupId = context.name("group");
  await createTopics(kafka, { [topic]: 2 });
  const producer = kafka.producer();
  await producer.connect();
  await producer.send({ topic, messages: numbered(6, 2) });
  await producer.disconnect();
  const consumer = kafka.consumer({ groupId, maxWaitTimeInMs: 100 });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const seen = new Collected<null>();
  await consumer.run({ eachMessage: async () => seen.push(null) });
  await seen.count(6);
  return await withAdmin(context, async (admin) => {
    const { groups: running } = await admin.describeGroups([groupId]);
    const members = running.flatMap((group) =>
      group.members.map(({ clientId, memberAssignment, memberMetadata }) => ({
        clientId,
        assignment: library.AssignerProtocol.MemberAssignment.decode(memberAssignment)?.assignment,
        topics: library.AssignerProtocol.MemberMetadata.decode(memberMetadata)?.topics,
      })),
    );
    const described = running.map(({ groupId: id, state, protocol, protocolType }) => ({
      id,
      state,
      protocol,
      protocolType,
    }));
    const whileRunning = {
      set: await errorOf(admin.setOffsets({ groupId, topic, partitions: [{ partition: 0, offset: "1" }] })),
      deleted: await deletion(admin, [groupId]),
    };
    await consumer.disconnect();
    const byPartition = async () =>
      (await admin.fetchOffsets({ groupId, topics: [topic] })).map((each) => ({
        ...each,
        partitions: [...each.partitions].sort((a, b) => a.partition - b.partition),
      }));
    const committed = await byPartition();
    const all = (await admin.fetchOffsets({ groupId })).map(({ topic: name, partitions }) => [name, partitions.length]);
    await admin.setOffsets({ groupId, topic, partitions: [{ partition: 0, offset: "1" }] });
    const set = await byPartition();
    const listed = (await admin.listGroups()).groups.filter((group) => group.groupId === groupId);
    const nobody = await admin.fetchOffsets({ groupId: context.name("nobody"), topics: [topic] });
    const dead = (await admin.describeGroups([context.name("nobody")])).groups.map(({ state, members: of }) => [
      state,
      of,
    ]);
    const removed = await admin.deleteGroups([groupId]);
    const gone = await deletion(admin, [groupId]);
    const refused = {
      noGroup: await errorOf(admin.fetchOffsets({ groupId: "" })),
      noTopic: await errorOf(admin.resetOffsets({ groupId, topic: "", earliest: true })),
      noPartitions: await errorOf(admin.setOffsets({ groupId, topic, partitions: [] })),
      noArray: await errorOf(admin.deleteGroups("x" as never)),
    };
    const sortedNobody = nobody.map(({ partitions }) => [...partitions].sort((a, b) => a.partition - b.partition));
    return {
      members,
      described,
      whileRunning,
      committed,
      all,
      set,
      listed,
      sortedNobody,
      dead,
      removed,
      gone,
      refused,
    };
  });
};

async function deletion(admin: Admin, groupIds: string[]): Promise<unknown> {
  try {
    return await admin.deleteGroups(groupIds);
  } catch (error) {
    const { name, groups: of = [] } = error as Error & { readonly groups?: readonly Record<string, unknown>[] };
    const told = of.map(({ groupId, errorCode, error: each }) => {
      const { type, code } = each as Record<string, unknown>;
      return { groupId, errorCode, type, code };
    });
    return { name, told };
  }
}

const configs: Program = async (library, context) => {
  const { ConfigResourceTypes, ConfigSource } = library;
  const topic = context.name("configured");
  await createTopics(context.kafka(), { [topic]: 1 });
  return await withAdmin(context, async (admin) => {
    const describe = async () => {
      const { resources } = await admin.describeConfigs({
        includeSynonyms: false,
        resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configNames: ["retention.ms", "cleanup.policy"] }],
      });
      return resources.map(({ configEntries, ...about }) => ({
        ...about,
        errorMessage: about.errorMessage ?? "",
        configEntries: [...configEntries].sort((a, b) => a.configName.localeCompare(b.configName)),
      }));
    };
    const before = await describe();
    const validated = await admin.alterConfigs({
      validateOnly: true,
      resources: [
        { type: ConfigResourceTypes.TOPIC, name: topic, configEntries: [{ name: "retention.ms", value: "1000" }] },
      ],
    });
    const untouched = await describe();
    await admin.alterConfigs({
      validateOnly: false,
      resources: [
        { type: ConfigResourceTypes.TOPIC, name: topic, configEntries: [{ name: "retention.ms", value: "86400000" }] },
      ],
    });
    const changed = await describe();
    const wrong = await errorOf(
      admin.alterConfigs({
        validateOnly: false,
        resources: [
          { type: ConfigResourceTypes.TOPIC, name: topic, configEntries: [{ name: "retention.ms", value: "x" }] },
        ],
      }),
    );
    const { brokers } = await admin.describeCluster();
    const ofBroker = await admin.describeConfigs({
      includeSynonyms: true,
      resources: [{ type: ConfigResourceTypes.BROKER, name: `${brokers[0]?.nodeId}`, configNames: ["num.partitions"] }],
    });
    const shapes = ofBroker.resources.map(({ configEntries }) =>
      configEntries.map(({ configSynonyms, ...entry }) => [entry, Array.isArray(configSynonyms)]),
    );
    const refused = {
      empty: await errorOf(admin.describeConfigs({ includeSynonyms: false, resources: [] })),
      type: await errorOf(
        admin.describeConfigs({ includeSynonyms: false, resources: [{ type: 99 as never, name: "x" }] }),
      ),
      name: await errorOf(
        admin.describeConfigs({ includeSynonyms: false, resources: [{ type: ConfigResourceTypes.TOPIC, name: "" }] }),
      ),
      absent: await errorOf(
        admin.describeConfigs({
          includeSynonyms: false,
          resources: [{ type: ConfigResourceTypes.TOPIC, name: context.name("absent") }],
        }),
      ),
    };
    return {
      before,
      validated: validated.resources,
      untouched,
      changed,
      wrong,
      shapes,
      refused,
      sources: ConfigSource,
    };
  });
};

const theCluster: Program = async (_library, context) =>
  withAdmin(context, async (admin) => {
    const { brokers, controller, clusterId } = await admin.describeCluster();
    return { brokers, controller, clusterId, everything: (await admin.fetchTopicMetadata()).topics.length > 0 };
  });

const reassignments: Program = async (_library, context) => {
  const topic = context.name("moved");
  await createTopics(context.kafka(), { [topic]: 2 });
  return await withAdmin(context, async (admin) => {
    const { brokers } = await admin.describeCluster();
    const replicas = brokers.map(({ nodeId }) => nodeId).slice(0, 1);
    const moved = await errorOf(
      admin.alterPartitionReassignments({ topics: [{ topic, partitionAssignment: [{ partition: 0, replicas }] }] }),
    );
    const wrong = await errorsOf(
      admin.alterPartitionReassignments({
        topics: [{ topic, partitionAssignment: [{ partition: 0, replicas: [99] }] }],
      }),
    );
    const ongoing = await errorOf(admin.listPartitionReassignments({ topics: [{ topic, partitions: [0, 1] }] }));
    const refused = {
      topics: await errorOf(admin.alterPartitionReassignments({ topics: "x" as never })),
      replicas: await errorOf(
        admin.alterPartitionReassignments({
          topics: [{ topic, partitionAssignment: [{ partition: 0, replicas: [-1] }] }],
        }),
      ),
    };
    return { moved, wrong, ongoing, refused };
  });
};

const accessControl: Program = async (library, context) => {
  const { AclResourceTypes, AclOperationTypes, AclPermissionTypes, ResourcePatternTypes } = library;
  return await withAdmin(context, async (admin) => {
    const resource = {
      resourceType: AclResourceTypes.TOPIC,
      resourceName: context.name("guarded"),
      resourcePatternType: ResourcePatternTypes.LITERAL,
    };
    const acl = {
      ...resource,
      principal: "User:alice",
      host: "*",
      operation: AclOperationTypes.READ,
      permissionType: AclPermissionTypes.ALLOW,
    };
    const any = { ...resource, operation: AclOperationTypes.ANY, permissionType: AclPermissionTypes.ANY };
    const created = await errorOf(admin.createAcls({ acl: [acl] }));
    const described = await errorOf(admin.describeAcls(any).then(({ resources }) => resources));
    const deleted = await errorOf(
      admin.deleteAcls({ filters: [any] }).then(({ filterResponses }) =>
        filterResponses.map(({ errorCode, matchingAcls }) => ({
          errorCode,
          matching: matchingAcls.map(({ principal, host, operation, permissionType, resourceName }) => ({
            principal,
            host,
            operation,
            permissionType,
            resourceName,
          })),
        })),
      ),
    );
    const after = await errorOf(admin.describeAcls(any).then(({ resources }) => resources));
    const refused = {
      empty: await errorOf(admin.createAcls({ acl: [] })),
      principal: await errorOf(admin.createAcls({ acl: [{ ...acl, principal: 1 as never }] })),
      operation: await errorOf(admin.describeAcls({ ...any, operation: 99 as never })),
      filters: await errorOf(admin.deleteAcls({ filters: [] })),
    };
    return { created, described, deleted, after, refused };
  });
};

export const administering: Readonly<Record<string, Program>> = {
  "admin: topics": topics,
  "admin: offsets of topics": offsetsOfTopics,
  "admin: groups": groups,
  "admin: configs": configs,
  "admin: the cluster": theCluster,
  "admin: reassignments": reassignments,
  "admin: access control": accessControl,
};
