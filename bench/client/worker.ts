import { setTimeout as sleep } from "node:timers/promises";
import type { BenchClient, Place } from "./adapter.ts";
import { keepInFlight } from "./adapter.ts";
import { ClientMeter, megabytesInUse } from "./client-meter.ts";
import { handlerMs, offeredRecords, offerEveryMs, sendsMax } from "./plan.ts";
import type { ClientPlan, ClientResult } from "./plan.ts";
import { RecordPool, Tally } from "./samples.ts";
import type { SampleRecord } from "./samples.ts";

/** What a load has to say beside what the meter saw. */
type Outcome = Pick<ClientResult, "records" | "recordsInAll" | "settings"> &
  Partial<Pick<ClientResult, "checksum" | "refused" | "inUseMegabytes">>;

/** Each client is loaded only where it is measured. */
async function load(plan: ClientPlan): Promise<BenchClient> {
  const place: Place = plan;
  switch (plan.client) {
    case "ours":
      return new (await import("./ours.ts")).Ours(place);
    case "platformatic":
      return new (await import("./platformatic.ts")).Platformatic(place);
    case "kafkajs":
      return new (await import("./kafkajs.ts")).Kafkajs(place);
    case "librdkafka":
      throw new Error("librdkafka is measured by librdkafka.py");
  }
}

function run(client: BenchClient): Promise<Outcome> {
  switch (plan.kind) {
    case "produce-pipelined":
      return producing(client, client.settings.pipelined, (isOver) => client.pipelined(pool, isOver));
    case "produce-send": {
      const sendNext = (): Promise<unknown> => client.send(nextRecord());
      return producing(client, client.settings.sends, (isOver) => keepInFlight(sendsMax, isOver, sendNext));
    }
    case "produce-awaited":
      return producing(client, client.settings.awaited, (isOver) => oneByOne(client, isOver));
    case "consume-batch":
      return consuming(client.settings.batches, (tally) => client.batches(tally));
    case "consume-message":
      return consuming(client.settings.messages, (tally) => client.messages(tally));
    case "consume-iterate":
      return consuming(client.settings.iterate ?? "none", (tally) => client.iterate(tally));
    case "end-to-end":
      return endToEnd(client);
    case "memory-produce":
      return offering(client);
    case "memory-consume":
      return handlingSlowly(client);
    case "flat-produce":
      return producingMany(client);
    case "flat-consume":
      return consumingMany(client);
  }
}

function nextRecord(): SampleRecord {
  return { key: pool.key(), value: pool.value() };
}

/** The clock is asked each time, or once in so many. */
function during(ms: number, each = 1): () => boolean {
  const untilMs = performance.now() + ms;
  let left = 0;
  let isOver = false;
  return () => {
    if (left-- > 0) return isOver;
    left = each - 1;
    isOver = performance.now() >= untilMs;
    return isOver;
  };
}

// --- Produce ---------------------------------------------------------------------------------------------------------

/** Twice, and only the second time is measured; each time until everything is acknowledged. */
async function producing(
  client: BenchClient,
  settings: string,
  produce: (isOver: () => boolean) => Promise<number>,
): Promise<Outcome> {
  await client.startProducer(plan.kind === "produce-awaited" ? "latency" : "throughput");
  await client.send(nextRecord());
  // Of single sends the clock would be a part of the cost.
  const each = plan.kind === "produce-send" ? 32 : 1;
  const before = await produce(during(plan.warmUpMs, each));
  meter.begin();
  const records = await produce(during(plan.measureMs, each));
  meter.end();
  return { records, recordsInAll: records + before + 1, settings };
}

async function oneByOne(client: BenchClient, isOver: () => boolean): Promise<number> {
  let count = 0;
  for (; !isOver(); count++) {
    const sentMs = performance.now();
    await client.send(nextRecord());
    meter.latency(performance.now() - sentMs);
  }
  return count;
}

// --- Consume ---------------------------------------------------------------------------------------------------------

async function consuming(settings: string, consume: (tally: Tally) => Promise<void>): Promise<Outcome> {
  const tally = new Tally(plan, { begin: () => meter.begin(), end: () => meter.end() });
  await consume(tally);
  const records = plan.records - plan.warmUpRecords;
  return { records, recordsInAll: tally.count, checksum: tally.checksum, settings };
}

// --- End to end ------------------------------------------------------------------------------------------------------

