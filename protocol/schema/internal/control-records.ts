import type { FieldSchema, MessageSchema } from "../../src/schema.ts";

const leaderChangeMessageVoter: readonly FieldSchema[] = [
  { name: "voterId", type: "int32" },
  { name: "voterDirectoryId", type: "uuid", since: 1 },
];

/** Keys and values of control records. The int16 version in front of each is not part of them. */
export const controlRecords: readonly MessageSchema[] = [
  { name: "ControlRecordTypeSchema", versions: [0, 0], flexibleFrom: null, fields: [
    { name: "type", type: "int16" },
  ] },
  { name: "EndTxnMarker", versions: [0, 0], flexibleFrom: null, fields: [
    { name: "coordinatorEpoch", type: "int32" },
  ] },
  { name: "LeaderChangeMessage", versions: [0, 1], flexibleFrom: 0, fields: [
    { name: "version", type: "int16" },
    { name: "leaderId", type: "int32" },
    { name: "voters", type: "array", struct: "Voter", of: leaderChangeMessageVoter },
    { name: "grantingVoters", type: "array", struct: "Voter", of: leaderChangeMessageVoter },
  ] },
  { name: "SnapshotHeaderRecord", versions: [0, 0], flexibleFrom: 0, fields: [
    { name: "version", type: "int16" },
    { name: "lastContainedLogTimestamp", type: "int64" },
  ] },
  { name: "SnapshotFooterRecord", versions: [0, 0], flexibleFrom: 0, fields: [
    { name: "version", type: "int16" },
  ] },
  { name: "KRaftVersionRecord", versions: [0, 0], flexibleFrom: 0, fields: [
    { name: "version", type: "int16" },
    { name: "kRaftVersion", type: "int16" },
  ] },
  { name: "VotersRecord", versions: [0, 0], flexibleFrom: 0, fields: [
    { name: "version", type: "int16" },
    { name: "voters", type: "array", struct: "Voter", of: [
      { name: "voterId", type: "int32" },
      { name: "voterDirectoryId", type: "uuid" },
      { name: "endpoints", type: "array", struct: "Endpoint", of: [
        { name: "name", type: "string" },
        { name: "host", type: "string" },
        { name: "port", type: "uint16" },
      ] },
      { name: "kRaftVersionFeature", type: "struct", struct: "KRaftVersionFeature", of: [
        { name: "minSupportedVersion", type: "int16" },
        { name: "maxSupportedVersion", type: "int16" },
      ] },
    ] },
  ] },
];
