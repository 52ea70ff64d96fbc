import type { Result } from "@millrace/base/result";
import type { Partition } from "../partitions/partition.ts";
import type { TransactionCoordinator, TransactionRequestFailure } from "./coordinator.ts";
import type { Producer } from "./commands.ts";
import type { TransactionSupport } from "./failures.ts";
import type { RemoteCoordinator } from "./remote-coordinator.ts";
import type { TopicPartitions } from "./transaction.ts";

export interface AdmissionRequest extends Producer {
  readonly transactionalId: string;
  readonly support: TransactionSupport;
  /** Where the producer is about to write; at least one. */
  readonly partitions: readonly Partition[];
}

/** Of each partition: null, it may be written to; otherwise why not. */
export type Admission = (partition: Partition) => TransactionRequestFailure | null;

/**
 * May a producer write to these partitions in its transaction? Since KIP-890 nothing is written on its word alone: a producer that names
 * its partitions beforehand is checked, and for one that does not the partitions are added here. So each of them gets a marker.
 *
 * `state`: the partition of __transaction_state that holds the transactional id, or null where it is not here.
 */
export async function admit(
  coordinator: TransactionCoordinator,
  request: AdmissionRequest,
  state: Partition | null,
): Promise<Admission> {
  const { transactionalId, producerId, producerEpoch, support, partitions } = request;
  const topics = byTopic(partitions);
  const producer = { transactionalId, producerId, producerEpoch, topics };
  if (support !== "implicit") {
    const verified = await coordinator.verify(producer);
    if (!verified.ok) return () => verified.failure;
    return ({ topic, index }) => (verified.value(topic, index) ? null : "abortable");
  }
  // Then one sync does for what names the partitions and for the records.
  const isTogether = state !== null && partitions.every((each) => each.isDurableWith(state));
  const added: Result<void, TransactionRequestFailure> = await coordinator.add({
    ...producer,
    clientVersion: 2,
    when: isTogether ? "now" : "committed",
  });
  if (added.ok && isTogether) for (const each of partitions) each.commitAfter(state, producerId);
  return () => (added.ok ? null : added.failure);
}

/** The same question to a coordinator on another broker, with the same answers. */
export async function admitElsewhere(
  coordinator: Pick<RemoteCoordinator, "ask">,
  { transactionalId, producerId, producerEpoch, support, partitions }: AdmissionRequest,
): Promise<Admission> {
  const topics = byTopic(partitions);
  const isVerifyOnly = support !== "implicit";
  const answer = await coordinator.ask({ transactionalId, producerId, producerEpoch, topics, isVerifyOnly });
  return ({ topic, index }) => (answer.ok ? answer.value(topic, index) : answer.failure);
}

function byTopic(partitions: readonly Partition[]): readonly TopicPartitions[] {
  const topics = new Map<string, number[]>();
  for (const { topic, index } of partitions) {
    const indexes = topics.get(topic);
    if (indexes === undefined) topics.set(topic, [index]);
    else indexes.push(index);
  }
  return Array.from(topics, ([topic, indexes]) => ({ topic, partitions: indexes }));
}
