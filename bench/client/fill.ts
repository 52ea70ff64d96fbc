import { ErrorCode, errorName } from "kafka-protocol-ts/errors";
import { produce } from "kafka-protocol-ts/messages/00-produce";
import { installNodeAccelerators } from "kafka-protocol-ts/node";
import { encodeBatch } from "kafka-protocol-ts/records/record";
import type { RecordInput } from "kafka-protocol-ts/records/record";
import { Link } from "../coordinators/link.ts";
import { firstTimestamp, headerEach, keyBytes } from "./plan.ts";
import { checksumOf, RecordPool } from "./samples.ts";

/** With topic names: nothing needs to be asked first. */
const produceVersion = 12;
const inFlightMax = 20;
/** Of a record beside its key and value. */
const recordOverheadBytes = 10;
const header = { key: "trace", value: Buffer.from("0123456789abcdef") } as const;

export interface Filling {
  readonly port: number;
  readonly topic: string;
  readonly partitions: number;
  readonly records: number;
  readonly recordBytes: number;
  readonly batchBytes: number;
}

/** Writes records into a topic, batch by batch to the partitions in turn. Gives the checksum that each reader must come to. */
export async function fillTopic({
  port,
  topic,
  partitions,
  records,
  recordBytes,
  batchBytes,
}: Filling): Promise<number> {
  installNodeAccelerators();
  const link = await Link.open(port);
  const pool = new RecordPool(recordBytes);
  const perBatch = Math.max(1, Math.floor(batchBytes / (recordBytes + keyBytes + recordOverheadBytes)));
  const nextOffsets = Array.from({ length: partitions }, () => 0);
  const waiting: Promise<void>[] = [];
  let checksum = 0;
  for (let number = 0, turn = 0; number < records; turn++) {
    const index = turn % partitions;
    const batch: RecordInput[] = [];
    for (; batch.length < perBatch && number < records; number++) {
      const headers = number % headerEach === 0 ? [header] : [];
      const [key, value] = [pool.key(), pool.value()];
      batch.push({ key, value, headers, timestamp: firstTimestamp + number });
      const offset = nextOffsets[index]!++;
      checksum += checksumOf(key, value, offset, firstTimestamp + number, headers.length);
    }
    const partitionData = [{ index, records: encodeBatch({ records: batch }) }];
    waiting.push(write(link, topic, partitionData));
    if (waiting.length >= inFlightMax) await waiting.shift();
  }
  await Promise.all(waiting);
  link.close();
  return checksum;
}

async function write(
  link: Link,
  topic: string,
  partitionData: readonly { readonly index: number; readonly records: Buffer }[],
): Promise<void> {
  const request = { acks: -1, timeoutMs: 30_000, topicData: [{ name: topic, partitionData }] };
  const { responses } = await link.call(produce, produceVersion, request);
  const code = responses[0]?.partitionResponses[0]?.errorCode ?? ErrorCode.UNKNOWN_SERVER_ERROR;
  if (code !== ErrorCode.NONE) throw new Error(`filling ${topic}: ${errorName(code)}`);
}
