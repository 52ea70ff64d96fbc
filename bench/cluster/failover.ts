import { median } from "../statistics.ts";
import type { ClusterBench, Extent, Line, Measured } from "./bench.ts";
import { compare, longestGap, startJavaFlow, startOwnFlow, untilAcked } from "./flows.ts";
import type { Flow } from "./flows.ts";
import { atMost, figures, maxOf, sumOf } from "./judging.ts";
import type { Subject } from "./subject.ts";

const recordsPerSecond = 100;
const warmAcks = 150;
const medianMsMax = 1_500;
const worstMsMax = 3_000;
const flowNames = ["oursMs", "javaMs"] as const;

/**
 * From the kill -9 of a partition's leader to the next acknowledgement under acks=all, as a producer sees it that sends all the
 * time: ours and Java's. In every other round the leader is the active controller, too.
 */
export const measureFailover: ClusterBench = { visits: 2, rounds: 4, seconds: 0, visit, judge };

async function visit(subject: Subject, { rounds }: Extent): Promise<Measured> {
  const measured = {
    ...{ oursMs: [] as number[], javaMs: [] as number[], leaderMs: [] as number[], controllerMs: [] as number[] },
    ...{ lost: [] as number[], duplicated: [] as number[], failed: [] as number[] },
  };
  for (let round = 0; round < rounds; round++) {
    const topic = `failover-${round}`;
    const active = await subject.activeController();
    const isController = round % 2 === 1;
    const victim = isController ? active : (subject.nodes.nodeIds.find((nodeId) => nodeId !== active) ?? 1);
    await subject.createTopic(topic, victim);
    const place = { brokers: subject.nodes.addresses, topic, partitions: 1, recordsPerSecond };
    await using ours = startOwnFlow(place);
    await using java = startJavaFlow(place);
    await untilAcked([ours, java], warmAcks);
    const killedMs = performance.now();
    await subject.nodes.kill(victim);
    await Promise.all([ours, java].map(async (flow) => await untilRecovered(flow, killedMs)));
    await subject.nodes.start(victim);
    for (const [flow, of] of [
      [ours, measured.oursMs],
      [java, measured.javaMs],
    ] as const) {
      const recoveredMs = longestGap(flow.acks, killedMs).endsAtMs - killedMs;
      of.push(recoveredMs);
      (isController ? measured.controllerMs : measured.leaderMs).push(recoveredMs);
    }
    await Promise.all([ours.end(), java.end()]);
    await subject.inSync([topic]);
    const { lost, duplicated } = await compare(subject.nodes.addresses, topic, [ours, java]);
    measured.lost.push(lost);
    measured.duplicated.push(duplicated);
    measured.failed.push(ours.failures.length + java.failures.length);
  }
  return measured;
}

/** What was answered before the kill may still be on its way: so many acknowledgements are more than that. */
async function untilRecovered(flow: Flow, killedMs: number): Promise<void> {
  const before = flow.acks.length;
  await untilAcked([flow], warmAcks);
  const { ms } = longestGap(flow.acks, killedMs);
  if (ms === 0) throw new Error(`${flow.name} noticed nothing: ${flow.acks.length - before}`);
}

function judge(ours: Measured | null, kafka: Measured | null): Line {
  const line: Line = {
    ...figures("millrace", ours, [...flowNames, "leaderMs", "controllerMs"]),
    ...figures("kafka", kafka, [...flowNames, "leaderMs", "controllerMs"]),
  };
  for (const what of flowNames) {
    const values = ours?.[what] ?? [];
    if (values.length === 0) continue;
    line[`${what}MedianBar`] = atMost(median(values), medianMsMax, "ms");
    line[`${what}MaxBar`] = atMost(Math.max(...values), worstMsMax, "ms");
    const theirs = kafka?.[what] ?? [];
    if (theirs.length > 0) line[`${what}KafkaBar`] = atMost(median(values), median(theirs), "ms");
  }
  const whats = ["lost", "duplicated", "failed"];
  line["millraceLostOrTwice"] = sumOf(ours, whats);
  line["kafkaLostOrTwice"] = sumOf(kafka, whats);
  line["rounds"] = Math.max(...[ours, kafka].map((each) => each?.["oursMs"]?.length ?? 0));
  line["worstMs"] = maxOf(ours, flowNames);
  return line;
}
