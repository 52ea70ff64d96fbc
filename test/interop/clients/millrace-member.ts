import { Cluster } from "@millrace/client";
import { createMembership } from "@millrace/client/consumer/membership/create-membership";
import type { Owner } from "@millrace/client/consumer/membership/membership";
import type { MembershipOptions } from "@millrace/client/consumer/membership/options";
import type { TopicPartition } from "@millrace/client/topic-partition";
import { parseAddress } from "@millrace/client/network/address";
import type { MemberLog } from "./members.ts";
import { runMembers } from "./members.ts";

/**
 * Members of our own client that own partitions and read nothing: what a group gives and takes is all that is logged. The
 * mode "mixed" offers both assignors, as in a rolling change from the one to the other.
 */
const waysOf: Readonly<Record<string, Partial<MembershipOptions>>> = {
  default: {},
  eager: { assignors: ["range"] },
  cooperative: { assignors: ["cooperative-sticky"] },
  mixed: { assignors: ["cooperative-sticky", "range"] },
  static: { assignors: ["range"] },
  consumer: { protocol: "consumer" },
};

class LoggingOwner implements Owner {
  readonly #log: MemberLog;
  readonly #owned = new Map<number, TopicPartition>();

  constructor(log: MemberLog) {
    this.#log = log;
  }

  owned(): readonly TopicPartition[] {
    return [...this.#owned.values()];
  }

  async assign(partitions: readonly TopicPartition[]): Promise<void> {
    for (const each of partitions) this.#owned.set(each.partition, each);
    this.#log.tell({ event: "assigned", partitions: partitions.map(({ partition }) => partition) });
  }

  async revoke(partitions: readonly TopicPartition[]): Promise<void> {
    this.#give("revoked", partitions);
  }

  async lost(partitions: readonly TopicPartition[]): Promise<void> {
    this.#give("lost", partitions);
  }

  failed(error: Error): void {
    this.#log.tell({ event: "failed", error: error.message });
  }

  #give(event: "revoked" | "lost", partitions: readonly TopicPartition[]): void {
    for (const { partition } of partitions) this.#owned.delete(partition);
    this.#log.tell({ event, partitions: partitions.map(({ partition }) => partition) });
  }
}

await runMembers(async ({ bootstrap, topic, group, mode, name }, log) => {
  const { host, port } = parseAddress(bootstrap);
  const cluster = new Cluster({ brokers: [`${host}:${port}`], clientId: name });
  const membership = createMembership(
    cluster.wire,
    {
      groupId: group,
      subscription: { topics: [topic], pattern: null },
      sessionTimeoutMs: 6_000,
      heartbeatIntervalMs: 500,
      ...waysOf[mode],
      ...(name.startsWith("static-") ? { instanceId: name } : {}),
    },
    new LoggingOwner(log),
  );
  membership.start();
  return async () => {
    await membership.leave();
    await cluster.close();
  };
});
