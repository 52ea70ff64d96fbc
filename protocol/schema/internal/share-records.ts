import type { RecordKindSchema } from "../../src/schema.ts";

/** The records of `__share_group_state`. */
export const shareRecords: readonly RecordKindSchema[] = [
  {
    type: 0, name: "shareSnapshot",
    key: { name: "ShareSnapshotKey", versions: [0, 0], flexibleFrom: null, fields: [
      { name: "groupId", type: "string" },
      { name: "topicId", type: "uuid" },
      { name: "partition", type: "int32" },
    ] },
    value: { name: "ShareSnapshotValue", versions: [0, 0], flexibleFrom: 0, fields: [
      { name: "snapshotEpoch", type: "int32" },
      { name: "stateEpoch", type: "int32" },
      { name: "leaderEpoch", type: "int32" },
      { name: "startOffset", type: "int64" },
      { name: "deliveryCompleteCount", type: "int32", tag: 0, default: -1 },
      { name: "createTimestamp", type: "int64" },
      { name: "writeTimestamp", type: "int64" },
      { name: "stateBatches", type: "array", struct: "StateBatch", of: [
        { name: "firstOffset", type: "int64" },
        { name: "lastOffset", type: "int64" },
        { name: "deliveryState", type: "int8" },
        { name: "deliveryCount", type: "int16" },
      ] },
    ] },
  },
  {
    type: 1, name: "shareUpdate",
    key: { name: "ShareUpdateKey", versions: [0, 0], flexibleFrom: null, fields: [
      { name: "groupId", type: "string" },
      { name: "topicId", type: "uuid" },
      { name: "partition", type: "int32" },
    ] },
    value: { name: "ShareUpdateValue", versions: [0, 0], flexibleFrom: 0, fields: [
      { name: "snapshotEpoch", type: "int32" },
      { name: "leaderEpoch", type: "int32" },
      { name: "startOffset", type: "int64" },
      { name: "deliveryCompleteCount", type: "int32", tag: 0, default: -1 },
      { name: "stateBatches", type: "array", struct: "StateBatch", of: [
        { name: "firstOffset", type: "int64" },
        { name: "lastOffset", type: "int64" },
        { name: "deliveryState", type: "int8" },
        { name: "deliveryCount", type: "int16" },
      ] },
    ] },
  },
];