/** Each record says when it was due; what a busy producer or consumer adds counts. */
async function endToEnd(client: BenchClient): Promise<Outcome> {
  await client.startProducer("latency");
  const seen = { sent: 0, acked: 0, arrived: 0 };
  await client.follow((value) => {
    const dueMs = value.readDoubleBE(0);
    seen.arrived++;
    if (dueMs > 0) meter.latency(performance.now() - dueMs);
  });
  // Until the consumer is there.
  for (; seen.arrived === 0; await sleep(50)) {
    await client.send(stamped(0));
    seen.sent++;
    seen.acked++;
  }
  const pace = async (ms: number): Promise<void> => {
    const startedMs = performance.now();
    for (let due = 0; ;) {
      const elapsedMs = Math.min(ms, performance.now() - startedMs);
      const records: SampleRecord[] = [];
      for (; due < (elapsedMs / 1000) * plan.recordsPerSecond; due++) {
        records.push(stamped(startedMs + (due * 1000) / plan.recordsPerSecond));
      }
      seen.sent += records.length;
      if (records.length > 0) client.sendDue(records, (count) => (seen.acked += count));
      if (elapsedMs >= ms) break;
      await sleep(1);
    }
    // A client that cannot keep up is late; one that lost a record never comes to the end.
    while (seen.acked < seen.sent || seen.arrived < seen.sent) await sleep(1);
  };
  await pace(plan.warmUpMs);
  meter.begin();
  await pace(plan.measureMs);
  meter.end();
  const settings = `${client.settings.sends}; ${client.settings.messages}`;
  return { records: meter.latencies, recordsInAll: seen.sent, settings };
}

function stamped(dueMs: number): SampleRecord {
  const value = Buffer.from(pool.value());
  value.writeDoubleBE(dueMs, 0);
  return { key: pool.key(), value };
}

// --- Memory ----------------------------------------------------------------------------------------------------------

async function offering(client: BenchClient): Promise<Outcome> {
  await client.startProducer("throughput");
  await client.send(nextRecord());
  meter.begin();
  let records = 0;
  let refused = 0;
  for (const isOver = during(plan.measureMs); !isOver(); await sleep(offerEveryMs)) {
    for (let count = 0; count < offeredRecords; count++) {
      // Memory of its own, as what comes from elsewhere has it.
      const value = Buffer.from(pool.value());
      records++;
      if (!client.offer({ key: pool.key(), value })) refused++;
    }
  }
  meter.end();
  return { records, recordsInAll: records, refused, settings: client.settings.sends };
}

async function handlingSlowly(client: BenchClient): Promise<Outcome> {
  const { promise: hasBegun, resolve } = Promise.withResolvers<void>();
  let records = 0;
  await client.handleEach(async () => {
    if (records === 0) meter.begin();
    await sleep(handlerMs);
    records++;
    resolve();
  });
  await hasBegun;
  await sleep(plan.measureMs);
  meter.end();
  return { records, recordsInAll: records, settings: client.settings.messages };
}

// --- Flat ------------------------------------------------------------------------------------------------------------

const parts = 10;

async function producingMany(client: BenchClient): Promise<Outcome> {
  await client.startProducer("throughput");
  await client.send(nextRecord());
  const inUseMegabytes: number[] = [];
  let records = 0;
  meter.begin();
  for (let part = 1; part <= parts; part++) {
    const end = pool.taken + plan.records / parts;
    records += await client.pipelined(pool, () => pool.taken >= end);
    inUseMegabytes.push(megabytesInUse());
  }
  meter.end();
  return { records, recordsInAll: records + 1, inUseMegabytes, settings: client.settings.pipelined };
}

async function consumingMany(client: BenchClient): Promise<Outcome> {
  const inUseMegabytes: number[] = [];
  const each = Math.floor(plan.records / parts);
  const tally = new Tally(plan, { begin: () => meter.begin(), end: () => meter.end() });
  const add = tally.add.bind(tally);
  tally.add = (...record) => {
    add(...record);
    if (tally.count % each === 0) inUseMegabytes.push(megabytesInUse());
  };
  await client.batches(tally);
  const records = plan.records - plan.warmUpRecords;
  const { count: recordsInAll, checksum } = tally;
  return { records, recordsInAll, checksum, inUseMegabytes, settings: client.settings.batches };
}

// --- The run ---------------------------------------------------------------------------------------------------------

const plan = JSON.parse(process.argv[2] ?? "null") as ClientPlan;
const pool = new RecordPool(plan.recordBytes);
const meter = new ClientMeter();
const client = await load(plan);
const outcome = await run(client);
const result: ClientResult = {
  checksum: 0,
  refused: 0,
  inUseMegabytes: [],
  ...meter.result(),
  ...outcome,
};
process.stdout.write(`${JSON.stringify(result)}\n`, () => {
  // What a slow broker has not taken, and slow handlers, are not waited for.
  if (plan.kind.startsWith("memory-")) process.exit(0);
});
if (!plan.kind.startsWith("memory-")) await client.close();
