import type { ClusterBench, Extent, Line, Measured } from "./bench.ts";
import { compare, longestGapOfPartition, startJavaFlow, startOwnFlow, untilAcked } from "./flows.ts";
import { atMost, figures, maxOf, sumOf } from "./judging.ts";
import type { Subject } from "./subject.ts";

const partitions = 6;
/** Of each producer: fifty of each partition. */
const recordsPerSecond = 300;
const warmAcks = 1_000;
const gapNames = ["oursGapMs", "javaGapMs"] as const;

/** One node after the other is stopped and started under load, each when all replicas are in sync again. */
export const measureRolling: ClusterBench = { visits: 1, rounds: 2, seconds: 0, visit, judge };

async function visit(subject: Subject, { rounds }: Extent): Promise<Measured> {
  const measured = {
    ...{ oursGapMs: [] as number[], javaGapMs: [] as number[], restartMs: [] as number[], acked: [] as number[] },
    ...{ lost: [] as number[], duplicated: [] as number[], failed: [] as number[] },
  };
  for (let round = 0; round < rounds; round++) {
    const topic = `rolling-${round}`;
    await subject.admin.topics.create({ name: topic, partitions, replicationFactor: 3 });
    const place = { brokers: subject.nodes.addresses, topic, partitions, recordsPerSecond };
    await using ours = startOwnFlow(place);
    await using java = startJavaFlow(place);
    await untilAcked([ours, java], warmAcks);
    const startMs = performance.now();
    for (const nodeId of subject.nodes.nodeIds) {
      const beganMs = performance.now();
      await subject.nodes.stop(nodeId);
      await subject.nodes.start(nodeId);
      await subject.inSync([topic]);
      measured.restartMs.push(performance.now() - beganMs);
    }
    await untilAcked([ours, java], warmAcks);
    const endMs = performance.now();
    measured.oursGapMs.push(longestGapOfPartition(ours.acks, startMs, endMs));
    measured.javaGapMs.push(longestGapOfPartition(java.acks, startMs, endMs));
    await Promise.all([ours.end(), java.end()]);
    const { acked, lost, duplicated } = await compare(subject.nodes.addresses, topic, [ours, java]);
    measured.acked.push(acked);
    measured.lost.push(lost);
    measured.duplicated.push(duplicated);
    measured.failed.push(ours.failures.length + java.failures.length);
  }
  return measured;
}

function judge(ours: Measured | null, kafka: Measured | null): Line {
  return {
    ...figures("millrace", ours, [...gapNames, "restartMs"]),
    ...figures("kafka", kafka, [...gapNames, "restartMs"]),
    millraceAcked: sumOf(ours, ["acked"]),
    lostBar: atMost(sumOf(ours, ["lost"]), 0, "records"),
    duplicatedBar: atMost(sumOf(ours, ["duplicated"]), 0, "records"),
    failedBar: atMost(sumOf(ours, ["failed"]), 0, "records"),
    kafkaFailedLostOrTwice: sumOf(kafka, ["failed", "lost", "duplicated"]),
    longestGapMs: maxOf(ours, gapNames),
    kafkaLongestGapMs: maxOf(kafka, gapNames),
  };
}
