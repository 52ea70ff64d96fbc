import type { Cluster, ClusterOptions } from "../src/cluster.ts";
import type { ConsumedRecord } from "../src/consumer/consumed-record.ts";
import type { Consumer, Source } from "../src/consumer/consumer.ts";
import type { ConsumerOptions, PositionMoved, ReadOptions } from "../src/consumer/options.ts";
import { FakeCluster } from "./fake-cluster.ts";
import type { FakePartition } from "./fake-cluster.ts";
import { FakeGroupCoordinator } from "./fake-group-coordinator.ts";
import { FakeOffsets } from "./fake-offsets.ts";

export interface GroupWorld {
  readonly fake: FakeCluster;
  readonly coordinator: FakeGroupCoordinator;
  readonly offsets: FakeOffsets;
  readonly partitions: readonly FakePartition[];
}

/** A fake cluster with a topic "orders", its coordinator and its committed offsets. */
export async function groupWorld({
  brokers = 1,
  leaders = [0],
  versions,
}: {
  readonly brokers?: number;
  readonly leaders?: readonly number[];
  readonly versions?: ConstructorParameters<typeof FakeOffsets>[1];
} = {}): Promise<GroupWorld> {
  const fake = await FakeCluster.start({ brokers });
  const partitions = fake.create("orders", leaders);
  return { fake, coordinator: new FakeGroupCoordinator(fake), offsets: new FakeOffsets(fake, versions), partitions };
}

/** Reads records one by one into a list, and writes down what happens. */
export class GroupReader {
  readonly cluster: Cluster;
  readonly consumer: Consumer;
  /** "orders-0@5" */
  readonly seen: string[] = [];
  /** "assigned orders-0", "moved orders-0 out-of-range 5 7" */
  readonly events: string[] = [];
  failure: unknown = null;
  isEnded = false;
  readonly ended: Promise<void>;
  /** Called with each record, and awaited. */
  handle: (record: ConsumedRecord) => void | Promise<void> = () => {};

  constructor(
    { fake }: Pick<GroupWorld, "fake">,
    {
      source = "orders",
      read = {},
      cluster = {},
      ...options
    }: ConsumerOptions & {
      readonly source?: Source;
      readonly read?: ReadOptions;
      readonly cluster?: Partial<ClusterOptions>;
    } = {},
  ) {
    this.cluster = fake.client(cluster);
    this.consumer = this.cluster.consumer({ group: "group", ...options });
    for (const name of ["assigned", "revoked", "lost"] as const) {
      this.consumer.on(name, (partitions) => {
        const keys = partitions.map(({ topic, partition }) => `${topic}-${partition}`).sort();
        this.events.push(`${name} ${keys.join(" ")}`);
      });
    }
    this.consumer.on("moved", ({ topic, partition, reason, before, now }: PositionMoved) => {
      this.events.push(`moved ${topic}-${partition} ${reason} ${before} ${now}`);
    });
    this.consumer.on("trouble", ({ error }) => void this.events.push(`trouble ${error.code}`));
    this.ended = this.#read(source, read);
  }

  /** Without troubles. */
  get story(): readonly string[] {
    return this.events.filter((event) => !event.startsWith("trouble"));
  }

  async #read(source: Source, read: ReadOptions): Promise<void> {
    try {
      for await (const record of this.consumer.records(source, { from: "earliest", ...read })) {
        const { topic, partition, offset } = record as ConsumedRecord;
        this.seen.push(`${topic}-${partition}@${offset}`);
        await this.handle(record as ConsumedRecord);
      }
    } catch (error) {
      this.failure = error;
    }
    this.isEnded = true;
  }
}
