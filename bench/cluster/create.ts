import { setTimeout as sleep } from "node:timers/promises";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { metadata } from "kafka-protocol-ts/messages/03-metadata";
import { createTopics } from "kafka-protocol-ts/messages/19-create-topics";
import { Cluster } from "@millrace/client";
import { ask } from "../ask.ts";
import type { ClusterBench, Extent, Line, Measured } from "./bench.ts";
import { atMost, figures, maxOf } from "./judging.ts";
import type { Subject } from "./subject.ts";

const partitions = 2_000;
const createMsMax = 5_000;
const takeOverMsMax = 2_000;
const pollMs = 10;
const askTimeoutMs = 500;

/**
 * A topic of 2,000 partitions with three replicas each, until every broker names a leader for each of them and a record of the
 * last one is acknowledged; then the active controller is killed, until somebody else has made another topic.
 */
export const measureCreate: ClusterBench = { visits: 2, rounds: 2, seconds: 0, visit, judge };

async function visit(subject: Subject, { rounds }: Extent): Promise<Measured> {
  const createMs: number[] = [];
  const takeOverMs: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const name = `many-${round}`;
    createMs.push(await created(subject, name));
    await subject.inSync([name]);
    const active = await subject.activeController();
    const others = subject.nodes.nodeIds.filter((nodeId) => nodeId !== active);
    await subject.nodes.kill(active);
    takeOverMs.push(
      await decided(
        others.map((nodeId) => subject.nodes.portOf(nodeId)),
        `after-${round}`,
      ),
    );
    await subject.nodes.start(active);
    await subject.inSync([name]);
    // The next one is created in a cluster of the same size.
    await subject.admin.topics.delete([name]);
  }
  return { createMs, takeOverMs };
}

async function created(subject: Subject, name: string): Promise<number> {
  await using cluster = new Cluster({ brokers: subject.nodes.addresses, clientId: "bench-create" });
  await using producer = cluster.producer();
  const startMs = performance.now();
  await subject.admin.topics.create({ name, partitions, replicationFactor: 3 });
  for (const nodeId of subject.nodes.nodeIds) {
    const isKnown = async (): Promise<boolean> => {
      const topics = [{ name, topicId: zeroId }];
      const answer = await ask(subject.nodes.portOf(nodeId), metadata, 12, { topics });
      const found = answer.topics[0]?.partitions ?? [];
      return found.length === partitions && found.every(({ leaderId }) => leaderId >= 0);
    };
    await subject.until(isKnown, `node ${nodeId} knows leaders of all partitions`);
  }
  await producer.send(name, { partition: partitions - 1, value: "x" });
  return performance.now() - startMs;
}

/** One after the other is asked, as an admin client does it, until one has made a topic. */
async function decided(ports: readonly number[], name: string): Promise<number> {
  const startMs = performance.now();
  const topics = [{ name, numPartitions: 1, replicationFactor: 2, assignments: [], configs: [] }];
  for (let attempt = 0; performance.now() - startMs < 60_000; attempt++) {
    const port = ports[attempt % ports.length] ?? 0;
    const asked = ask(port, createTopics, 7, { topics, timeoutMs: askTimeoutMs }).catch(() => null);
    const answer = await Promise.race([asked, sleep(askTimeoutMs, null)]);
    const errorCode = answer?.topics[0]?.errorCode;
    // One that was given up may have been heeded.
    if (errorCode === ErrorCode.NONE || errorCode === ErrorCode.TOPIC_ALREADY_EXISTS)
      return performance.now() - startMs;
    await sleep(pollMs);
  }
  throw new Error("nobody decides anything");
}

function judge(ours: Measured | null, kafka: Measured | null): Line {
  return {
    partitions,
    ...figures("millrace", ours, ["createMs", "takeOverMs"]),
    ...figures("kafka", kafka, ["createMs", "takeOverMs"]),
    createBar: atMost(maxOf(ours, ["createMs"]), createMsMax, "ms"),
    takeOverBar: atMost(maxOf(ours, ["takeOverMs"]), takeOverMsMax, "ms"),
  };
}

const zeroId = "AAAAAAAAAAAAAAAAAAAAAA";
