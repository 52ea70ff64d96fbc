import { ByteReader } from "kafka-protocol-ts/reader";
import { ByteWriter } from "kafka-protocol-ts/writer";
import type { Assignment, ISerializer, MemberAssignment, MemberMetadata } from "./assigner-types.ts";

const noBytes = Buffer.alloc(0);

/** Version 0 of what members of a group tell each other; later versions begin with it. */
const memberMetadata: ISerializer<MemberMetadata> = {
  encode({ version, topics, userData = noBytes }): Buffer {
    const writer = new ByteWriter(64);
    writer.int16(version);
    writer.stringArray(topics);
    writer.bytes(userData);
    return writer.toBuffer();
  },
  decode(buffer): MemberMetadata {
    const reader = new ByteReader(buffer);
    const version = reader.int16();
    return { version, topics: reader.stringArray(), userData: reader.nullableBytes() ?? noBytes };
  },
};

const memberAssignment: ISerializer<MemberAssignment> = {
  encode({ version, assignment, userData = noBytes }): Buffer {
    const writer = new ByteWriter(64);
    writer.int16(version);
    const topics = Object.entries(assignment);
    writer.arrayLength(topics.length);
    for (const [topic, partitions] of topics) {
      writer.string(topic);
      writer.arrayLength(partitions.length);
      for (const partition of partitions) writer.int32(partition);
    }
    writer.bytes(userData);
    return writer.toBuffer();
  },
  /** Null where there are no bytes: a member that was given nothing. */
  decode(buffer): MemberAssignment | null {
    if (buffer.length < 2) return null;
    const reader = new ByteReader(buffer);
    const version = reader.int16();
    const assignment: Assignment = {};
    for (let left = reader.arrayLength(6); left > 0; left--) {
      const topic = reader.string();
      assignment[topic] = Array.from({ length: reader.arrayLength(4) }, () => reader.int32());
    }
    return { version, assignment, userData: reader.nullableBytes() ?? noBytes };
  },
};

/** For assigners that programs write themselves. */
export const AssignerProtocol: {
  readonly MemberMetadata: ISerializer<MemberMetadata>;
  readonly MemberAssignment: ISerializer<MemberAssignment>;
} = { MemberMetadata: memberMetadata, MemberAssignment: memberAssignment };
