import { Cluster } from "@millrace/client";
import { expect, test } from "vitest";
import { isLong } from "./asked.ts";
import { NumberedFlow, until } from "./cluster-flow.ts";
import { MillraceCluster } from "./cluster/millrace-cluster.ts";
import { SmallDisk } from "./cluster/small-disk.ts";
import { ClusterStage, clusterFaultNames } from "./cluster/stage.ts";
import { TransferFlow } from "./cluster/transfers.ts";
import { campaign } from "./histories/campaign.ts";
import { workerFaults } from "./histories/nemesis.ts";
import { skipWhenMissing } from "./journey.ts";
import { allInSync } from "./kafka-cluster.ts";
import { whyMissing } from "./runtimes.ts";

/*
 * Three nodes as processes of their own, each behind proxies: nodes are killed and paused, links between them are cut or fall silent,
 * while clients of Java and librdkafka note what they see (histories/README.md), and ours sends numbers and moves money.
 */

const seconds = isLong ? 180 : 18;
const missing = whyMissing("java") ?? whyMissing("python");
const partitions = 3;

test(
  "clients of three nodes see no anomaly, whatever happens to one of them",
  { timeout: 600_000 },
  async (context) => {
    skipWhenMissing(context, missing);
    const seed = Number(process.env["MILLRACE_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
    console.log(`cluster chaos: seed ${seed} (MILLRACE_SEED=${seed} npm run interop -- cluster-chaos)`);
    await using ours = new AsyncDisposableStack();
    const flows: { numbers?: NumberedFlow; transfers?: TransferFlow } = {};
    const start = async (): Promise<ClusterStage> => {
      const stage = await ClusterStage.start();
      const { addresses } = stage.cluster;
      await using cluster = new Cluster({ brokers: addresses });
      for (const name of ["numbers", "transfers"]) await cluster.admin().topics.create({ name, partitions });
      flows.numbers = ours.use(new NumberedFlow(addresses, { topic: "numbers", partitions }));
      flows.transfers = ours.use(new TransferFlow(addresses, { topic: "transfers", partitions }));
      const healed = stage.healed.bind(stage);
      stage.healed = async () => {
        await healed();
        await flows.numbers?.more(10);
        await flows.numbers?.end();
        await flows.transfers?.end();
        if (flows.numbers !== undefined) await readAll(addresses, flows.numbers);
      };
      return stage;
    };
    const faults = [...clusterFaultNames, ...Object.keys(workerFaults)];
    const report = await campaign({ seed, seconds, target: start, faults });
    console.log(report.faults.join("\n"));
    console.log(report.size, `longest gap ${Math.round(report.longestGapMs)} ms`);
    expect(report.findings, `seed ${seed}; the notes of the clients are in ${report.directory}`).toEqual([]);
    // A run in which nothing happened would find nothing.
    expect(report.size.committed).toBeGreaterThan(10);
    expect(report.size.read).toBeGreaterThan(report.size.acknowledged);
    expect(report.faults.length).toBeGreaterThan(0);
    expect(flows.transfers?.committedCount).toBeGreaterThan(10);
  },
);

test("a node whose disk is full does not stop the others, and comes back when there is space", async (context) => {
  using disk = SmallDisk.mount();
  skipWhenMissing(context, disk === null ? "a small disk (mounting a tmpfs takes root)" : null);
  if (disk === null) return;
  await using cluster = await MillraceCluster.start({
    dataDirectories: new Map([[1, disk.path]]),
    // So that one who cannot follow is not waited for.
    settings: { "replica.lag.time.max.ms": "2000" },
  });
  await using client = new Cluster({ brokers: cluster.addresses, clientId: "test" });
  const admin = client.admin();
  const assignments = [...[1, 2, 3].map((leader) => [leader, (leader % 3) + 1, ((leader + 1) % 3) + 1])];
  await admin.topics.create({ name: "numbers", assignments });
  await using flow = new NumberedFlow(cluster.addresses, { topic: "numbers", partitions });
  await flow.more(50);
  disk.fill();
  await until(
    () => cluster.output.includes("the disk is full"),
    () => `node 1 notices\n${cluster.output}`,
  );
  // What others lead goes on without it.
  const before = flow.acknowledged;
  await until(
    () => [1, 2].every((partition) => (flow.acknowledged[partition] ?? 0) > (before[partition] ?? 0) + 300),
    () => `partitions of other leaders go on: ${String(before)} ${String(flow.acknowledged)}\n${cluster.output}`,
  );
  disk.empty();
  await flow.more(50);
  await flow.end();
  await allInSync(admin, 3);
  await readAll(cluster.addresses, flow);
});

/** Each number is there once, where it was acknowledged, and in its order. */
async function readAll(brokers: readonly string[], flow: NumberedFlow): Promise<void> {
  await using cluster = new Cluster({ brokers, clientId: "numbers-reader" });
  const seen = flow.delivered.map((): number[] => []);
  for await (const { partition, value } of cluster.consumer().records(flow.topic, { from: "earliest", untilEnd: true }))
    seen[partition]?.push(Number(value?.toString()));
  for (const [partition, numbers] of seen.entries())
    expect(numbers, `partition ${partition}`).toEqual(Array.from({ length: flow.counts[partition] ?? 0 }, (_, n) => n));
}
