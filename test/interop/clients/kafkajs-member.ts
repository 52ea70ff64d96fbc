import kafkajs from "kafkajs";
import { runMembers } from "./members.ts";

/** A commit that came too late: the group is being rebalanced, and the records come again. */
const lostOwnership = new Set(["REBALANCE_IN_PROGRESS", "ILLEGAL_GENERATION", "UNKNOWN_MEMBER_ID"]);

await runMembers(async ({ bootstrap, topic, group, name }, log) => {
  const client = new kafkajs.Kafka({ clientId: name, brokers: [bootstrap], logLevel: kafkajs.logLevel.WARN });
  const consumer = client.consumer({
    groupId: group,
    sessionTimeout: 6_000,
    heartbeatInterval: 500,
    maxWaitTimeInMs: 200,
  });
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => log.assignedNow(payload.memberAssignment[topic] ?? []));
  consumer.on(consumer.events.REBALANCING, () => log.keptNow([]));
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    eachBatchAutoResolve: true,
    eachBatch: async ({ batch, heartbeat }) => {
      const { partition } = batch;
      const to = Number(batch.lastOffset()) + 1;
      log.tell({ event: "records", partition, from: Number(batch.firstOffset()), to });
      log.tell({ event: "committing", offsets: { [partition]: to } });
      try {
        await consumer.commitOffsets([{ topic, partition, offset: `${to}` }]);
        log.tell({ event: "committed", offsets: { [partition]: to } });
      } catch (error) {
        if (!lostOwnership.has((error as { readonly type?: string }).type ?? "")) throw error;
        log.tell({ event: "uncommitted" });
      }
      await heartbeat();
    },
  });
  return async () => await consumer.disconnect();
});
