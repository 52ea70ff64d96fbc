import { readEndTransactionMarker } from "kafka-protocol-ts/records/control";
import { readRecords } from "kafka-protocol-ts/records/record";
import { internalTopics } from "./test-cluster.ts";
import type { TestCluster } from "./test-cluster.ts";
import type { Outcome } from "@millrace/broker/transactions/transaction";

/** What a producer wrote in one transaction: each record's value is the transaction's name. */
export interface Told {
  readonly outcome: Outcome;
  /** "orders-0" */
  readonly places: readonly string[];
}

/** What is wrong in the logs, in words; nothing, where every transaction ended everywhere as its producer was told, and once. */
export async function findingsOf(cluster: TestCluster, told: ReadonlyMap<string, Told>): Promise<readonly string[]> {
  const findings: string[] = cluster.fatal.map(String);
  const ended = new Map<string, Map<string, Outcome>>();
  for (const { name: topic, partitions } of cluster.topics()) {
    if (topic === internalTopics.transactionsTopic) continue;
    for (const { index } of partitions) {
      const place = `${topic}-${index}`;
      const inPlace = new Map<string, Outcome>();
      ended.set(place, inPlace);
      findings.push(...(await findingsIn(cluster, topic, index, inPlace)));
    }
  }
  for (const [name, { outcome, places }] of told) {
    for (const place of places) {
      const seen = ended.get(place)?.get(name);
      if (seen !== outcome) findings.push(`${name} was told ${outcome}, and ${place} has ${seen ?? "nothing of it"}`);
    }
  }
  return findings;
}

async function findingsIn(
  cluster: TestCluster,
  topic: string,
  index: number,
  ended: Map<string, Outcome>,
): Promise<readonly string[]> {
  const place = `${topic}-${index}`;
  const findings: string[] = [];
  /** By producer: the transaction that is open. */
  const open = new Map<number, string>();
  /** By producer: the one that ended last. */
  const last = new Map<number, { readonly name: string; readonly epoch: number; readonly outcome: Outcome }>();
  for (const batch of await cluster.batches(topic, index)) {
    const { producerId, producerEpoch } = batch;
    if (!batch.isTransactional) continue;
    if (!batch.isControl) {
      for (const { value, key } of readRecords(batch)) {
        const name = topic === internalTopics.offsetsTopic ? nameOfOffset(key, value) : String(value);
        const before = open.get(producerId);
        if (before !== undefined && before !== name) findings.push(`${place}: ${name} is written into ${before}`);
        if (ended.has(name)) findings.push(`${place}: ${name} goes on after its end`);
        open.set(producerId, name);
      }
      continue;
    }
    for (const record of readRecords(batch)) {
      const isCommit = readEndTransactionMarker(record)?.isCommit ?? false;
      const outcome: Outcome = isCommit ? "commit" : "abort";
      const name = open.get(producerId);
      if (name === undefined) {
        const before = last.get(producerId);
        // Written once more, it has to say the same.
        if (before !== undefined && before.epoch === producerEpoch && before.outcome !== outcome)
          findings.push(`${place}: ${before.name} ends in ${before.outcome} and in ${outcome}`);
        continue;
      }
      open.delete(producerId);
      ended.set(name, outcome);
      last.set(producerId, { name, epoch: producerEpoch, outcome });
    }
  }
  for (const [producerId, name] of open) findings.push(`${place}: ${name} of producer ${producerId} never ends`);
  return findings;
}

/** The tests commit the number of their transaction. */
function nameOfOffset(_key: Uint8Array | null, value: Uint8Array | null): string {
  if (value === null) return "a tombstone";
  // OffsetCommitValue: an int16 version, then the int64 offset.
  return `t${Buffer.from(value).readBigInt64BE(2)}`;
}
