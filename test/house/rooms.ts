/**
 * Who may import whom, and why. A room is one directory at the top of the repository with a `package.json` of its own.
 * Think hard before adding a line: each one is a way in which a change in one room may break another.
 */
export interface Room {
  readonly packageName: string;
  /** The rooms whose modules its sources may import. */
  readonly mayImport: readonly RoomName[];
  /** Of these rooms only these entries. */
  readonly only?: Readonly<Partial<Record<RoomName, readonly string[]>>>;
  /** Why no other: the sentence that a failing test prints. */
  readonly reason: string;
}

export type RoomName = "base" | "protocol" | "raft" | "storage" | "broker" | "client" | "cli" | "simulator";

export const rooms: Readonly<Record<RoomName, Room>> = {
  base: {
    packageName: "@millrace/base",
    mayImport: [],
    reason: "every room stands on base, so base stands on none",
  },
  protocol: {
    packageName: "kafka-protocol-ts",
    mayImport: [],
    reason: "it is published on its own, and its root entry runs in a browser",
  },
  raft: {
    packageName: "raft-ts-lite",
    mayImport: [],
    reason: "it is published on its own, and only computes",
  },
  storage: {
    packageName: "@millrace/storage",
    mayImport: ["base", "protocol"],
    reason: "it knows batches and files; requests, topics and groups are the broker's",
  },
  broker: {
    packageName: "@millrace/broker",
    mayImport: ["base", "protocol", "storage", "raft"],
    reason: "clients and tools reach it over the network only, as they reach any other Kafka broker",
  },
  client: {
    packageName: "@millrace/client",
    mayImport: ["base", "protocol"],
    reason: "it speaks to any Kafka cluster, so it knows nothing of ours but the protocol",
  },
  cli: {
    packageName: "millrace",
    mayImport: ["base", "protocol", "storage", "broker", "client", "simulator"],
    only: { protocol: ["kafka-protocol-ts/node"] },
    reason: "it puts the rooms together; messages it sends through the client and never writes itself",
  },
  simulator: {
    packageName: "@millrace/simulator",
    mayImport: ["base", "protocol", "storage", "broker", "client"],
    reason: "it hosts whole brokers; the command line is not part of a cluster",
  },
};

export const roomNames = Object.keys(rooms) as readonly RoomName[];

/** Beside the room's own table, its tests may use the virtual world, whatever the room. */
export const testsMayImport: readonly RoomName[] = ["simulator"];
