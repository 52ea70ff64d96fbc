/**
 * DescribeLogDirs v1–v5: each log directory with its volume's size, and the partitions in it with theirs. One that is offline has
 * an error instead. No replica moves between directories: there is no future one, and a leader lags behind nothing.
 */
import { describeLogDirs } from "kafka-protocol-ts/messages/35-describe-log-dirs";
import type {
  DescribeLogDirsRequest,
  DescribeLogDirsResponseInput,
  DescribeLogDirsResponseResultInput,
  DescribeLogDirsResponseTopicInput,
} from "kafka-protocol-ts/messages/35-describe-log-dirs";
import { ErrorCode } from "kafka-protocol-ts/errors";
import type { DirectoryDescription } from "@millrace/storage/log-directories";
import type { PartitionLog } from "@millrace/storage/log";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

type IsWanted = (log: PartitionLog) => boolean;

export const describeLogDirsHandler: Handler = handler(
  describeLogDirs,
  async ({ logs }, { topics }): Promise<DescribeLogDirsResponseInput> => {
    const isWanted = wantedLogs(topics);
    const directories = await logs.describe();
    return {
      throttleTimeMs: 0,
      errorCode: ErrorCode.NONE,
      results: directories.map((directory) => resultOf(directory, isWanted)),
    };
  },
);

/** Null asks for all. */
function wantedLogs(topics: DescribeLogDirsRequest["topics"]): IsWanted {
  if (topics === null) return () => true;
  const wanted = new Map<string, Set<number>>();
  for (const { topic, partitions } of topics) {
    const indexes = wanted.get(topic) ?? new Set();
    for (const index of partitions) indexes.add(index);
    wanted.set(topic, indexes);
  }
  return ({ topic, partition }) => wanted.get(topic)?.has(partition) === true;
}

function resultOf(directory: DirectoryDescription, isWanted: IsWanted): DescribeLogDirsResponseResultInput {
  if (directory.offline !== null) {
    return { errorCode: ErrorCode.KAFKA_STORAGE_ERROR, logDir: directory.path, topics: [] };
  }
  const { path, totalBytes, usableBytes, logs } = directory;
  const byTopic = Map.groupBy(logs.filter(isWanted), ({ topic }) => topic);
  const topics: DescribeLogDirsResponseTopicInput[] = [];
  for (const [name, ofTopic] of byTopic) {
    const partitions = ofTopic.map(({ partition: partitionIndex, sizeBytes: partitionSize }) => ({
      partitionIndex,
      partitionSize,
      offsetLag: 0,
      isFutureKey: false,
    }));
    topics.push({ name, partitions });
  }
  return { errorCode: ErrorCode.NONE, logDir: path, topics, totalBytes, usableBytes };
}
