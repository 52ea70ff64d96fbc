import { setTimeout as sleep } from "node:timers/promises";
import { ErrorCode, errorName, isRetriable } from "kafka-protocol-ts/errors";
import { produce } from "kafka-protocol-ts/messages/00-produce";
import { initProducerId } from "kafka-protocol-ts/messages/22-init-producer-id";
import { endTxn } from "kafka-protocol-ts/messages/26-end-txn";
import { Attribute, BatchField } from "kafka-protocol-ts/records/batch";
import { crc32c } from "kafka-protocol-ts/records/crc32c";
import { batchOf } from "../load-plan.ts";
import { failRun, frameOf, Link } from "./link.ts";
import type { Meter } from "./meter.ts";
import type { TransactionPlan } from "./plan.ts";

/** Versions of transactions as KIP-890 made them: no AddPartitionsToTxn, and a new epoch with each end. */
const produceVersion = 12;
const endTxnVersion = 5;
const initProducerIdVersion = 5;
/** As clients wait by themselves (retry.backoff.ms). */
export const retryBackoffMs = 100;
const transactionTimeoutMs = 60_000;
/** Of partition, topic and request, after the batch. */
const tagsBytes = 3;
/** length 4, correlation id 4, tags 1, throttle time 4 */
const endTxnErrorAt = 13;

/** One batch that is to be written or on its way, in memory of its own. */
interface Flight {
  readonly partition: number;
  sequence: number;
  readonly frame: Buffer;
}

/** An idempotent producer, with transactions where it has a transactional id. */
export class Producer {
  readonly #link: Link;
  readonly #plan: TransactionPlan;
  readonly #meter: Meter;
  readonly #transactionalId: string | null;
  readonly #batch: Buffer;
  readonly #free: Flight[][];
  readonly #nextSequences: number[];
  readonly #errorAt: number;
  readonly #end: Buffer;
  #producerId = -1;
  #epoch = -1;
  #turn = 0;
  /** Answered without an error, since the start. */
  ackedRecords = 0;
  ackedBytes = 0;

  private constructor(link: Link, plan: TransactionPlan, meter: Meter, transactionalId: string | null) {
    this.#link = link;
    this.#plan = plan;
    this.#meter = meter;
    this.#transactionalId = transactionalId;
    const { recordsPerBatch, recordBytes } = plan;
    this.#batch = batchOf({ recordsPerBatch, recordBytes, compression: "none" });
    if (transactionalId !== null) this.#batch = asTransactional(this.#batch);
    this.#free = Array.from({ length: plan.partitions }, () => []);
    this.#nextSequences = Array.from({ length: plan.partitions }, () => 0);
    // length, correlation id, tags, one topic, its name, one partition, its index
    this.#errorAt = 4 + 4 + 1 + 1 + 1 + plan.topic.length + 1 + 4;
    const ended = { transactionalId: transactionalId ?? "", producerId: 0, producerEpoch: 0, committed: true };
    this.#end = frameOf(endTxn, endTxnVersion, ended);
  }

  static async start(plan: TransactionPlan, meter: Meter, transactionalId: string | null): Promise<Producer> {
    const link = await Link.open(plan.port);
    const producer = new Producer(link, plan, meter, transactionalId);
    for (;;) {
      const wanted = { transactionalId, transactionTimeoutMs };
      const answer = await link.call(initProducerId, initProducerIdVersion, wanted);
      if (answer.errorCode === ErrorCode.NONE) {
        producer.#begin(answer.producerId, answer.producerEpoch);
        return producer;
      }
      await producer.#backOff(answer.errorCode, "InitProducerId");
    }
  }

  close(): void {
    this.#link.close();
  }

