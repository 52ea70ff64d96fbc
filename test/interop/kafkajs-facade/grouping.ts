import type { Consumer, PartitionAssigner } from "kafkajs";
import { Collected, createTopics, joined, numbered, text } from "./story.ts";
import type { Context, Program } from "./story.ts";

interface Member {
  readonly consumer: Consumer;
  readonly values: Collected<string | null>;
  assignment(): readonly number[];
}

/** Joins, and remembers what it is given. */
async function join(
  context: Context,
  { topic, group, partitionAssigners }: { topic: string; group: string; partitionAssigners?: PartitionAssigner[] },
): Promise<Member> {
  const consumer = context.kafka().consumer({
    groupId: context.name(group),
    maxWaitTimeInMs: 100,
    heartbeatInterval: 200,
    ...(partitionAssigners === undefined ? {} : { partitionAssigners }),
  });
  let assignment: readonly number[] = [];
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    assignment = [...(payload.memberAssignment[topic] ?? [])].sort();
  });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const values = new Collected<string | null>();
  await consumer.run({ eachMessage: async ({ message }) => values.push(text(message.value)) });
  return { consumer, values, assignment: () => assignment };
}

const twoMembers: Program = async (_library, context) => {
  const kafka = context.kafka();
  const topic = context.name("shared");
  await createTopics(kafka, { [topic]: 4 });
  const first = await join(context, { topic, group: "pair" });
  const alone = first.assignment();
  const rebalanced = joined(first.consumer);
  const second = await join(context, { topic, group: "pair" });
  await rebalanced;
  const sizes = [first, second].map((member) => member.assignment().length);
  const together = [...first.assignment(), ...second.assignment()].sort();
  const producer = kafka.producer();
  await producer.connect();
  await producer.send({ topic, messages: numbered(8, 4) });
  await producer.disconnect();
  await Promise.all([first.values.count(4), second.values.count(4)]);
  const group = await first.consumer.describeGroup();
  const back = joined(first.consumer);
  await second.consumer.disconnect();
  await back;
  const aloneAgain = first.assignment();
  await first.consumer.disconnect();
  return {
    alone,
    sizes,
    together,
    aloneAgain,
    values: [...first.values.items, ...second.values.items].sort(),
    group: { state: group.state, protocol: group.protocol, type: group.protocolType, members: group.members.length },
  };
};

const anAssignerOfTheProgramsOwn: Program = async (library, context) => {
  const { AssignerProtocol } = library;
  const topic = context.name("assigned");
  await createTopics(context.kafka(), { [topic]: 3 });
  const seen: unknown[] = [];
  // All to the first member; what members tell about themselves comes through.
  const allToOne: PartitionAssigner = ({ cluster }) => ({
    name: "AllToOne",
    version: 1,
    async assign({ members, topics }) {
      const told = members.map(({ memberMetadata }) => AssignerProtocol.MemberMetadata.decode(memberMetadata));
      seen.push(told.map((each) => [each?.topics, each?.userData.toString()]));
      const assignment = Object.fromEntries(
        topics.map((name) => [name, cluster.findTopicPartitionMetadata(name).map(({ partitionId }) => partitionId)]),
      );
      return members.map(({ memberId }, at) => ({
        memberId,
        memberAssignment: AssignerProtocol.MemberAssignment.encode({
          version: 1,
          assignment: at === 0 ? assignment : {},
          userData: Buffer.alloc(0),
        }),
      }));
    },
    protocol({ topics }) {
      const userData = Buffer.from("about me");
      return { name: "AllToOne", metadata: AssignerProtocol.MemberMetadata.encode({ version: 1, topics, userData }) };
    },
  });
  const member = await join(context, { topic, group: "own", partitionAssigners: [allToOne] });
  const group = await member.consumer.describeGroup();
  const assignment = member.assignment();
  await member.consumer.disconnect();
  return { seen, assignment, protocol: group.protocol };
};

const whatTheProtocolSays: Program = async (library) => {
  const { MemberMetadata, MemberAssignment } = library.AssignerProtocol;
  const metadata = MemberMetadata.encode({ version: 1, topics: ["b", "a"], userData: Buffer.from("u") });
  const assignment = MemberAssignment.encode({
    version: 1,
    assignment: { a: [0, 2], b: [1] },
    userData: Buffer.from("v"),
  });
  return {
    metadata: metadata.toString("hex"),
    assignment: assignment.toString("hex"),
    back: [MemberMetadata.decode(metadata), MemberAssignment.decode(assignment)],
    none: MemberAssignment.decode(Buffer.alloc(0)),
  };
};

const moreMembersThanPartitions: Program = async (_library, context) => {
  const topic = context.name("narrow");
  await createTopics(context.kafka(), { [topic]: 1 });
  const first = await join(context, { topic, group: "crowd" });
  const rebalanced = joined(first.consumer);
  const second = await join(context, { topic, group: "crowd" });
  await rebalanced;
  const sizes = [first.assignment().length, second.assignment().length].sort();
  await second.consumer.disconnect();
  await first.consumer.disconnect();
  return sizes;
};

export const grouping: Readonly<Record<string, Program>> = {
  "two members": twoMembers,
  "an assigner of the program's own": anAssignerOfTheProgramsOwn,
  "what the assigner protocol says": whatTheProtocolSays,
  "more members than partitions": moreMembersThanPartitions,
};
