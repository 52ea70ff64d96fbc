import { createConnection, type Socket } from "node:net";
import { ErrorCode, errorName } from "kafka-protocol-ts/errors";
import { writeRequestHeader } from "kafka-protocol-ts/header";
import { produce } from "kafka-protocol-ts/messages/00-produce";
import { fetch } from "kafka-protocol-ts/messages/01-fetch";
import { installNodeAccelerators } from "kafka-protocol-ts/node";
import { ByteWriter } from "kafka-protocol-ts/writer";
import {
  batchesOf,
  type FetchPlan,
  type LoadEvent,
  type LoadPlan,
  type ProducePlan,
  type TailPlan,
} from "./load-plan.ts";

/**
 * The load generator of bench/broker.ts, a process of its own: `node load.ts '<plan as JSON>'`. It is light, so that
 * what is measured is the broker: requests are built once, one on its way differs from the last in its correlation id
 * only, and of an answer the correlation id and the error codes are read, and the sizes.
 */
const produceVersion = 11;
const fetchVersion = 16;
const correlationIdAt = 8;
/** The frame's length and the request header up to the correlation id. */
const headBytes = 12;
/** A shorter request is copied whole: one chunk costs the socket less than two. */
const copyBytesMax = 4_096;
/** One read of a fetch's answer. */
const readBytes = 256 * 1024;

/** What a connection asks, over and over, and how it reads the answers. */
interface Conversation {
  /** The next request, which is sent now. Its correlation id is written over; its bytes after the head stay as they are. */
  next(sentMs: number): Buffer;
  /** Whether all reads may go into one buffer, since `receive` copies what it needs later: new memory costs more than the reads. */
  readonly sharesBuffer: boolean;
  /** Called with everything that comes. */
  receive(chunk: Buffer, answered: (answer: Answer) => void): void;
}

interface Answer {
  readonly correlationId: number;
  readonly records: number;
  /** Of record batches. */
  readonly bytes: number;
}

/** A request on its way, and the memory for the next one in its place. */
interface Slot {
  own: Buffer;
  sentMs: number;
  correlationId: number;
}

class Meter {
  readonly #plan: LoadPlan;
  readonly #latenciesMs: number[] = [];
  readonly #tailLatenciesMs: number[] = [];
  #requests = 0;
  #totalBytes = 0;
  #bytes = 0;
  #records = 0;
  #total = 0;
  #startedMs = 0;
  #cpuAtStart: NodeJS.CpuUsage = process.cpuUsage();
  #state: "warming" | "measuring" | "ended" = "warming";

  constructor(plan: LoadPlan) {
    this.#plan = plan;
  }

  get isEnded(): boolean {
    return this.#state === "ended";
  }