  /** One batch to a partition, until it is taken. */
  async produceOne(partition: number): Promise<void> {
    const flight = this.#take(partition);
    for (;;) {
      const code = await new Promise<number>((resolve) => this.#send(flight, resolve));
      if (this.#isTaken(flight, code)) return;
      await this.#backOff(code, "Produce");
    }
  }

  /** Batches to the partitions in turn, as fast as answers come, and until all are taken. */
  async produceUntil(untilMs: number): Promise<void> {
    const refused: Flight[] = [];
    let inFlight = 0;
    let refusal = 0;
    for (;;) {
      await new Promise<void>((resolve) => {
        const next = (): void => {
          // After a refusal everything that is on its way is awaited: what follows it on its partition is out of order.
          if (refused.length > 0 || performance.now() >= untilMs) {
            if (inFlight === 0) resolve();
            return;
          }
          fly(this.#take(this.#turn++ % this.#plan.partitions));
        };
        const fly = (flight: Flight): void => {
          inFlight++;
          this.#send(flight, (code) => {
            inFlight--;
            const follows = refused.some(({ partition }) => partition === flight.partition);
            const isOutOfOrder = code === ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER && follows;
            if (!this.#isTaken(flight, code)) {
              refused.push(flight);
              if (!isOutOfOrder) refusal = code;
            }
            next();
          });
        };
        const again = refused.splice(0);
        for (const flight of again) fly(flight);
        for (let count = again.length; count < this.#plan.inFlight; count++) next();
      });
      if (refused.length === 0) return;
      await this.#backOff(refusal, "Produce");
    }
  }

  /** Commits. The next transaction begins under the epoch that the answer gives. */
  async endTransaction(): Promise<void> {
    const end = this.#end;
    end.writeBigInt64BE(BigInt(this.#producerId), end.length - 12);
    end.writeInt16BE(this.#epoch, end.length - 4);
    for (;;) {
      const answer = await new Promise<{ code: number; producerId: number; epoch: number }>((resolve) => {
        this.#link.send(end, (bytes) =>
          resolve({
            code: bytes.readInt16BE(endTxnErrorAt),
            producerId: Number(bytes.readBigInt64BE(endTxnErrorAt + 2)),
            epoch: bytes.readInt16BE(endTxnErrorAt + 10),
          }),
        );
      });
      if (answer.code === ErrorCode.NONE) return this.#begin(answer.producerId, answer.epoch);
      await this.#backOff(answer.code, "EndTxn");
    }
  }

  #begin(producerId: number, epoch: number): void {
    if (producerId < 0 || epoch < 0) failRun(`a producer was given id ${producerId} and epoch ${epoch}`);
    this.#producerId = producerId;
    this.#epoch = epoch;
    this.#nextSequences.fill(0);
  }

  #take(partition: number): Flight {
    const flight = this.#free[partition]?.pop() ?? { partition, sequence: 0, frame: this.#frame(partition) };
    flight.sequence = this.#nextSequences[partition] ?? 0;
    this.#nextSequences[partition] = flight.sequence + this.#plan.recordsPerBatch;
    const batchAt = flight.frame.length - tagsBytes - this.#batch.length;
    flight.frame.writeBigInt64BE(BigInt(this.#producerId), batchAt + BatchField.producerId);
    flight.frame.writeInt16BE(this.#epoch, batchAt + BatchField.producerEpoch);
    flight.frame.writeInt32BE(flight.sequence, batchAt + BatchField.baseSequence);
    const summed = flight.frame.subarray(batchAt + BatchField.attributes, batchAt + this.#batch.length);
    flight.frame.writeUInt32BE(crc32c(summed), batchAt + BatchField.crc);
    return flight;
  }

  #frame(index: number): Buffer {
    const topicData = [{ name: this.#plan.topic, partitionData: [{ index, records: this.#batch }] }];
    const request = { transactionalId: this.#transactionalId, acks: -1, timeoutMs: 30_000, topicData };
    return frameOf(produce, produceVersion, request);
  }

  #send(flight: Flight, answered: (code: number) => void): void {
    this.#link.send(flight.frame, (bytes) => answered(bytes.readInt16BE(this.#errorAt)));
  }

  /** Of a batch that came twice the first one counts. */
  #isTaken(flight: Flight, code: number): boolean {
    if (code !== ErrorCode.NONE && code !== ErrorCode.DUPLICATE_SEQUENCE_NUMBER) return false;
    this.ackedRecords += this.#plan.recordsPerBatch;
    this.ackedBytes += this.#batch.length;
    this.#free[flight.partition]?.push(flight);
    return true;
  }

  async #backOff(code: number, what: string): Promise<void> {
    if (!isRetriable(code)) failRun(`${what} was answered with ${errorName(code)}`);
    this.#meter.retry(what, code);
    await sleep(retryBackoffMs);
  }
}

/** The same batch with the bit that says so; its checksum is made when it is sent. */
function asTransactional(batch: Buffer): Buffer {
  const copy = Buffer.from(batch);
  copy.writeInt16BE(copy.readInt16BE(BatchField.attributes) | Attribute.transactional, BatchField.attributes);
  return copy;
}
