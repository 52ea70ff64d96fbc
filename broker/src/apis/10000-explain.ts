/**
 * Explain v0: why a group, a producer, a transaction or a partition is as it is, in sentences. Millrace's own
 * (docs/decisions/0017). It gathers the facts of this broker; what they mean is said in `broker/src/explain`.
 */
import { explain } from "kafka-protocol-ts/messages/10000-explain";
import type { ExplainResponseInput } from "kafka-protocol-ts/messages/10000-explain";
import { errorMessage, ErrorCode } from "kafka-protocol-ts/errors";
import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import { countText, encodeExplanation } from "../explain/explanation.ts";
import type { ExplainedKind, Explanation } from "../explain/explanation.ts";
import { explainGroup } from "../explain/group.ts";
import type { ReadLog } from "../explain/group.ts";
import { explainOffline, explainPartition } from "../explain/partition.ts";
import type { Coordination, OpenHere } from "../explain/partition.ts";
import { explainProducer } from "../explain/producer.ts";
import type { RememberedProducer } from "../explain/producer.ts";
import { explainTransaction } from "../explain/transaction.ts";
import { codeOfCoordinatorFailure } from "../groups/failures.ts";
import type { GroupSnapshot, PartitionName } from "../groups/snapshot.ts";
import type { Partition } from "../partitions/partition.ts";
import type { Services } from "../services.ts";
import { offsetsTopic } from "../groups-host.ts";
import { transactionsTopic } from "../transactions-host.ts";
import { codeOfTransactionRequestFailure } from "../transactions/failures.ts";
import { hasPartition } from "../transactions/transaction.ts";
import type { Transaction } from "../transactions/transaction.ts";
import { handler } from "./handler.ts";
import type { Handler, RequestContext } from "./handler.ts";

type Explained = Promise<Result<Explanation, ErrorCode>>;
/** host:port under which the client reaches the broker. */
type Explain = (services: Services, name: string, bootstrap: string) => Explained;

const explainers: Readonly<Record<ExplainedKind, Explain>> = {
  group: explainGroupNamed,
  producer: explainProducerNamed,
  transaction: explainTransactionNamed,
  partition: explainPartitionNamed,
};

export const explainHandler: Handler = handler(
  explain,
  async (services, { kind, name }, context): Promise<ExplainResponseInput> => {
    const explained = isKind(kind)
      ? await explainers[kind](services, name, bootstrapOf(services, context))
      : failed(ErrorCode.INVALID_REQUEST, `"${kind}" cannot be explained: ${Object.keys(explainers).join(", ")} can`);
    if (explained.ok)
      return { throttleTimeMs: 0, errorCode: ErrorCode.NONE, explanation: encodeExplanation(explained.value) };
    const message = explained.message ?? errorMessage(explained.failure);
    return { throttleTimeMs: 0, errorCode: explained.failure, errorMessage: message, explanation: "" };
  },
);

function isKind(kind: string): kind is ExplainedKind {
  return Object.hasOwn(explainers, kind);
}

function bootstrapOf({ identity }: Services, { connection }: RequestContext): string {
  const address = identity.advertised.get(connection.listenerName);
  return address === undefined ? "HOST:PORT" : `${address.host}:${address.port}`;
}

// --- Partitions ----------------------------------------------------------------------------------------------------------

