import type { Codec } from "kafka-protocol-ts/api";
import { type AnyMessage, interpreted } from "kafka-protocol-ts/interpret";
import { produce, type ProduceRequestInput } from "kafka-protocol-ts/messages/00-produce";
import { fetch, type FetchRequestInput, type FetchResponseInput } from "kafka-protocol-ts/messages/01-fetch";
import { metadata, type MetadataResponseInput } from "kafka-protocol-ts/messages/03-metadata";
import { heartbeat, type HeartbeatRequestInput } from "kafka-protocol-ts/messages/12-heartbeat";
import { ByteReader } from "kafka-protocol-ts/reader";
import { requestSchema, responseSchema } from "kafka-protocol-ts/schema";
import { ByteWriter } from "kafka-protocol-ts/writer";
import * as fetchSchema from "../protocol/schema/01-fetch.ts";
import * as heartbeatSchema from "../protocol/schema/12-heartbeat.ts";
import * as metadataSchema from "../protocol/schema/03-metadata.ts";
import * as produceSchema from "../protocol/schema/00-produce.ts";
import { subjects } from "../protocol/test/codecs.ts";
import { measure, printLine } from "./measure.ts";

/** A message, and the two ways in which it is read and written. */
interface Case {
  readonly what: string;
  readonly version: number;
  readonly message: AnyMessage;
  readonly generated: Codec<AnyMessage>;
  readonly interpreted: Codec<AnyMessage>;
}

const many = <T>(count: number, make: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, index) => make(index));

const fetchPartition = (partition: number): FetchRequestInput["topics"][number]["partitions"][number] => ({
  partition,
  currentLeaderEpoch: 3,
  fetchOffset: 5_000_000_000 + partition,
  partitionMaxBytes: 1_048_576,
});

const largeFetch: FetchRequestInput = {
  maxWaitMs: 500,
  minBytes: 1,
  topics: many(5, (topic) => ({ topic: `orders-topic-${topic}`, partitions: many(20, fetchPartition) })),
};

const smallFetch: FetchRequestInput = {
  maxWaitMs: 500,
  minBytes: 1,
  topics: [{ topic: "orders", partitions: [fetchPartition(0)] }],
};

const fetchWithIds: FetchRequestInput = {
  ...largeFetch,
  topics: largeFetch.topics.map(({ partitions }, topic) => ({ topicId: `orders_topic_${topic}_______A`, partitions })),
};

const fetched: FetchResponseInput = {
  throttleTimeMs: 0,
  responses: many(5, (topic) => ({
    topicId: `orders_topic_${topic}_______A`,
    partitions: many(20, (partitionIndex) => ({
      partitionIndex,
      errorCode: 0,
      highWatermark: 5_000_000_000,
      abortedTransactions: null,
      records: { sizeBytes: 0 },
    })),
  })),
};

const batch = Buffer.alloc(61_440, 7);
const produced: ProduceRequestInput = {
  acks: -1,
  timeoutMs: 30_000,
  topicData: [{ name: "orders", partitionData: many(6, (index) => ({ index, records: batch })) }],
};

const described: MetadataResponseInput = {
  brokers: many(3, (nodeId) => ({ nodeId, host: "127.0.0.1", port: 9092 + nodeId, rack: null })),
  clusterId: "millrace-cluster-00000",
  controllerId: 0,
  topics: many(50, (topic) => ({
    errorCode: 0,
    name: `orders-topic-${topic}`,
    topicId: `orders_topic_${String(topic).padStart(3, "0")}_____A`,
    partitions: many(12, (partitionIndex) => ({
      errorCode: 0,
      partitionIndex,
      leaderId: 0,
      replicaNodes: [0, 1, 2],
      isrNodes: [0, 1, 2],
      offlineReplicas: [],
    })),
  })),
};

const beat: HeartbeatRequestInput = {
  groupId: "orders-group",
  generationId: 4,
  memberId: "consumer-1-3f5c1d",
  groupInstanceId: null,
};

const [fetchRequest, fetchResponse] = [requestSchema(fetchSchema.fetch), responseSchema(fetchSchema.fetch)];
const cases: readonly Case[] = [
  given("FetchRequest, 5 topics x 20 partitions", 11, largeFetch, fetch.request, fetchRequest),
  given("FetchRequest, 5 topics x 20 partitions", 12, largeFetch, fetch.request, fetchRequest),
  given("FetchRequest, 5 topics x 20 partitions", 17, fetchWithIds, fetch.request, fetchRequest),
  given("FetchRequest, 1 partition", 12, smallFetch, fetch.request, fetchRequest),
  given("FetchResponse, 5 topics x 20 partitions, no records", 17, fetched, fetch.response, fetchResponse),
  given("ProduceRequest, 6 partitions x 60 KB", 9, produced, produce.request, requestSchema(produceSchema.produce)),
  given(
    "MetadataResponse, 50 topics x 12 partitions",
    12,
    described,
    metadata.response,
    responseSchema(metadataSchema.metadata),
  ),
  given("HeartbeatRequest", 4, beat, heartbeat.request, requestSchema(heartbeatSchema.heartbeat)),
];

function given<Read, Input>(
  what: string,
  version: number,
  message: Input,
  generated: Codec<Read, Input>,
  schema: Parameters<typeof interpreted>[0],
): Case {
  return {
    what,
    version,
    message: message as AnyMessage,
    generated: generated as unknown as Codec<AnyMessage>,
    interpreted: interpreted(schema),
  };
}

/** `npm run bench -- codec`: generated code against the interpreter, after everything else went through the same readers and writers. */
export async function run(): Promise<void> {
  await warmUp();
  for (const { what, version, message, ...ways } of cases) {
    const bytes = Buffer.concat(
      written(ways.generated, message, version).map((part) => (part instanceof Uint8Array ? part : Buffer.alloc(0))),
    );
    for (const [way, codec] of Object.entries(ways)) {
      const decode = measure(() => codec.read(new ByteReader(bytes), version));
      const encode = measure(() => written(codec, message, version));
      printLine({
        bench: "codec",
        what,
        version,
        sizeBytes: bytes.length,
        way,
        decodeUs: decode.medianUs,
        decodeBestUs: decode.bestUs,
        encodeUs: encode.medianUs,
        encodeBestUs: encode.bestUs,
      });
    }
  }
}

function written(codec: Codec<AnyMessage>, message: AnyMessage, version: number): ReturnType<ByteWriter["finish"]> {
  const writer = new ByteWriter(2048);
  codec.write(writer, message, version);
  return writer.finish();
}

/** Every message passes once, so that no reader or writer has seen one kind only, as in a broker. */
async function warmUp(): Promise<void> {
  const zeros = Buffer.alloc(4096);
  for (const { schema, ...ways } of await subjects()) {
    for (const codec of [ways.generated, ways.interpreted]) {
      for (let left = 50; left > 0; left--) {
        const message = readOrNull(codec, zeros, schema.versions[1]);
        if (message !== null) written(codec, message, schema.versions[1]);
      }
    }
  }
}

function readOrNull(codec: Codec<AnyMessage>, bytes: Buffer, version: number): AnyMessage | null {
  try {
    return codec.read(new ByteReader(bytes), version);
  } catch {
    return null;
  }
}

if (import.meta.main) await run();
