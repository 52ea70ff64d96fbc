export { limitsDefault } from "./core.ts";
export type { ChunkRequest, Limits, RaftEvent, Read } from "./core.ts";
export type { ChunkFate } from "./follower.ts";
export type { Change, Refusal } from "./leader.ts";
export type {
  AppendOutcome,
  Configuration,
  ConfigurationEntry,
  DataEntry,
  EmptyEntry,
  Entry,
  HardState,
  Message,
  MessageOf,
  NodeId,
  SnapshotChunk,
  SnapshotPoint,
} from "./messages.ts";
export { Raft } from "./raft.ts";
export type { RaftOptions, Ready, Status } from "./raft.ts";