async function explainPartitionNamed(services: Services, name: string, bootstrap: string): Explained {
  // Topic names may hold dashes.
  const [, topic, digits] = /^(.+)-(\d{1,10})$/.exec(name) ?? [];
  if (topic === undefined || digits === undefined)
    return failed(ErrorCode.INVALID_REQUEST, `"${name}" is not a partition: write its topic, a dash and its number`);
  const index = Number(digits);
  const found = services.partitions.leading(topic, index);
  if (!found.ok) {
    const { failure, message } = found;
    if (failure !== ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
      return ok(explainOffline({ topic, index, failure: message ?? errorMessage(failure) }));
    const count = services.metadata.image.topic(topic)?.partitions.length;
    const why =
      count === undefined
        ? `there is no topic ${topic}`
        : `topic ${topic} has ${countText(count, "partition")}, numbered from 0`;
    return failed(failure, why);
  }
  const partition = found.value;
  const open = await openIn(services, partition);
  const { log } = partition;
  return ok(
    explainPartition({
      ...{ topic, index, bootstrap, open },
      nowMs: services.clock.now(),
      leaderEpoch: partition.leaderEpoch,
      logStartOffset: partition.logStartOffset,
      lastStableOffset: partition.lastStableOffset,
      highWatermark: partition.highWatermark,
      logEndOffset: log.logEndOffset,
      durability: log.config["millrace.durability"],
      isDiskFull: log.isDiskFull,
      damaged: log.quarantined.map(({ firstOffset, nextOffset }) => ({ firstOffset, lastOffset: nextOffset - 1 })),
    }),
  );
}

/**
 * The transactions that are open in a partition, in the order of their first offsets. The log is read before the coordinator is
 * asked and after: what ended meanwhile is not taken for one that nobody knows.
 */
async function openIn(services: Services, partition: Partition): Promise<readonly OpenHere[]> {
  const producersBefore = openProducers(partition);
  if (producersBefore.length === 0) return [];
  const coordinations = await coordinationsOf(
    services,
    partition,
    producersBefore.map(({ producerId }) => producerId),
  );
  const before = new Map(producersBefore.map(({ producerId, firstOffset }) => [producerId, firstOffset]));
  return openProducers(partition)
    .filter(({ producerId, firstOffset }) => before.get(producerId) === firstOffset)
    .map((open) => ({ ...open, coordination: coordinations(open.producerId) }));
}

function openProducers({ log }: Partition): readonly Omit<OpenHere, "coordination">[] {
  const open = Array.from(log.producers(), ({ producerId, epoch, currentTxnFirstOffset, lastTimestamp }) => ({
    ...{ producerId, producerEpoch: epoch, lastTimestamp },
    firstOffset: currentTxnFirstOffset,
  }));
  return open.filter(({ firstOffset }) => firstOffset !== -1).toSorted((a, b) => a.firstOffset - b.firstOffset);
}

async function coordinationsOf(
  services: Services,
  { topic, index }: PartitionName,
  producerIds: readonly number[],
): Promise<(producerId: number) => Coordination> {
  const found = await transactionsOf(services, producerIds);
  return (producerId) => {
    if (!found.ok) return { kind: "not-asked" };
    const transaction = found.value.get(producerId);
    if (transaction === undefined) return { kind: services.transactions.isEveryIdHere ? "nobody" : "not-asked" };
    return { kind: "known", transaction, hasPartition: hasPartition(transaction, topic, index) };
  };
}

/** The transactions of these producer ids. */
async function transactionsOf(
  { transactions: { coordinator } }: Services,
  producerIds: readonly number[],
): Promise<Result<ReadonlyMap<number, Transaction>, ErrorCode>> {
  if (producerIds.length === 0) return ok(new Map());
  const listed = await coordinator.list({
    ...{ states: new Set(), producerIds: new Set(producerIds), openForMs: null, pattern: null },
  });
  if (!listed.ok) return failed(codeOfTransactionRequestFailure[listed.failure]);
  const found = new Map<number, Transaction>();
  for (const { transactionalId } of listed.value) {
    const described = await coordinator.describe(transactionalId);
    if (!described.ok) return failed(codeOfTransactionRequestFailure[described.failure]);
    if (described.value !== null) found.set(described.value.producerId, described.value);
  }
  return ok(found);
}

// --- Transactions and producers ---------------------------------------------------------------------------------------------

/** Null: nobody has begun with it, or with any. */
async function describe(
  { metadata, transactions }: Services,
  transactionalId: string,
): Promise<Result<Transaction | null, ErrorCode>> {
  if (metadata.image.topic(transactionsTopic) === undefined) return ok(null);
  const described = await transactions.coordinator.describe(transactionalId);
  return described.ok ? described : failed(codeOfTransactionRequestFailure[described.failure]);
}

async function explainTransactionNamed(services: Services, name: string): Explained {
  const { coordinator } = services.transactions;
  const described = await describe(services, name);
  if (!described.ok) return described;
  const transaction = described.value;
  if (transaction === null)
    return failed(ErrorCode.TRANSACTIONAL_ID_NOT_FOUND, `no producer has begun with the transactional id ${name}`);
  return ok(
    explainTransaction({
      transaction,
      nowMs: services.clock.now(),
      pending: coordinator.pendingMarkers(name),
      events: coordinator.recentEvents(name),
      refusals: services.producerRefusals.filter(({ producerId }) => producerId === transaction.producerId),
    }),
  );
}

async function explainProducerNamed(services: Services, name: string, bootstrap: string): Explained {
  const isNumber = /^\d{1,15}$/.test(name);
  if (isNumber) {
    const explained = await explainProducerId(services, { name, producerId: Number(name), bootstrap });
    if (explained.ok || explained.failure !== ErrorCode.UNKNOWN_PRODUCER_ID) return explained;
  }
  const described = await describe(services, name);
  if (!described.ok) return described;
  if (described.value !== null)
    return explainProducerId(services, { name, producerId: described.value.producerId, bootstrap });
  return isNumber
    ? failed(ErrorCode.UNKNOWN_PRODUCER_ID, `no partition remembers producer ${name}, and no transactional id has it`)
    : failed(ErrorCode.TRANSACTIONAL_ID_NOT_FOUND, `${name} is neither a producer id nor a transactional id`);
}

async function explainProducerId(
  services: Services,
  { name, producerId, bootstrap }: { readonly name: string; readonly producerId: number; readonly bootstrap: string },
): Explained {
  const found = await transactionsOf(services, [producerId]);
  if (!found.ok) return found;
  const refusals = services.producerRefusals.filter((refusal) => refusal.producerId === producerId);
  const transaction = found.value.get(producerId) ?? null;
  const partitions: RememberedProducer[] = [];
  for (const partition of services.partitions.all()) {
    const producer = partition.log.producer(producerId);
    if (producer === null) continue;
    const open = (await openIn(services, partition)).find((each) => each.producerId === producerId) ?? null;
    const { topic, index } = partition;
    const { epoch, lastSequence, lastTimestamp } = producer;
    partitions.push({ topic, index, producerEpoch: epoch, lastSequence, lastTimestamp, open });
  }
  if (transaction === null && partitions.length === 0 && refusals.length === 0)
    return failed(ErrorCode.UNKNOWN_PRODUCER_ID);
  const nowMs = services.clock.now();
  return ok(explainProducer({ name, producerId, nowMs, bootstrap, transaction, partitions, refusals }));
}

// --- Groups ------------------------------------------------------------------------------------------------------------------

async function explainGroupNamed(services: Services, name: string, bootstrap: string): Explained {
  if (name === "") return failed(ErrorCode.INVALID_GROUP_ID);
  const missing = failed(ErrorCode.GROUP_ID_NOT_FOUND, `there is no group ${name}`);
  if (services.metadata.image.topic(offsetsTopic) === undefined) return missing;
  const asked = await services.groups.snapshot(name);
  if (!asked.ok) return failed(codeOfCoordinatorFailure[asked.failure]);
  const snapshot = asked.value;
  if (snapshot === null) return missing;
  const logs = await logsOf(services, snapshot);
  const producerIds = snapshot.offsets.flatMap(({ pendingProducerIds }) => pendingProducerIds);
  const transactions = await transactionsOf(services, [...new Set(producerIds)]);
  return ok(
    explainGroup({
      snapshot,
      bootstrap,
      nowMs: services.clock.now(),
      logOf: (partition) => logs.get(keyOf(partition)) ?? "it was not looked at",
      transactionalIdOf: (producerId) =>
        transactions.ok ? (transactions.value.get(producerId)?.transactionalId ?? null) : null,
      events: services.groups.recentEvents(name),
    }),
  );
}

async function logsOf(services: Services, snapshot: GroupSnapshot): Promise<ReadonlyMap<string, ReadLog>> {
  const logs = new Map<string, ReadLog>();
  for (const place of [...snapshot.offsets, ...snapshot.members.flatMap(({ partitions }) => partitions)]) {
    if (logs.has(keyOf(place))) continue;
    const found = services.partitions.leading(place.topic, place.index);
    if (!found.ok) {
      logs.set(keyOf(place), whyNotRead(found.failure, found.message));
      continue;
    }
    const partition = found.value;
    const isHeld = partition.lastStableOffset < partition.highWatermark;
    const open = isHeld ? await openIn(services, partition) : [];
    const { logStartOffset, lastStableOffset, highWatermark, log } = partition;
    logs.set(keyOf(place), { logStartOffset, lastStableOffset, highWatermark, logEndOffset: log.logEndOffset, open });
  }
  return logs;
}

function whyNotRead(failure: ErrorCode, message: string | undefined): string {
  return failure === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    ? "there is no such partition any more; its offset can be deleted with kafka-consumer-groups.sh --delete-offsets"
    : `it is offline: ${message ?? errorMessage(failure)}`;
}

function keyOf({ topic, index }: PartitionName): string {
  return `${topic}-${index}`;
}
