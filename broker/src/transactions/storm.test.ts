import { Prng } from "@millrace/base/prng";
import { expect, test } from "vitest";
import { findingsOf } from "../../test/transaction-findings.ts";
import type { Told } from "../../test/transaction-findings.ts";
import { internalTopics, TestCluster } from "../../test/test-cluster.ts";
import type { Fate, Passing } from "../../test/test-cluster.ts";
import { TestProducer } from "../../test/transactional-producer.ts";
import type { Outcome } from "./transaction.ts";

const { transactionsTopic, offsetsTopic } = internalTopics;
const stormsCount = Number(process.env["TRANSACTION_STORMS"] ?? 12);
const topics = { [transactionsTopic]: [1, 2], [offsetsTopic]: [3], orders: [1, 2, 3, 1] };
const settings = { "transaction.state.log.num.partitions": "2", "offsets.topic.num.partitions": "1" };
const transactionsEach = 6;

/** Four producers, two of each version, while leaders and coordinators move, brokers hear of it late, and requests between them are lost. */
async function storm(seed: number): Promise<readonly string[]> {
  const prng = new Prng(seed);
  const cluster = await TestCluster.open({ topics, settings });
  cluster.latencyMs = prng.between(0, 3);
  cluster.fateOf = (passing) => fate(prng, passing);
  const told = new Map<string, Told>();
  let isOver = false;
  let count = 0;

  const produce = async (id: string, version: 1 | 2): Promise<void> => {
    const producer = new TestProducer(cluster, id, version);
    await producer.init();
    for (let left = transactionsEach; left > 0; left--) {
      const number = ++count;
      const name = `t${number}`;
      const places = prng.shuffle([0, 1, 2, 3]).slice(0, prng.between(1, 4));
      for (const partition of places) await producer.send("orders", partition, name);
      const hasOffset = prng.chance(0.5);
      if (hasOffset) await producer.commitOffset(`g-${id}`, "orders", number);
      const outcome: Outcome = prng.chance(0.5) ? "commit" : "abort";
      const named = [...places.map((partition) => `orders-${partition}`), ...(hasOffset ? [`${offsetsTopic}-0`] : [])];
      told.set(name, { outcome, places: named });
      await producer.end(outcome);
    }
    await producer.settled();
  };

  const moveSomething = (): void => {
    if (isOver) return;
    const [topic, index] = prng.pick([
      ...[0, 1].map((partition) => [transactionsTopic, partition] as const),
      [offsetsTopic, 0] as const,
      ...[0, 1, 2, 3].map((partition) => ["orders", partition] as const),
    ]);
    const leader = cluster.leaderOf(topic, index);
    // A coordinator that does not know that it was replaced refuses by what it knew, as Apache Kafka's does: its producer would not go on.
    const deaf = [1, 2, 3].filter((id) => prng.chance(0.3) && !(topic === transactionsTopic && id === leader));
    cluster.move(topic, index, prng.chance(0.1) ? -1 : prng.between(1, 3), { deaf });
    for (const id of deaf) cluster.clock.schedule(prng.between(1, 200), () => cluster.broker(id).learn());
    cluster.clock.schedule(prng.between(1, 150), moveSomething);
  };
  /** Nobody stays without a leader. */
  const mend = (): void => {
    if (isOver) return;
    for (const { name, partitions } of cluster.topics())
      for (const { index, leader } of partitions) if (leader === -1) cluster.move(name, index, prng.between(1, 3));
    cluster.clock.schedule(300, mend);
  };
  const arrive = (): void => {
    for (const late of cluster.late.splice(0)) if (prng.chance(0.5)) void late();
    if (!isOver) cluster.clock.schedule(prng.between(10, 400), arrive);
  };
  moveSomething();
  mend();
  arrive();
  const producers = ["a", "b", "c", "d"].map((id, at) => produce(id, at % 2 === 0 ? 1 : 2));
  await cluster.run(Promise.all(producers), 600_000);
  isOver = true;
  await cluster.clock.advance(5_000);
  return findingsOf(cluster, told);
}

/**
 * Of version 1 no marker is late: its epoch is that of the next transaction too, and where the coordinator is the same nothing tells a marker
 * that was sent twice from the one of the next transaction. KIP-890 is there for that.
 */
function fate(prng: Prng, { api, body }: Passing): Fate {
  const roll = prng.fraction();
  if (roll < 0.08) return "is lost";
  if (roll < 0.16) return "answer is lost";
  if (roll > 0.22) return "arrives";
  const { markers } = body as { readonly markers?: readonly { readonly transactionVersion: number }[] };
  const isSafe =
    api !== "WriteTxnMarkers" || (markers ?? []).every(({ transactionVersion }) => transactionVersion === 2);
  return isSafe ? "is late" : "is lost";
}

test("whatever moves and is lost, every transaction ends everywhere as its producer was told", async () => {
  const firstSeed = Number(process.env["TRANSACTION_SEED"] ?? Math.floor(Math.random() * 2 ** 32));
  for (let seed = firstSeed; seed < firstSeed + stormsCount; seed++) {
    const findings = await storm(seed).catch((error: unknown) => [String(error)]);
    expect(findings, `TRANSACTION_SEED=${seed} npm test -- --project broker transactions/storm`).toEqual([]);
  }
});
