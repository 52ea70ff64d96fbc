import { once } from "node:events";
import { createConnection } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Api } from "kafka-protocol-ts/api";
import { ErrorCode, errorName } from "kafka-protocol-ts/errors";
import { readResponseHeader, writeRequestHeader } from "kafka-protocol-ts/header";
import { listOffsets } from "kafka-protocol-ts/messages/02-list-offsets";
import { metadata } from "kafka-protocol-ts/messages/03-metadata";
import { createTopics } from "kafka-protocol-ts/messages/19-create-topics";
import { deleteTopics } from "kafka-protocol-ts/messages/20-delete-topics";
import { incrementalAlterConfigs } from "kafka-protocol-ts/messages/44-incremental-alter-configs";
import { ByteReader } from "kafka-protocol-ts/reader";
import { ByteWriter } from "kafka-protocol-ts/writer";

/** One request on a connection of its own: what a bench asks of a broker before it begins. */
export async function ask<Req, Res, ReqInput, ResInput>(
  port: number,
  api: Api<Req, Res, ReqInput, ResInput>,
  version: number,
  request: ReqInput,
): Promise<Res> {
  const writer = new ByteWriter();
  writeRequestHeader(writer, api, version, 1, "bench");
  api.request.write(writer, request, version);
  const socket = createConnection({ port, host: "127.0.0.1" });
  try {
    await once(socket, "connect");
    socket.write(Buffer.concat(writer.finishFrame() as readonly Buffer[]));
    let answer = Buffer.alloc(0);
    for await (const chunk of socket) {
      answer = Buffer.concat([answer, chunk as Buffer]);
      if (answer.length >= 4 && answer.length >= 4 + answer.readInt32BE(0)) break;
    }
    const reader = new ByteReader(answer, 4);
    readResponseHeader(reader, api, version);
    return api.response.read(reader, version);
  } finally {
    socket.destroy();
  }
}

/** Answers the topic's id when every partition is served. */
export async function createTopic(
  port: number,
  name: string,
  numPartitions: number,
  configs: Readonly<Record<string, string>> = {},
): Promise<string> {
  const entries = Object.entries(configs).map(([key, value]) => ({ name: key, value }));
  const topics = [{ name, numPartitions, replicationFactor: 1, assignments: [], configs: entries }];
  const created = await ask(port, createTopics, 7, { topics, timeoutMs: 60_000 });
  for (const { errorCode, errorMessage } of created.topics) {
    if (errorCode !== ErrorCode.NONE) throw new Error(`create ${name}: ${errorName(errorCode)} ${errorMessage}`);
  }
  for (let attempt = 0; attempt < 1_200; attempt++) {
    const { topics: described } = await ask(port, metadata, 12, { topics: [{ name, topicId: zeroId }] });
    if (await isServed(port, name, numPartitions)) return described[0]?.topicId ?? zeroId;
    await sleep(50);
  }
  throw new Error(`${name} is not served`);
}

/** A leader may be named before it has opened its log, so it is asked for something that only the log knows. */
async function isServed(port: number, name: string, numPartitions: number): Promise<boolean> {
  const partitions = Array.from({ length: numPartitions }, (_, partitionIndex) => ({ partitionIndex, timestamp: -1 }));
  const { topics } = await ask(port, listOffsets, 7, { replicaId: -1, topics: [{ name, partitions }] });
  const answers = topics.flatMap((topic) => topic.partitions);
  return answers.length === numPartitions && answers.every(({ errorCode }) => errorCode === ErrorCode.NONE);
}

const zeroId = "AAAAAAAAAAAAAAAAAAAAAA";

/** Where each partition of the topic ends. */
export async function endOffsets(port: number, name: string, numPartitions: number): Promise<number[]> {
  const partitions = Array.from({ length: numPartitions }, (_, partitionIndex) => ({ partitionIndex, timestamp: -1 }));
  const { topics } = await ask(port, listOffsets, 7, { replicaId: -1, topics: [{ name, partitions }] });
  const offsets = new Map(topics[0]?.partitions.map(({ partitionIndex, offset }) => [partitionIndex, offset]));
  return partitions.map(({ partitionIndex }) => offsets.get(partitionIndex) ?? 0);
}

export async function setTopicConfigs(
  port: number,
  resourceName: string,
  values: Readonly<Record<string, string>>,
): Promise<void> {
  const configs = Object.entries(values).map(([name, value]) => ({ name, configOperation: 0, value }));
  const resources = [{ resourceType: 2, resourceName, configs }];
  const { responses } = await ask(port, incrementalAlterConfigs, 1, { resources, validateOnly: false });
  for (const { errorCode, errorMessage } of responses) {
    if (errorCode !== ErrorCode.NONE)
      throw new Error(`configs of ${resourceName}: ${errorName(errorCode)} ${errorMessage}`);
  }
}

export async function deleteTopic(port: number, name: string): Promise<void> {
  await ask(port, deleteTopics, 6, { topics: [{ name, topicId: zeroId }], timeoutMs: 60_000 });
}
