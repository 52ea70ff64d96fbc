/** What the clients of a run do: the processes, what each holds, and the topics that they share. */

/** Partitions by topic. Nothing may leave them while the run lasts, as the checker of histories demands. */
export const topics: Readonly<Record<string, number>> = { in: 3, mixed: 2, out: 2 };

/** The shortest that a broker allows by default, so that a paused member is replaced within the run. */
export const sessionTimeoutMs = 6_000;

/** For the broker: members of both protocols are given up after the same time. */
export const groupSettings: Readonly<Record<string, string>> = {
  "group.initial.rebalance.delay.ms": "0",
  "group.consumer.min.session.timeout.ms": `${sessionTimeoutMs}`,
  "group.consumer.session.timeout.ms": `${sessionTimeoutMs}`,
  "group.consumer.min.heartbeat.interval.ms": `${sessionTimeoutMs / 5}`,
  "group.consumer.heartbeat.interval.ms": `${sessionTimeoutMs / 5}`,
};

export interface ClientRole {
  readonly role: "idempotent" | "transactional" | "processor" | "member" | "reader" | "final";
  readonly transactionalId?: string;
  readonly group?: string;
  /** Default "classic". */
  readonly protocol?: "classic" | "consumer";
  readonly isolation?: "read_committed" | "read_uncommitted";
  /** What a producer sends to. */
  readonly topics?: readonly string[];
  /** What a member of a group subscribes to. */
  readonly from?: string;
  readonly transactionalIds?: readonly string[];
}

/** Java speaks the second version of transactions (KIP-890), librdkafka the first. */
export type Program = "java" | "librdkafka";

/** One process, by the place that it takes: after its death another with the same roles takes it. */
export interface Slot {
  readonly name: string;
  readonly program: Program;
  readonly clients: Readonly<Record<string, ClientRole>>;
}

const both = ["in", "mixed"];

/**
 * Two members of the group `copy` take records of `in` and send one for each to `out`, in one transaction with their
 * offsets. The groups `note` (classic) and `watch` (KIP-848) only commit.
 */
export const slots: readonly Slot[] = [
  {
    name: "a",
    program: "java",
    clients: {
      tx: { role: "transactional", transactionalId: "tx-a", topics: both },
      copy: { role: "processor", transactionalId: "copy-a", group: "copy", from: "in", topics: ["out"] },
      note: { role: "member", group: "note", from: "mixed" },
    },
  },
  {
    name: "b",
    program: "java",
    clients: {
      tx: { role: "transactional", transactionalId: "tx-b", topics: both },
      copy: { role: "processor", transactionalId: "copy-b", group: "copy", from: "in", topics: ["out"] },
      plain: { role: "idempotent", topics: both },
      watch: { role: "member", group: "watch", protocol: "consumer", from: "in" },
    },
  },
  {
    name: "c",
    program: "java",
    clients: {
      plain: { role: "idempotent", topics: both },
      note: { role: "member", group: "note", from: "mixed" },
      watch: { role: "member", group: "watch", protocol: "consumer", from: "in" },
      reader: { role: "reader", isolation: "read_committed" },
      dirty: { role: "reader", isolation: "read_uncommitted" },
    },
  },
  {
    name: "d",
    program: "librdkafka",
    clients: {
      tx: { role: "transactional", transactionalId: "tx-d", topics: both },
      copy: { role: "processor", transactionalId: "copy-d", group: "copy", from: "in", topics: ["out"] },
    },
  },
];

export function transactionalIdsOf(all: readonly Slot[]): string[] {
  return all.flatMap(({ clients }) => Object.values(clients).flatMap(({ transactionalId }) => transactionalId ?? []));
}
