import { Cluster, KafkaError } from "@millrace/client";
import type { ConsumedBatch, ConsumerOptions } from "@millrace/client";
import type { GroupMode } from "../contract.ts";
import type { MemberLog } from "./members.ts";
import { runMembers } from "./members.ts";

/** Members of our own client that read, and commit each batch; those of millrace-member.ts only own. */
const waysOf: Readonly<Record<GroupMode, ConsumerOptions>> = {
  eager: { assignors: ["range"] },
  cooperative: { assignors: ["cooperative-sticky"] },
  static: { assignors: ["range"] },
  consumer: { protocol: "consumer" },
};

await runMembers(async ({ bootstrap, topic, group, mode, name }, log) => {
  const cluster = new Cluster({ brokers: [bootstrap], clientId: name });
  const consumer = cluster.consumer({
    group,
    commit: "manual",
    sessionTimeoutMs: 6_000,
    heartbeatIntervalMs: 500,
    maxWaitMs: 200,
    ...(mode === "static" ? { instanceId: name } : {}),
    ...waysOf[mode],
  });
  for (const event of ["assigned", "revoked", "lost"] as const) {
    consumer.on(event, (partitions) => log.tell({ event, partitions: partitions.map(({ partition }) => partition) }));
  }
  const reading = (async () => {
    for await (const batch of consumer.batches(topic, { from: "earliest" })) await commit(batch, log);
  })().catch((error: unknown) => log.tell({ event: "failed", error: String(error) }));
  return async () => {
    await consumer.close();
    await reading;
    await cluster.close();
  };
});

async function commit(batch: ConsumedBatch, log: MemberLog): Promise<void> {
  const { partition, nextOffset: to, records } = batch;
  log.tell({ event: "records", partition, from: records[0]?.offset ?? to, to });
  log.tell({ event: "committing", offsets: { [partition]: to } });
  try {
    await batch.commit();
    log.tell({ event: "committed", offsets: { [partition]: to } });
  } catch (error) {
    if (!(error instanceof KafkaError) || error.code !== "NOT_ASSIGNED") throw error;
    log.tell({ event: "uncommitted" });
  }
}
