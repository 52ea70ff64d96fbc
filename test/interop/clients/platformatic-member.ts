import { inspect } from "node:util";
import { Consumer } from "@platformatic/kafka";
import type { GroupAssignment, Message, MessagesStream } from "@platformatic/kafka";
import { runMembers, type MemberLog } from "./members.ts";

const batchCountMax = 20;

/** A commit that came too late: the group is being rebalanced, and the records come again. */
const lostOwnership = /REBALANCE_IN_PROGRESS|ILLEGAL_GENERATION|UNKNOWN_MEMBER_ID/;

await runMembers(async ({ bootstrap, topic, group, mode, name }, log) => {
  const consumer = new Consumer({
    clientId: name,
    bootstrapBrokers: [bootstrap],
    groupId: group,
    retries: 30,
    retryDelay: 300,
    autocommit: false,
    maxWaitTime: 200,
    sessionTimeout: 6_000,
    heartbeatInterval: 500,
    ...(mode === "cooperative" ? { protocols: [{ name: "cooperative-sticky", version: 1 }] } : {}),
  });
  const assigned = (assignments: readonly GroupAssignment[] | null): readonly number[] =>
    assignments?.find((assignment) => assignment.topic === topic)?.partitions ?? [];
  let rebalance = Promise.withResolvers<void>();
  consumer.on("consumer:group:join", ({ assignments = [] }) => {
    log.assignedNow(assigned(assignments));
    rebalance.resolve();
  });
  // Told when a rebalance begins, and between the two rounds of a cooperative one.
  consumer.on("consumer:group:rebalance", () => {
    log.keptNow(mode === "cooperative" ? assigned(consumer.assignments) : []);
    rebalance.resolve();
    rebalance = Promise.withResolvers<void>();
  });
  const stream = await consumer.consume({ topics: [topic], mode: "committed", fallbackMode: "earliest" });
  const reading = read(stream, consumer, log, async () => await rebalance.promise);
  return async () => {
    await stream.close();
    await reading;
    await consumer.close();
  };
});

async function read(
  stream: MessagesStream<Buffer, Buffer, Buffer, Buffer>,
  consumer: Consumer,
  log: MemberLog,
  rebalanced: () => Promise<void>,
): Promise<void> {
  let batch: Message[] = [];
  for await (const message of stream) {
    batch.push(message);
    if (batch.length < batchCountMax && stream.readableLength > 0) continue;
    // The stream goes on in a rebalance, and goes on behind it where the partition stays.
    await rebalanced();
    await process(batch, consumer, log);
    batch = [];
  }
}

async function process(batch: readonly Message[], consumer: Consumer, log: MemberLog): Promise<void> {
  const offsets: Record<string, number> = {};
  const commits = [];
  // What it had fetched of partitions that are now another's comes all the same.
  const owned = batch.filter(({ partition }) => log.owns(partition));
  for (const [partition, messages] of Map.groupBy(owned, (message) => message.partition)) {
    const [first, last] = [messages[0], messages.at(-1)];
    if (first === undefined || last === undefined) continue;
    const to = Number(last.offset) + 1;
    log.tell({ event: "records", partition, from: Number(first.offset), to });
    offsets[partition] = to;
    commits.push({ topic: last.topic, partition, offset: BigInt(to), leaderEpoch: last.leaderEpoch });
  }
  if (commits.length === 0) return;
  log.tell({ event: "committing", offsets });
  try {
    await consumer.commit({ offsets: commits });
    log.tell({ event: "committed", offsets });
  } catch (error) {
    if (!lostOwnership.test(inspect(error))) throw error;
    log.tell({ event: "uncommitted" });
  }
}
