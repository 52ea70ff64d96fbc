import type { ApiSchema } from "../src/schema.ts";

export const describeLogDirs: ApiSchema = {
  key: 35,
  name: "DescribeLogDirs",
  doc:
    "Tells the size of replicas and of log directories. v4 has the volume's size (KIP-827), v5 whether a " +
    "directory is cordoned (KIP-1066).",
  listeners: ["broker"],
  versions: [1, 5],
  flexibleFrom: 2,
  request: [
    { name: "topics", type: "array", struct: "DescribableLogDirTopic", nullable: true, doc: "Null: all.", of: [
      { name: "topic", type: "string" },
      { name: "partitions", type: "array", of: "int32" },
    ] },
  ],
  response: [
    { name: "throttleTimeMs", type: "int32" },
    { name: "errorCode", type: "int16", since: 3, ignorable: true },
    { name: "results", type: "array", struct: "Result", of: [
      { name: "errorCode", type: "int16" },
      { name: "logDir", type: "string" },
      { name: "topics", type: "array", struct: "Topic", of: [
        { name: "name", type: "string" },
        { name: "partitions", type: "array", struct: "Partition", of: [
          { name: "partitionIndex", type: "int32" },
          { name: "partitionSize", type: "int64" },
          { name: "offsetLag", type: "int64",
            doc: "How far behind the high watermark, or behind the current replica while moving." },
          { name: "isFutureKey", type: "bool", doc: "A copy that is being made and will replace the current one." },
        ] },
      ] },
      { name: "totalBytes", type: "int64", since: 4, default: -1, ignorable: true, doc: "Of the volume; -1: unknown." },
      { name: "usableBytes", type: "int64", since: 4, default: -1, ignorable: true,
        doc: "Of the volume; -1: unknown." },
      { name: "isCordoned", type: "bool", since: 5, default: false, ignorable: true },
    ] },
  ],
};
