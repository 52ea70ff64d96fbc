import type { ClusterBench, Extent, Line, Measured } from "./bench.ts";
import { compare, longestGap, startJavaFlow, startOwnFlow, untilAcked } from "./flows.ts";
import { atMost, figures, maxOf, sumOf } from "./judging.ts";
import type { Subject } from "./subject.ts";

const recordsPerSecond = 100;
const warmAcks = 150;
const gapNames = ["oursGapMs", "javaGapMs"] as const;

/**
 * SIGTERM of a partition's leader, in every other round the active controller: how long a producer waits at most between two
 * acknowledgements until the process has ended, and whether any record of a producer that tries again fails.
 */
export const measureControlled: ClusterBench = { visits: 2, rounds: 4, seconds: 0, visit, judge };

async function visit(subject: Subject, { rounds }: Extent): Promise<Measured> {
  const measured = {
    ...{ oursGapMs: [] as number[], javaGapMs: [] as number[], stopMs: [] as number[] },
    ...{ lost: [] as number[], duplicated: [] as number[], failed: [] as number[] },
  };
  for (let round = 0; round < rounds; round++) {
    const topic = `controlled-${round}`;
    const active = await subject.activeController();
    const other = subject.nodes.nodeIds.find((nodeId) => nodeId !== active) ?? 1;
    const victim = round % 2 === 1 ? active : other;
    await subject.createTopic(topic, victim);
    const place = { brokers: subject.nodes.addresses, topic, partitions: 1, recordsPerSecond };
    await using ours = startOwnFlow(place);
    await using java = startJavaFlow(place);
    await untilAcked([ours, java], warmAcks);
    const startMs = performance.now();
    await subject.nodes.stop(victim);
    measured.stopMs.push(performance.now() - startMs);
    await untilAcked([ours, java], warmAcks);
    const endMs = performance.now();
    measured.oursGapMs.push(longestGap(ours.acks, startMs, endMs).ms);
    measured.javaGapMs.push(longestGap(java.acks, startMs, endMs).ms);
    await subject.nodes.start(victim);
    await Promise.all([ours.end(), java.end()]);
    await subject.inSync([topic]);
    const { lost, duplicated } = await compare(subject.nodes.addresses, topic, [ours, java]);
    measured.lost.push(lost);
    measured.duplicated.push(duplicated);
    measured.failed.push(ours.failures.length + java.failures.length);
  }
  return measured;
}

function judge(ours: Measured | null, kafka: Measured | null): Line {
  return {
    ...figures("millrace", ours, [...gapNames, "stopMs"]),
    ...figures("kafka", kafka, [...gapNames, "stopMs"]),
    failedBar: atMost(sumOf(ours, ["failed"]), 0, "records"),
    lostOrTwiceBar: atMost(sumOf(ours, ["lost", "duplicated"]), 0, "records"),
    kafkaFailedLostOrTwice: sumOf(kafka, ["failed", "lost", "duplicated"]),
    longestGapMs: maxOf(ours, gapNames),
    kafkaLongestGapMs: maxOf(kafka, gapNames),
  };
}
