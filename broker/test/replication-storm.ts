import { Prng } from "@millrace/base/prng";
import { appendMarker } from "@millrace/broker/partitions/markers";
import type { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { trustBatch } from "@millrace/storage/validation";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { batchesIn } from "kafka-protocol-ts/records/batch";
import { encodeBatch, readRecords } from "kafka-protocol-ts/records/record";
import { bytesOf, expectSame, produceTo, topic } from "./replication-calls.ts";
import { ReplicationWorld } from "./replication-world.ts";
import type { HalfBroker } from "./replication-world.ts";

const everyone = [1, 2, 3];

class IdempotentProducer {
  readonly producerId: number;
  baseSequence = 0;
  values: readonly string[] | null = null;
  batch: Buffer | null = null;
  isWaiting = false;

  constructor(producerId: number) {
    this.producerId = producerId;
  }

  next(): void {
    this.baseSequence += this.values?.length ?? 0;
    this.values = null;
    this.batch = null;
  }
}

/** What a storm has been through. */
export interface StormCounts {
  steps: number;
  acknowledged: number;
  transactional: number;
  crashes: number;
  elections: number;
  truncations: number;
  badBatches: number;
  cuts: number;
}

export const noStorms = (): StormCounts => ({
  ...{ steps: 0, acknowledged: 0, transactional: 0, crashes: 0, elections: 0, truncations: 0, badBatches: 0, cuts: 0 },
});

/**
 * Three brokers in bad weather: power is lost, links are cut, answers are broken on their way, disks are slow, brokers hear late of what the
 * controller has decided. Throws when something that was acknowledged is not there, when a record below a high watermark is ever another one,
 * when a high watermark is past what an in-sync replica has on its disk, or when the replicas do not agree in the end.
 */
export async function storm(seed: number, steps: number, counts: StormCounts): Promise<void> {
  const prng = new Prng(seed);
  const world = await ReplicationWorld.open({
    seed,
    settings: {
      "replica.lag.time.max.ms": "3000",
      "replica.fetch.backoff.ms": "200",
      "replica.high.watermark.checkpoint.interval.ms": "500",
    },
  });
  const minIsr = prng.pick(["1", "2"]);
  await world.createTopic(topic, { configs: { "min.insync.replicas": minIsr, "segment.bytes": "1048576" } });
  const weather = new Weather(world, prng, counts);
  for (let step = 0; step < steps; step++) {
    await weather.step();
    counts.steps += 1;
  }
  await weather.calm();
}

/** Anything but the epoch, which no checksum covers and no neighbour betrays. */
function breakOneOf(records: Buffer, prng: Prng): void {
  const batch = prng.pick([...batchesIn(records)]);
  const at = prng.chance(0.2) ? prng.between(0, 11) : prng.between(16, batch.sizeBytes - 1);
  records[batch.position + at]! ^= 1 << prng.between(0, 7);
}

class Weather {
  readonly #world: ReplicationWorld;
  readonly #prng: Prng;
  readonly #counts: StormCounts;
  /** Of brokers that are down. */
  readonly #disks = new Map<number, SimulatedDisk>();
  readonly #hearAgain = new Map<number, () => void>();
  /** By offset. */
  readonly #acknowledged = new Map<number, string>();
  /** Of the batch at an offset that lay below a high watermark. */
  readonly #committed = new Map<number, string>();
  #isBreaking = false;
  #values = 0;
  /** Idempotent ones: each has one batch under way, and sends it again until it is there. */
  readonly #producers: IdempotentProducer[] = [];
  #producerIds = 10;

  constructor(world: ReplicationWorld, prng: Prng, counts: StormCounts) {
    this.#world = world;
    this.#prng = prng;
    this.#counts = counts;
    for (const broker of world.running) this.#slowDown(broker);
    world.onResponse = (response) => {
      if (!this.#isBreaking || !prng.chance(0.3)) return response;
      for (const { partitions } of response.responses)
        for (const { records } of partitions) if (records !== null && records.length > 0) breakOneOf(records, prng);
      return response;
    };
  }

  #slowDown(broker: HalfBroker): void {
    const { clock } = this.#world;
    broker.disk.faults.slowDown(clock, (operation) => (operation === "sync" ? this.#prng.between(0, 12) : 0));
  }

  async step(): Promise<void> {
    const prng = this.#prng;
    const roll = prng.between(0, 99);
    if (roll < 62) this.#produce();
    else if (roll < 67) this.#crash();
    else if (roll < 77) await this.#restart();
    else if (roll < 82) await this.#fenceOrUnfence();
    else if (roll < 87) this.#cutOrHeal();
    else if (roll < 91) this.#deafenOrNot();
    else if (roll < 97) await this.#elect();
    else this.#isBreaking = prng.chance(0.5);
    await this.#world.clock.advance(prng.chance(0.1) ? prng.between(200, 3_000) : prng.between(0, 30));
    this.#world.check();
    await this.#look();
  }

  #produce(): void {
    const world = this.#world;
    const prng = this.#prng;
    const { leader } = world.partitionOf(topic);
    const id = prng.chance(0.9) ? leader : prng.pick(everyone);
    const broker = world.brokers.get(id);
    if (broker === undefined) return;
    if (prng.chance(0.2)) return this.#transact(broker);
    if (prng.chance(0.5)) return this.#produceOnce(broker);
    const values = this.#newValues();
    const acks = prng.chance(0.8) ? -1 : 1;
    void produceTo(broker, topic, this.#batchOf(values), { acks, timeoutMs: 5_000 }).then(
      ({ errorCode, baseOffset }) => {
        if (errorCode === ErrorCode.NONE && acks === -1 && !broker.isDown) this.#acknowledge(values, baseOffset);
      },
    );
  }

  #newValues(): readonly string[] {
    const value = `value-${this.#values++}`;
    return Array.from({ length: this.#prng.between(1, 3) }, (_, index) => `${value}-${index}`);
  }

  #batchOf(values: readonly string[], producer: Partial<IdempotentProducer> = {}): Buffer {
    const padding = Buffer.alloc(this.#prng.chance(0.1) ? 40_000 : 5, 0x78);
    const { producerId, baseSequence } = producer;
    return encodeBatch({
      records: values.map((text) => ({ timestamp: this.#world.clock.now(), key: padding, value: Buffer.from(text) })),
      ...(producerId !== undefined && baseSequence !== undefined && { producerId, producerEpoch: 0, baseSequence }),
    });
  }

  #acknowledge(values: readonly string[], baseOffset: number): void {
    this.#counts.acknowledged += 1;
    for (const [index, text] of values.entries()) this.#acknowledged.set(baseOffset + index, text);
  }

  /** Goes on with a transaction, or ends it; nobody waits for it. What is not known any more is not gone on with. */
  #transact(broker: HalfBroker): void {
    const partition = broker.partition(topic);
    const nowMs = this.#world.clock.now();
    const producerId = this.#prng.between(1_000, 1_003);
    const known = partition.log.producer(producerId);
    const isOpen = known !== null && known.currentTxnFirstOffset !== -1;
    if (isOpen && this.#prng.chance(0.4)) {
      const outcome = this.#prng.chance(0.5) ? "commit" : "abort";
      appendMarker(partition, { producerId, producerEpoch: 0, outcome, coordinatorEpoch: 1 }, nowMs);
      return;
    }
    const baseSequence = (known?.lastSequence ?? -1) + 1;
    const guard = partition.guards.take(producerId, baseSequence);
    const batch = encodeBatch({
      records: this.#newValues().map((text) => ({ timestamp: nowMs, value: Buffer.from(text) })),
      ...{ producerId, producerEpoch: 0, baseSequence, isTransactional: true },
    });
    if (partition.append(trustBatch(batch), "client", nowMs, guard).ok) this.#counts.transactional += 1;
    partition.guards.release(guard);
  }

  #produceOnce(broker: HalfBroker): void {
    const index = this.#prng.between(0, 2);
    const producer = (this.#producers[index] ??= new IdempotentProducer(this.#producerIds++));
    if (producer.isWaiting) return;
    producer.values ??= this.#newValues();
    producer.batch ??= this.#batchOf(producer.values, producer);
    producer.isWaiting = true;
    const { values } = producer;
    // The log keeps what it is given.
    void produceTo(broker, topic, Buffer.from(producer.batch), { timeoutMs: 2_000 }).then(
      ({ errorCode, baseOffset }) => {
        producer.isWaiting = false;
        if (broker.isDown) return;
        if (errorCode === ErrorCode.NONE) {
          this.#acknowledge(values, baseOffset);
          producer.next();
        } else if (errorCode === ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
          this.#producers.splice(index, 1, new IdempotentProducer(this.#producerIds++));
      },
    );
  }

  #crash(): void {
    const running = this.#world.running;
    if (running.length === 0) return;
    const doomed = this.#prng.chance(0.1) ? running : [this.#prng.pick(running)];
    for (const { id, replicas } of doomed) {
      this.#note(replicas);
      this.#hearAgain.get(id)?.();
      this.#hearAgain.delete(id);
      this.#disks.set(id, this.#world.crash(id));
      this.#counts.crashes += 1;
    }
  }

  async #restart(): Promise<void> {
    const [id] = this.#prng.shuffle([...this.#disks.keys()]);
    if (id === undefined) return;
    const disk = this.#disks.get(id) as SimulatedDisk;
    this.#disks.delete(id);
    this.#slowDown(await this.#world.run(this.#world.start(id, disk)));
  }

  async #fenceOrUnfence(): Promise<void> {
    const id = this.#prng.pick(everyone);
    const isFenced = this.#world.image.brokers.get(id)?.isFenced === true;
    if (isFenced) {
      if (this.#world.brokers.has(id)) await this.#world.run(this.#world.unfence(id));
    } else await this.#world.run(this.#world.fence(id));
  }

  #cutOrHeal(): void {
    if (this.#world.cuts.size > 0) return this.#world.heal();
    const [a, b] = this.#prng.shuffle(everyone);
    this.#world.cut(a as number, b as number);
    this.#counts.cuts += 1;
  }

  #deafenOrNot(): void {
    const id = this.#prng.pick(everyone);
    const hearAgain = this.#hearAgain.get(id);
    if (hearAgain !== undefined) {
      hearAgain();
      this.#hearAgain.delete(id);
    } else if (this.#world.brokers.has(id)) this.#hearAgain.set(id, this.#world.broker(id).deafen());
  }

  async #elect(): Promise<void> {
    const { isr, leader } = this.#world.partitionOf(topic);
    const able = isr.filter(
      (id) => this.#world.brokers.has(id) && this.#world.image.brokers.get(id)?.isFenced === false,
    );
    if (able.length === 0 || leader === -1) return;
    await this.#world.run(this.#world.change(topic, { leader: this.#prng.pick(able) }));
    this.#counts.elections += 1;
  }

  /** What must hold at every moment. */
  async #look(): Promise<void> {
    const world = this.#world;
    const { isr } = world.partitionOf(topic);
    let highest = 0;
    for (const broker of world.running) {
      const { highWatermark, log } = broker.partition(topic);
      highest = Math.max(highest, highWatermark);
      if (highWatermark > log.logEndOffset)
        throw new Error(`broker ${broker.id} ends at ${log.logEndOffset}, below its high watermark ${highWatermark}`);
    }
    for (const id of isr) {
      const log = world.brokers.get(id)?.partition(topic).log;
      if (log !== undefined && log.flushedOffset < highest)
        throw new Error(
          `${highest} is committed, and broker ${id}, which is in sync, has ${log.flushedOffset} on its disk`,
        );
    }
    if (this.#prng.chance(0.2))
      await this.#lookAtRecords(this.#prng.pick(world.running.length > 0 ? world.running : [null]));
  }

  async #lookAtRecords(broker: HalfBroker | null): Promise<void> {
    if (broker === null) return;
    const partition = broker.partition(topic);
    const { highWatermark } = partition;
    for (const batch of batchesIn(await bytesOf(partition, 0, highWatermark))) {
      const text = `${batch.lastOffset} ${batch.partitionLeaderEpoch} ${batch.crc}`;
      const known = this.#committed.get(batch.baseOffset);
      if (known !== undefined && known !== text)
        throw new Error(`at ${batch.baseOffset} broker ${broker.id} has ${text}, where ${known} was committed`);
      this.#committed.set(batch.baseOffset, text);
    }
  }

  #note(replicas: HalfBroker["replicas"]): void {
    for (const leader of replicas.leaders) {
      const { truncations = 0, badBatches = 0 } = replicas.counts(leader) ?? {};
      this.#counts.truncations += truncations;
      this.#counts.badBatches += badBatches;
    }
  }

  /** All is well again: soon all replicas are in sync and alike, and what was acknowledged is there. */
  async calm(): Promise<void> {
    const world = this.#world;
    this.#isBreaking = false;
    world.heal();
    for (const hearAgain of this.#hearAgain.values()) hearAgain();
    this.#hearAgain.clear();
    while (this.#disks.size > 0) await this.#restart();
    for (const id of everyone) await world.run(world.unfence(id));
    await world.until(
      () => world.partitionOf(topic).leader !== -1 && world.partitionOf(topic).isr.length === 3,
      30_000,
    );
    const last = await world.run(produceTo(world.broker(world.partitionOf(topic).leader), topic, ["the last"]));
    if (last.errorCode !== ErrorCode.NONE) throw new Error(`the last one is refused: ${last.errorCode}`);
    await world.clock.advance(2_000);
    await expectSame(world);
    for (const broker of world.running) {
      this.#note(broker.replicas);
      await this.#lookAtRecords(broker);
    }
    const partition = world.broker(1).partition(topic);
    const found = new Map<number, string>();
    const once = new Set<string>();
    for (const batch of batchesIn(await bytesOf(partition, 0, partition.highWatermark))) {
      if (batch.isControl) continue;
      for (const { offset, value } of readRecords(batch)) {
        const text = value?.toString() ?? "";
        found.set(offset, text);
        if (once.has(text)) throw new Error(`${text} is there twice`);
        once.add(text);
      }
    }
    for (const [offset, value] of this.#acknowledged)
      if (found.get(offset) !== value)
        throw new Error(`${value} was acknowledged at ${offset}, and ${found.get(offset)} is there`);
  }
}