  begin(): void {
    if (this.#state !== "warming") return;
    this.#startedMs = performance.now();
    this.#cpuAtStart = process.cpuUsage();
    this.#state = "measuring";
    print({ event: "measuring" });
  }

  count(nowMs: number, latencyMs: number, { records, bytes }: Answer): void {
    this.#total += 1;
    this.#totalBytes += bytes;
    if (this.#state === "measuring") {
      this.#requests += 1;
      this.#records += records;
      this.#bytes += bytes;
      this.#latenciesMs.push(latencyMs);
    }
    const isOver = this.#state === "measuring" && nowMs - this.#startedMs >= this.#plan.measureMs;
    if (isOver || this.#total >= this.#plan.requestsMax) this.#end();
  }

  /** A batch has arrived at the end of the log's consumer. */
  countTail(latencyMs: number): void {
    if (this.#state === "measuring") this.#tailLatenciesMs.push(latencyMs);
  }

  #end(): void {
    if (this.#state === "ended") return;
    this.begin();
    this.#state = "ended";
    const { user, system } = process.cpuUsage(this.#cpuAtStart);
    const [latencyMsMedian, latencyMsP99] = quantiles(this.#latenciesMs);
    const [tailMsMedian, tailMsP99] = quantiles(this.#tailLatenciesMs);
    const batches = this.#tailLatenciesMs.length;
    print({
      event: "result",
      seconds: (performance.now() - this.#startedMs) / 1000,
      requests: this.#requests,
      records: this.#records,
      bytes: this.#bytes,
      latencyMsMedian,
      latencyMsP99,
      tail: batches === 0 ? null : { batches, latencyMsMedian: tailMsMedian, latencyMsP99: tailMsP99 },
      totalBytes: this.#totalBytes,
      cpuSeconds: (user + system) / 1e6,
    });
  }
}

/** Median and 99th percentile. */
function quantiles(values: readonly number[]): [number, number] {
  const sorted = Float64Array.from(values).sort();
  const at = (fraction: number): number => sorted[Math.floor(sorted.length * fraction)] ?? 0;
  return [at(0.5), at(0.99)];
}

/** Keeps as many requests on their way as the plan says. */
class Connection {
  readonly #conversation: Conversation;
  readonly #meter: Pick<Meter, "count" | "isEnded">;
  readonly #socket: Socket;
  /** Answers come in the order of the requests. */
  readonly #waiting: Slot[] = [];
  /** Used where requests leave by the clock. */
  readonly #free: Slot[] = [];
  #pace: { readonly intervalMs: number; dueMs: number } | null = null;
  #nextCorrelationId = 1;

  constructor(port: number, conversation: Conversation, meter: Pick<Meter, "count" | "isEnded">) {
    this.#conversation = conversation;
    this.#meter = meter;
    const answered = (answer: Answer): void => this.#answered(answer);
    const received = (chunk: Buffer): void => {
      // All requests for which there is room now go out in one call.
      this.#socket.cork();
      conversation.receive(chunk, answered);
      this.#socket.uncork();
    };
    const buffer = Buffer.alloc(readBytes);
    const callback = (count: number): boolean => {
      received(buffer.subarray(0, count));
      return true;
    };
    const options = { port, host: "127.0.0.1", noDelay: true };
    this.#socket = createConnection(conversation.sharesBuffer ? { ...options, onread: { buffer, callback } } : options);
    this.#socket.on("error", (error) => fail(`connection: ${error.message}`));
    this.#socket.on("close", () => {
      if (!meter.isEnded) fail("the broker closed the connection");
    });
    if (!conversation.sharesBuffer) this.#socket.on("data", received);
  }

  start(inFlight: number): void {
    this.#socket.cork();
    for (let count = 0; count < inFlight; count++) {
      this.#send({ own: Buffer.alloc(headBytes), sentMs: 0, correlationId: 0 }, performance.now());
    }
    this.#socket.uncork();
  }

  /** One request each `intervalMs`. One that is late, since all slots are taken, counts from when it was due. */
  startPaced(inFlight: number, intervalMs: number): void {
    for (let count = 0; count < inFlight; count++) {
      this.#free.push({ own: Buffer.alloc(headBytes), sentMs: 0, correlationId: 0 });
    }
    this.#pace = { intervalMs, dueMs: performance.now() };
    setInterval(() => this.#sendDue(), 1).unref();
  }

  #sendDue(): void {
    const pace = this.#pace;
    if (pace === null || this.#meter.isEnded) return;
    while (pace.dueMs <= performance.now()) {
      const slot = this.#free.pop();
      if (slot === undefined) return;
      this.#send(slot, pace.dueMs);
      pace.dueMs += pace.intervalMs;
    }
  }

  close(): void {
    this.#socket.destroy();
  }

  #answered(answer: Answer): void {
    const slot = this.#waiting.shift();
    if (slot === undefined || slot.correlationId !== answer.correlationId) {
      fail(`answer ${answer.correlationId} came out of turn`);
    }
    const nowMs = performance.now();
    this.#meter.count(nowMs, nowMs - slot.sentMs, answer);
    if (this.#meter.isEnded) finish();
    else if (this.#pace === null) this.#send(slot, performance.now());
    else {
      this.#free.push(slot);
      this.#sendDue();
    }
  }

  /** The slot's last request was answered, so its memory is no longer read by the socket. */
  #send(slot: Slot, sentMs: number): void {
    slot.sentMs = sentMs;
    const request = this.#conversation.next(sentMs);
    const isCopied = request.length <= copyBytesMax;
    const ownSize = isCopied ? request.length : headBytes;
    if (slot.own.length !== ownSize) slot.own = Buffer.alloc(ownSize);
    request.copy(slot.own, 0, 0, ownSize);
    slot.correlationId = this.#nextCorrelationId++;
    slot.own.writeInt32BE(slot.correlationId, correlationIdAt);
    this.#waiting.push(slot);
    this.#socket.write(slot.own);
    if (!isCopied) this.#socket.write(request.subarray(headBytes));
  }
}

// --- Produce ---------------------------------------------------------------------------------------------------------

/** One batch to one partition a request; the partitions take turns. */
class Producing implements Conversation {
  readonly sharesBuffer = false;
  readonly #frames: readonly Buffer[];
  readonly #recordsPerBatch: number;
  readonly #batchBytes: number;
  readonly #errorAt: number;
  readonly #partitions: number;
  readonly #onSent: (partition: number, sentMs: number) => void;
  #turn: number;
  #rest: Buffer = Buffer.alloc(0);

  constructor(
    plan: ProducePlan,
    frames: readonly Buffer[],
    batchBytes: number,
    firstPartition: number,
    onSent: (partition: number, sentMs: number) => void,
  ) {
    this.#frames = frames;
    this.#partitions = plan.partitions;
    this.#onSent = onSent;
    this.#recordsPerBatch = plan.recordsPerBatch;
    this.#batchBytes = batchBytes;
    this.#turn = firstPartition;
    // length, correlation id, tags, one topic, its name, one partition, its index
    this.#errorAt = 4 + 4 + 1 + 1 + 1 + plan.topic.length + 1 + 4;
  }

  next(sentMs: number): Buffer {
    const frame = this.#frames[this.#turn % this.#frames.length];
    this.#onSent(this.#turn % this.#partitions, sentMs);
    this.#turn += 1;
    return frame ?? Buffer.alloc(0);
  }

  receive(chunk: Buffer, answered: (answer: Answer) => void): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (bytes.length >= at + 4) {
      const size = 4 + bytes.readInt32BE(at);
      if (bytes.length < at + size) break;
      expectNoError(bytes.readInt16BE(at + this.#errorAt));
      const correlationId = bytes.readInt32BE(at + 4);
      answered({ correlationId, records: this.#recordsPerBatch, bytes: this.#batchBytes });
      at += size;
    }
    this.#rest = bytes.subarray(at);
  }
}

/** For each partition in turn, and each batch in turn, until both begin again. */
function produceFrames(plan: ProducePlan, batches: readonly Buffer[]): Buffer[] {
  return Array.from({ length: plan.partitions * batches.length }, (_, turn) => {
    const index = turn % plan.partitions;
    const records = batches[Math.floor(turn / plan.partitions)] ?? Buffer.alloc(0);
    const topicData = [{ name: plan.topic, partitionData: [{ index, records }] }];
    return frameOf((writer) => {
      writeRequestHeader(writer, produce, produceVersion, 0, "bench");
      produce.request.write(writer, { acks: -1, timeoutMs: 30_000, topicData }, produceVersion);
    });
  });
}

// --- Fetch -----------------------------------------------------------------------------------------------------------

/** What the reader of a stream asks for: so many bytes to look at, or to pass over. */
type Wish = { readonly take: number } | { readonly skip: number };

/** What a fetch needs to know of a plan. */
type Fetched = Pick<FetchPlan, "topicId" | "partitionMaxBytes" | "batchBytes" | "recordsPerBatch" | "keepsBytes">;

/** Asks all its partitions for the next of their bytes, and passes over the records as they come. */
class Fetching implements Conversation {
  readonly sharesBuffer: boolean;
  readonly #plan: Fetched;
  readonly #offsets: Map<number, number>;
  /** How far a partition's offset goes on by so many batches. */
  readonly #after: (partition: number, offset: number, batches: number) => number;
  readonly #taken: Buffer = Buffer.alloc(64);
  #takenBytes = 0;
  #answered: (answer: Answer) => void = () => undefined;
  readonly #reader: Generator<Wish, never, Buffer>;
  #wish: Wish;
  #skipped = 0;

  constructor(
    plan: Fetched,
    startOffsets: ReadonlyMap<number, number>,
    after: (partition: number, offset: number, batches: number) => number,
  ) {
    this.#plan = plan;
    this.sharesBuffer = !plan.keepsBytes;
    this.#offsets = new Map(startOffsets);
    this.#after = after;
    this.#reader = this.#read();
    this.#wish = this.#reader.next().value;
  }

  next(): Buffer {
    const { topicId, partitionMaxBytes } = this.#plan;
    const partitions = [...this.#offsets].map(([partition, fetchOffset]) => ({
      partition,
      fetchOffset,
      partitionMaxBytes,
    }));
    const maxBytes = partitions.length * partitionMaxBytes;
    const topics = [{ topicId, partitions }];
    return frameOf((writer) => {
      writeRequestHeader(writer, fetch, fetchVersion, 0, "bench");
      const request = { maxWaitMs: 500, minBytes: 1, maxBytes, sessionId: 0, sessionEpoch: -1, topics };
      fetch.request.write(writer, request, fetchVersion);
    });
  }

  receive(chunk: Buffer, answered: (answer: Answer) => void): void {
    this.#answered = answered;
    let at = 0;
    while (at < chunk.length) {
      if ("skip" in this.#wish) {
        const size = Math.min(this.#wish.skip - this.#skipped, chunk.length - at);
        this.#skipped += size;
        at += size;
        if (this.#skipped === this.#wish.skip) this.#fulfil(this.#taken);
      } else {
        const size = Math.min(this.#wish.take - this.#takenBytes, chunk.length - at);
        chunk.copy(this.#taken, this.#takenBytes, at, at + size);
        this.#takenBytes += size;
        at += size;
        if (this.#takenBytes === this.#wish.take) this.#fulfil(this.#taken);
      }
    }
  }

  #fulfil(bytes: Buffer): void {
    this.#takenBytes = 0;
    this.#skipped = 0;
    this.#wish = this.#reader.next(bytes).value;
  }

  /** The layout of an answer, with one topic and few partitions, so that each count is one byte. */
  *#read(): Generator<Wish, never, Buffer> {
    for (;;) {
      // length 0, correlation id 4, tags 8, throttle time 9, error 13, session 15, topics 19, topic id 20, partitions 36
      const head = yield { take: 37 };
      const correlationId = head.readInt32BE(4);
      expectNoError(head.readInt16BE(13));
      const partitions = (head[36] ?? 1) - 1;
      let bytes = 0;
      for (let count = 0; count < partitions; count++) bytes += yield* this.#readPartition();
      yield { take: 2 };
      const records = Math.floor(bytes / this.#plan.batchBytes) * this.#plan.recordsPerBatch;
      this.#answered({ correlationId, records, bytes });
    }
  }

  *#readPartition(): Generator<Wish, number, Buffer> {
    // index 0, error 4, high watermark 6, last stable 14, log start 22, aborted 30, preferred replica 31
    const head = yield { take: 35 };
    const partition = head.readInt32BE(0);
    expectNoError(head.readInt16BE(4));
    let size = 0;
    for (let shift = 0; ; shift += 7) {
      const [byte = 0] = yield { take: 1 };
      size |= (byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    size -= 1;
    if (size > 0) yield { skip: size };
    yield { take: 1 };
    this.#advance(partition, size);
    return size;
  }

  /** The last batch may have come in part only. */
  #advance(partition: number, size: number): void {
    const batches = Math.floor(Math.max(0, size) / this.#plan.batchBytes);
    this.#offsets.set(partition, this.#after(partition, this.#offsets.get(partition) ?? 0, batches));
  }
}

/** Begins again at the end of what the plan says. */
function endlessly({
  batchesPerPartition,
  recordsPerBatch,
}: FetchPlan): (partition: number, offset: number, batches: number) => number {
  return (partition, offset, batches) => {
    if (batches === 0) fail(`partition ${partition} answered nothing at ${offset}`);
    const next = offset + batches * recordsPerBatch;
    return next >= batchesPerPartition * recordsPerBatch ? 0 : next;
  };
}

/** The consumer at the end of the log: a batch of a partition arrives in the order in which it was sent. */
class Tail {
  readonly #sentMs: readonly number[][];
  readonly #meter: Meter;

  constructor(partitions: number, meter: Meter) {
    this.#sentMs = Array.from({ length: partitions }, () => []);
    this.#meter = meter;
  }

  sent(partition: number, sentMs: number): void {
    this.#sentMs[partition]?.push(sentMs);
  }

  conversation(
    { topicId, startOffsets }: TailPlan,
    { recordsPerBatch }: ProducePlan,
    batchBytes: number,
  ): Conversation {
    const plan = { topicId, partitionMaxBytes: 1024 * 1024, batchBytes, recordsPerBatch, keepsBytes: true };
    const offsets = new Map(startOffsets.map((offset, partition) => [partition, offset]));
    return new Fetching(plan, offsets, (partition, offset, batches) => {
      const nowMs = performance.now();
      for (const sentMs of this.#sentMs[partition]?.splice(0, batches) ?? []) this.#meter.countTail(nowMs - sentMs);
      return offset + batches * recordsPerBatch;
    });
  }
}

// --- The run ---------------------------------------------------------------------------------------------------------

function fetchConnections(plan: FetchPlan): Connection[] {
  const all = Array.from({ length: plan.partitions }, (_, partition) => partition);
  return Array.from({ length: plan.connections }, (_, index) => {
    const own = all.filter((each) => each % plan.connections === index);
    const offsets = new Map(own.map((partition) => [partition, 0]));
    return new Connection(plan.port, new Fetching(plan, offsets, endlessly(plan)), meter);
  });
}

function produceConnections(plan: ProducePlan): Connection[] {
  installNodeAccelerators();
  const batches = batchesOf(plan);
  const [{ length: batchBytes } = Buffer.alloc(0)] = batches;
  const frames = produceFrames(plan, batches);
  const stride = Math.ceil(plan.partitions / plan.connections);
  const tail = new Tail(plan.partitions, meter);
  const onSent = plan.tail === undefined ? () => undefined : tail.sent.bind(tail);
  const producing = Array.from({ length: plan.connections }, (_, index) => {
    return new Connection(plan.port, new Producing(plan, frames, batchBytes, index * stride, onSent), meter);
  });
  if (plan.tail !== undefined) {
    const silent = {
      count: () => undefined,
      get isEnded() {
        return meter.isEnded;
      },
    };
    const consumer = new Connection(plan.port, tail.conversation(plan.tail, plan, batchBytes), silent);
    consumer.start(1);
    alsoOpen.push(consumer);
  }
  return producing;
}

function frameOf(write: (writer: ByteWriter) => void): Buffer {
  const writer = new ByteWriter();
  write(writer);
  // Nothing of a request lies outside of memory.
  return Buffer.concat(writer.finishFrame() as readonly Buffer[]);
}

function expectNoError(code: number): void {
  if (code !== ErrorCode.NONE) fail(`the broker answered ${errorName(code)}`);
}

function print(event: LoadEvent): void {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}

function fail(reason: string): never {
  console.error(reason);
  process.exit(1);
}

function finish(): void {
  for (const connection of [...connections, ...alsoOpen]) connection.close();
}

const plan = JSON.parse(process.argv[2] ?? "null") as LoadPlan;
const meter = new Meter(plan);
const alsoOpen: Connection[] = [];
const connections = plan.kind === "fetch" ? fetchConnections(plan) : produceConnections(plan);
const rate = plan.kind === "produce" ? plan.requestsPerSecond : undefined;
for (const connection of connections) {
  if (rate === undefined) connection.start(plan.inFlight);
  else connection.startPaced(plan.inFlight, (1000 * connections.length) / rate);
}
setTimeout(() => meter.begin(), plan.warmUpMs).unref();
