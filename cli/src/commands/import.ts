import { resolve } from "node:path";
import { nodeWorld } from "@millrace/base/node/node-world";
import { importFromKafka } from "@millrace/broker/import/import-kafka";
import { installNodeAccelerators } from "kafka-protocol-ts/node";
import type { ImportOptions } from "../program.ts";

const defaultNodeId = 1;

/** Makes a data directory of a stopped Apache Kafka's log directories, and says how to start on it. */
export async function importDirectories({ fromKafka, to, dropUnsupported }: ImportOptions): Promise<void> {
  installNodeAccelerators();
  const print = (line: string): void => void process.stdout.write(`${line}\n`);
  const report = await importFromKafka({
    world: nodeWorld(),
    from: fromKafka.map((path) => resolve(path)),
    to: resolve(to),
    dropsUnsupported: dropUnsupported ?? false,
  });
  const { clusterId, nodeId, topics, partitions, bytes } = report;
  for (const note of report.notes) print(`note: ${note}`);
  for (const left of report.dropped) print(`left behind: ${left}`);
  print(`imported cluster ${clusterId}, node ${nodeId}: ${topics} topics, ${partitions} partitions, ${bytes} bytes`);
  print(`start it with: millrace start --data ${to}${nodeId === defaultNodeId ? "" : ` --set node.id=${nodeId}`}`);
}
