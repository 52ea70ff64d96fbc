import { MiB } from "@millrace/base/units";
import { produceHandler } from "@millrace/broker/apis/00-produce";
import { fetchHandler } from "@millrace/broker/apis/01-fetch";
import { noAnswer } from "@millrace/broker/apis/handler";
import type { RequestContext, TwoPhases } from "@millrace/broker/apis/handler";
import type { Partition } from "@millrace/broker/partitions/partition";
import type { Services } from "@millrace/broker/services";
import type { SegmentSlice } from "@millrace/storage/log";
import type { Offset } from "@millrace/storage/types";
import { produce } from "kafka-protocol-ts/messages/00-produce";
import type { ProduceResponseInput } from "kafka-protocol-ts/messages/00-produce";
import { fetch } from "kafka-protocol-ts/messages/01-fetch";
import type { FetchRequestInput, FetchResponse } from "kafka-protocol-ts/messages/01-fetch";
import { ByteReader } from "kafka-protocol-ts/reader";
import { batchesIn } from "kafka-protocol-ts/records/batch";
import { encodeBatch } from "kafka-protocol-ts/records/record";
import { ByteWriter } from "kafka-protocol-ts/writer";
import { expect } from "vitest";
import type { HalfBroker, ReplicationWorld } from "./replication-world.ts";

export interface Produced {
  readonly errorCode: number;
  readonly baseOffset: number;
}

/** One batch through the handler; settled when it is answered. Records are the bytes of the batch, or values. */
export async function produceTo(
  { services }: HalfBroker,
  topic: string,
  records: Buffer | readonly string[],
  {
    acks = -1,
    index = 0,
    timeoutMs = 30_000,
  }: { readonly acks?: number; readonly index?: number; readonly timeoutMs?: number } = {},
): Promise<Produced> {
  const bytes = Buffer.isBuffer(records)
    ? records
    : encodeBatch({
        records: records.map((value) => ({ timestamp: services.clock.now(), value: Buffer.from(value) })),
      });
  const version = 12;
  const writer = new ByteWriter();
  const partitionData = [{ index, records: bytes }];
  produce.request.write(
    writer,
    { transactionalId: null, acks, timeoutMs, topicData: [{ name: topic, partitionData }] },
    version,
  );
  const received = produce.request.read(new ByteReader(writer.toBuffer()), version);
  const phases = produceHandler.handle(services, received, contextOf(version)) as TwoPhases<ProduceResponseInput>;
  const answer = await phases.answer;
  if (answer === noAnswer) return { errorCode: 0, baseOffset: -1 };
  const [told] = answer.responses[0]?.partitionResponses ?? [];
  return { errorCode: told?.errorCode ?? -1, baseOffset: told?.baseOffset ?? -1 };
}

function contextOf(version: number): RequestContext {
  return {
    version,
    correlationId: 1,
    clientId: "test",
    connection: { id: "1", clientHost: "127.0.0.1", listenerName: "PLAINTEXT", kind: "broker" },
  };
}

/** A fetch through both codecs, with the bytes of its slices. */
export async function callFetch(
  services: Services,
  request: FetchRequestInput,
  version: number,
): Promise<FetchResponse> {
  const requestWriter = new ByteWriter();
  fetch.request.write(requestWriter, request, version);
  const received = fetch.request.read(new ByteReader(requestWriter.toBuffer()), version);
  const response = (await fetchHandler.handle(services, received, contextOf(version))) as Parameters<
    typeof fetch.response.write
  >[1];
  const writer = new ByteWriter();
  fetch.response.write(writer, response, version);
  const parts: Buffer[] = [];
  for (const part of writer.finish()) {
    if (part instanceof Uint8Array) {
      parts.push(Buffer.from(part));
      continue;
    }
    const slice = part as SegmentSlice;
    const bytes = Buffer.alloc(slice.sizeBytes);
    await slice.file.read(bytes, slice.position);
    slice.release();
    parts.push(bytes);
  }
  return fetch.response.read(new ByteReader(Buffer.concat(parts)), version);
}

/** All bytes of a log from an offset up to another. */
export async function bytesOf(partition: Partition, from: number, upTo: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  let offset = from;
  while (offset < upTo) {
    const read = await partition.log.read(offset as Offset, {
      ...{ sizeBytesMax: MiB, upTo: upTo as Offset, isWholeBatchGuaranteed: true },
    });
    if (!read.ok) throw new Error(`${partition.topic}-${partition.index} at ${offset}: ${read.failure}`);
    const { slice } = read.value;
    if (slice === null) break;
    const bytes = Buffer.alloc(slice.sizeBytes);
    await slice.file.read(bytes, slice.position);
    offset = slice.nextOffset;
    slice.release();
    parts.push(bytes);
  }
  return Buffer.concat(parts);
}

// --- What tests expect -------------------------------------------------------------------------------------------------

/** The topic of most tests. */
export const topic = "orders";
const everyone: readonly number[] = [1, 2, 3];

export function ends(world: ReplicationWorld, ids: readonly number[] = everyone): readonly number[] {
  return ids.map((id) => world.broker(id).partition(topic).log.logEndOffset);
}

export function highWatermarks(world: ReplicationWorld, ids: readonly number[] = everyone): readonly number[] {
  return ids.map((id) => world.broker(id).partition(topic).highWatermark);
}

/** Every replica has the leader's bytes to the end, and has drawn the same conclusions from them. */
export async function expectSame(world: ReplicationWorld, ids: readonly number[] = everyone): Promise<void> {
  const ofLeader = await stateOf(world.broker(world.partitionOf(topic).leader));
  for (const id of ids) expect(await stateOf(world.broker(id)), `broker ${id}`).toEqual(ofLeader);
}

async function stateOf(broker: HalfBroker): Promise<unknown> {
  const partition = broker.partition(topic);
  const { log, logStartOffset, highWatermark } = partition;
  const aborted: unknown[] = [];
  for (const segment of log.segments().all()) {
    for (const { producerId, firstOffset, lastOffset, lastStableOffset } of await segment.loadAborted(broker.disk))
      aborted.push([producerId, firstOffset, lastOffset, lastStableOffset]);
  }
  const batches = [...batchesIn(await bytesOf(partition, logStartOffset, log.logEndOffset))];
  return {
    ...{ logStartOffset, highWatermark, logEndOffset: log.logEndOffset, aborted },
    batches: batches.map(({ baseOffset, lastOffset, partitionLeaderEpoch, crc }) => [
      ...[baseOffset, lastOffset, partitionLeaderEpoch, crc],
    ]),
    bytes: Buffer.concat(batches.map((batch) => batch.wholeBytes)).toString("hex"),
    producers: [...log.producers()]
      .map(({ producerId, epoch, coordinatorEpoch, lastTimestamp, currentTxnFirstOffset, marks }) => ({
        ...{ producerId, epoch, coordinatorEpoch, lastTimestamp, currentTxnFirstOffset },
        // A snapshot keeps the last batch only, and one time for a producer, as in Kafka: who started anew, or cut, may know no more.
        last: marks
          .slice(-1)
          .map(({ lastSequence, lastOffset, offsetDelta }) => [lastSequence, lastOffset, offsetDelta]),
      }))
      .toSorted((a, b) => a.producerId - b.producerId),
    lastStableOffset: partition.lastStableOffset,
  };
}
