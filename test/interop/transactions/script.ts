import { setTimeout as sleep } from "node:timers/promises";
import { ErrorCode, errorName } from "kafka-protocol-ts/errors";
import { findCoordinator } from "kafka-protocol-ts/messages/10-find-coordinator";
import { initProducerId, type InitProducerIdRequestInput } from "kafka-protocol-ts/messages/22-init-producer-id";
import { writeTxnMarkers } from "kafka-protocol-ts/messages/27-write-txn-markers";
import { describeProducers } from "kafka-protocol-ts/messages/61-describe-producers";
import { describeTransactions } from "kafka-protocol-ts/messages/65-describe-transactions";
import { listTransactions, type ListTransactionsRequestInput } from "kafka-protocol-ts/messages/66-list-transactions";
import { createTopic } from "../../../bench/ask.ts";
import { coordinatorOf, Member } from "../../journeys/members.ts";
import { RawClient } from "../../journeys/raw-client.ts";
import { Producer, noProducer, settled, topic } from "./client.ts";

/** With which both brokers are started: the offsets of all groups are in one partition, which a transaction has or has not. */
export const scriptSettings: Readonly<Record<string, string>> = {
  "group.initial.rebalance.delay.ms": "0",
  "offsets.topic.num.partitions": "1",
};

/**
 * Brings transactional ids into every state that stays, sends each request to each of them, and writes down a line:
 *
 *     the state | the request | what was answered | how its coordinator describes it then | and how partition 0 does
 *
 * Nothing in the lines differs between two runs.
 */
export async function transactionCodes(port: number): Promise<readonly string[]> {
  await createTopic(port, topic, 2);
  await using first = await connect(port);
  await haveCoordinators(first);
  const member = new Member(first, "busy-group", { sessionTimeoutMs: 600_000 });
  await coordinatorOf(first, member.groupId);
  const joined = await member.enter();
  const synced = await member.sync({ [member.memberId]: "" });
  if (joined.errorCode !== ErrorCode.NONE || synced.errorCode !== ErrorCode.NONE) {
    throw new Error(`the group is not stable: ${errorName(joined.errorCode)}, ${errorName(synced.errorCode)}`);
  }
  return [...(await inEveryState(port, requests(member))), ...(await outsideOfStates(first)), ...(await listed(first))];
}

async function inEveryState(port: number, requests: Readonly<Record<string, Send>>): Promise<readonly string[]> {
  const cases = Object.entries(states).flatMap(([stateName, reach]) =>
    Object.entries(requests).map(([requestName, send]) => ({ name: `${stateName} | ${requestName}`, reach, send })),
  );
  const left = [...cases.entries()].reverse();
  const lines: string[] = [];
  const failed: string[] = [];
  const work = async (): Promise<void> => {
    let client = await connect(port);
    for (let next = left.pop(); next !== undefined && failed.length < failedMax; next = left.pop()) {
      const [index, { name, reach, send }] = next;
      // Never seen by a broker before, also not as an id that was made up.
      const producer = new Producer(client, `codes-${index}`);
      producer.identity = { producerId: madeUpId + index, producerEpoch: 1 };
      try {
        await reach(producer);
        lines[index] = `${name} | ${await send(producer)} | ${await after(producer)}`;
      } catch (error) {
        lines[index] = `${name} | ${String(error)}`;
        failed.push(lines[index]);
        if (client.isClosed) client = await connect(port);
      }
    }
    await client[Symbol.asyncDispose]();
  };
  await Promise.all(Array.from({ length: connectionCount }, work));
  if (failed.length >= failedMax) throw new Error(`the script does not get through:\n${failed.join("\n")}`);
  return lines;
}

async function connect(port: number): Promise<RawClient> {
  return RawClient.connect({ host: "127.0.0.1", port }, { clientId: "codes" });
}

/** A broker that cannot follow the script at all shall not take all day to show it. */
const failedMax = 16;
const connectionCount = 8;
const madeUpId = 900_000_000;

export async function haveCoordinators(client: RawClient): Promise<void> {
  for (const keyType of [0, 1]) {
    await settled(
      async () => client.request(findCoordinator, 4, { keyType, coordinatorKeys: ["any"] }),
      ({ coordinators }) => coordinators[0]?.errorCode ?? 0,
    );
  }
}

type Reach = (producer: Producer) => Promise<void>;

/** With epoch 1, so that there is an older one. */
async function begin(producer: Producer): Promise<void> {
  await producer.init();
  const { errorCode, producerId, producerEpoch } = await producer.init();
  if (errorCode !== ErrorCode.NONE) throw new Error(`InitProducerId: ${errorName(errorCode)}`);
  producer.identity = { producerId, producerEpoch };
}

async function open(producer: Producer): Promise<void> {
  await begin(producer);
  await producer.addPartitions([[topic, 0]]);
}

async function write(producer: Producer, version = 11): Promise<void> {
  const code = await producer.produce(version, { partition: 0, sequence: producer.sequence });
  if (code !== ErrorCode.NONE) throw new Error(`Produce v${version}: ${errorName(code)}`);
  producer.sequence++;
}

async function openAndWrite(producer: Producer): Promise<void> {
  await open(producer);
  await write(producer);
}

async function openWithOffsets(producer: Producer): Promise<void> {
  await begin(producer);
  await producer.addOffsets();
  const code = await producer.commitOffsets(3);
  if (code !== ErrorCode.NONE) throw new Error(`TxnOffsetCommit: ${errorName(code)}`);
}

/** The producer goes on with what the answer gives it, and its sequence begins anew with a new epoch. */
async function finish(producer: Producer, committed: boolean, version: number): Promise<void> {
  const { errorCode, producerId, producerEpoch } = await producer.end(committed, version);
  if (errorCode !== ErrorCode.NONE) throw new Error(`EndTxn v${version}: ${errorName(errorCode)}`);
  if (producerId >= 0) {
    producer.identity = { producerId, producerEpoch };
    producer.sequence = 0;
  }
  await producer.describe();
}

const states: Readonly<Record<string, Reach>> = {
  "no id": async () => {},
  Empty: begin,
  "Empty, fenced": async (producer) => {
    await begin(producer);
    await producer.init();
  },
  Ongoing: open,
  "Ongoing with a record": openAndWrite,
  "Ongoing by v12": async (producer) => {
    await begin(producer);
    await write(producer, 12);
  },
  "Ongoing with offsets": openWithOffsets,
  "Ongoing, fenced": async (producer) => {
    await begin(producer);
    const { producerId, producerEpoch } = await producer.init();
    await producer.as({ producerId, producerEpoch }).addPartitions([[topic, 0]]);
  },
  CompleteCommit: async (producer) => {
    await openAndWrite(producer);
    await finish(producer, true, 4);
  },
  CompleteAbort: async (producer) => {
    await openAndWrite(producer);
    await finish(producer, false, 4);
  },
  "CompleteCommit by v5": async (producer) => {
    await openAndWrite(producer);
    await finish(producer, true, 5);
  },
  "CompleteAbort by v5": async (producer) => {
    await openAndWrite(producer);
    await finish(producer, false, 5);
  },
  "CompleteCommit with offsets": async (producer) => {
    await openWithOffsets(producer);
    await finish(producer, true, 5);
  },
  "aborted by a new process": async (producer) => {
    await openAndWrite(producer);
    await producer.init();
  },
  "aborted by its timeout": async (producer) => {
    producer.timeoutMs = 100;
    await openAndWrite(producer);
    const deadline = performance.now() + 30_000;
    while ((await producer.describe()).transactionState === "Ongoing") {
      if (performance.now() > deadline) throw new Error(`${producer.transactionalId} is not aborted`);
      await sleep(50);
    }
  },
};

type Send = (producer: Producer) => Promise<string>;

function requests(member: Member): Readonly<Record<string, Send>> {
  const coded =
    (send: (producer: Producer) => Promise<number>): Send =>
    async (producer) =>
      errorName(await send(producer));
  const inMember = { groupId: member.groupId, generationId: member.generation, memberId: member.memberId };
  const produces = [11, 12].map((version): Readonly<Record<string, Send>> => ({
    [`Produce v${version}`]: coded(async (one) => one.produce(version, { partition: 0, sequence: one.sequence })),
    [`Produce v${version} to another partition`]: coded(async (one) =>
      one.produce(version, { partition: 1, sequence: 0 }),
    ),
    [`Produce v${version}, older epoch`]: coded(async (one) =>
      one.aged(-1).produce(version, { partition: 0, sequence: 0 }),
    ),
    [`Produce v${version}, newer epoch`]: coded(async (one) =>
      one.aged(1).produce(version, { partition: 0, sequence: 0 }),
    ),
    [`Produce v${version}, another producer id`]: coded(async (one) =>
      stranger(one).produce(version, { partition: 0, sequence: 0 }),
    ),
    [`Produce v${version}, another transactional id`]: coded(async (one) =>
      one.produce(version, { partition: 0, sequence: one.sequence, transactionalId: "codes-nobody" }),
    ),
    [`Produce v${version}, no transactional id`]: coded(async (one) =>
      one.produce(version, { partition: 0, sequence: one.sequence, transactionalId: null }),
    ),
    [`Produce v${version}, not transactional`]: coded(async (one) =>
      one.produce(version, { partition: 0, sequence: one.sequence, isTransactional: false, transactionalId: null }),
    ),
    [`Produce v${version}, sequence left out`]: coded(async (one) =>
      one.produce(version, { partition: 0, sequence: one.sequence + 5 }),
    ),
  }));
  const offsets = [3, 4, 5].map((version): Readonly<Record<string, Send>> => ({
    [`TxnOffsetCommit v${version}`]: coded(async (one) => one.commitOffsets(version)),
    [`TxnOffsetCommit v${version}, older epoch`]: coded(async (one) => one.aged(-1).commitOffsets(version)),
    [`TxnOffsetCommit v${version}, another producer id`]: coded(async (one) => stranger(one).commitOffsets(version)),
    [`TxnOffsetCommit v${version}, generation of an empty group`]: coded(async (one) =>
      one.commitOffsets(version, { generationId: 5, memberId: "nobody" }),
    ),
    [`TxnOffsetCommit v${version}, member`]: coded(async (one) => one.commitOffsets(version, inMember)),
    [`TxnOffsetCommit v${version}, wrong member`]: coded(async (one) =>
      one.commitOffsets(version, { ...inMember, memberId: "nobody" }),
    ),
    [`TxnOffsetCommit v${version}, wrong generation`]: coded(async (one) =>
      one.commitOffsets(version, { ...inMember, generationId: member.generation + 1 }),
    ),
    [`TxnOffsetCommit v${version}, wrong instance`]: coded(async (one) =>
      one.commitOffsets(version, { ...inMember, groupInstanceId: "nobody" }),
    ),
    [`TxnOffsetCommit v${version}, member, no generation`]: coded(async (one) =>
      one.commitOffsets(version, { ...inMember, generationId: -1 }),
    ),
    [`TxnOffsetCommit v${version}, from outside of a group with members`]: coded(async (one) =>
      one.commitOffsets(version, { groupId: member.groupId }),
    ),
  }));
  const ends = [4, 5].flatMap((version) =>
    [true, false].map((committed): Readonly<Record<string, Send>> => {
      const name = `EndTxn v${version}, ${committed ? "commit" : "abort"}`;
      return {
        [name]: async (one) => ended(one, one, committed, version),
        [`${name}, older epoch`]: async (one) => ended(one, one.aged(-1), committed, version),
        [`${name}, newer epoch`]: async (one) => ended(one, one.aged(1), committed, version),
        [`${name}, another producer id`]: async (one) => ended(one, stranger(one), committed, version),
        [`${name}, twice`]: async (one) =>
          `${await ended(one, one, committed, version)}; ${await ended(one, one, committed, version)}`,
        [`${name}, then the other`]: async (one) =>
          `${await ended(one, one, committed, version)}; ${await ended(one, one, !committed, version)}`,
      };
    }),
  );
  return Object.assign(
    {},
    identityRequests,
    partitionRequests,
    ...ends,
    ...offsets,
    {
      "OffsetFetch v8": async (one: Producer) => one.fetchOffset(false),
      "OffsetFetch v8, stable": async (one: Producer) => one.fetchOffset(true),
    },
    ...produces,
    markerRequests,
  ) as Readonly<Record<string, Send>>;
}

const identityRequests: Readonly<Record<string, Send>> = {
  nothing: async () => "-",
  "InitProducerId v5, new process": async (one) => initialized(one),
  "InitProducerId v2, new process": async (one) => initialized(one, noProducer, 2),
  "InitProducerId v5, the same process": async (one) => initialized(one, one.identity),
  "InitProducerId v5, the same process, twice": async (one) =>
    `${await initialized(one, one.identity)}; ${await initialized(one, one.identity)}`,
  "InitProducerId v5, older epoch": async (one) => initialized(one, one.aged(-1).identity),
  "InitProducerId v5, newer epoch": async (one) => initialized(one, one.aged(1).identity),
  "InitProducerId v5, another producer id": async (one) => initialized(one, stranger(one).identity),
  "InitProducerId v5, new process, then the old one": async (one) =>
    `${await initialized(one)}; ${await initialized(one, one.identity)}`,
};

const partitionRequests: Readonly<Record<string, Send>> = {
  "AddPartitionsToTxn v3": async (one) => one.addPartitions([[topic, 0]]),
  "AddPartitionsToTxn v3, another partition": async (one) => one.addPartitions([[topic, 1]]),
  "AddPartitionsToTxn v3, one unknown": async (one) =>
    one.addPartitions([
      [topic, 1],
      [topic, 7],
      ["nowhere", 0],
    ]),
  "AddPartitionsToTxn v3, none": async (one) => one.addPartitions([]),
  "AddPartitionsToTxn v3, older epoch": async (one) => one.aged(-1).addPartitions([[topic, 1]]),
  "AddPartitionsToTxn v3, newer epoch": async (one) => one.aged(1).addPartitions([[topic, 1]]),
  "AddPartitionsToTxn v3, another producer id": async (one) => stranger(one).addPartitions([[topic, 1]]),
  ...Object.fromEntries(
    [4, 5].flatMap((version): [string, Send][] => [
      [`AddPartitionsToTxn v${version}, verify`, async (one) => one.verify([[topic, 0]], version, true)],
      [`AddPartitionsToTxn v${version}, verify another one`, async (one) => one.verify([[topic, 1]], version, true)],
      [
        `AddPartitionsToTxn v${version}, verify, older epoch`,
        async (one) => one.aged(-1).verify([[topic, 0]], version, true),
      ],
      [`AddPartitionsToTxn v${version}, add`, async (one) => one.verify([[topic, 1]], version, false)],
    ]),
  ),
  "AddOffsetsToTxn v3": async (one) => errorName(await one.addOffsets(3)),
  "AddOffsetsToTxn v4": async (one) => errorName(await one.addOffsets(4)),
  "AddOffsetsToTxn v3, older epoch": async (one) => errorName(await one.aged(-1).addOffsets(3)),
  "AddOffsetsToTxn v3, newer epoch": async (one) => errorName(await one.aged(1).addOffsets(3)),
  "AddOffsetsToTxn v3, another producer id": async (one) => errorName(await stranger(one).addOffsets(3)),
};

const markerRequests: Readonly<Record<string, Send>> = Object.fromEntries(
  [
    { version: 1, transactionVersion: 0 },
    { version: 2, transactionVersion: 1 },
    { version: 2, transactionVersion: 2 },
  ].flatMap(({ version, transactionVersion }): [string, Send][] => {
    const name = version === 1 ? "WriteTxnMarkers v1" : `WriteTxnMarkers v2 of version ${transactionVersion}`;
    const mark =
      (epochs: number, isCommit: boolean): Send =>
      async (one) =>
        errorName(await one.aged(epochs).writeMarker(version, { isCommit, transactionVersion }));
    return [
      [`${name}, commit`, mark(0, true)],
      [`${name}, abort`, mark(0, false)],
      [`${name}, abort, newer epoch`, mark(1, false)],
      [`${name}, abort, older epoch`, mark(-1, false)],
    ];
  }),
);

function stranger(producer: Producer): Producer {
  return producer.as({ producerId: producer.identity.producerId + 1_000_000_000 });
}

/** Producer ids differ between runs: they are the producer's own, or not. */
function idText(producer: Producer, producerId: number): string {
  if (producerId === -1) return "no id";
  return producerId === producer.identity.producerId ? "its id" : "another id";
}

export async function initialized(producer: Producer, claimed = noProducer, version = 5): Promise<string> {
  const answer = await producer.init(claimed, version);
  return `${errorName(answer.errorCode)} ${idText(producer, answer.producerId)} epoch ${answer.producerEpoch}`;
}

export async function ended(own: Producer, as: Producer, committed: boolean, version: number): Promise<string> {
  const answer = await as.end(committed, version);
  const name = errorName(answer.errorCode);
  // Whoever retries is heard when the first end is complete.
  await own.describe();
  return version < 5 ? name : `${name} ${idText(own, answer.producerId)} epoch ${answer.producerEpoch}`;
}

export async function after(producer: Producer): Promise<string> {
  const state = await producer.describe();
  const partitions = state.topics
    .flatMap(({ topic, partitions }) => partitions.map((partition) => partitionText(topic, partition)))
    .sort();
  const described =
    state.errorCode === ErrorCode.NONE
      ? `${state.transactionState} ${idText(producer, state.producerId)} epoch ${state.producerEpoch} [${partitions.join(" ")}]`
      : errorName(state.errorCode);
  const writer = await producer.describeProducer();
  if (writer === null) return `${described} | -`;
  const isOpen = writer.currentTxnStartOffset >= 0;
  return `${described} | epoch ${writer.producerEpoch} sequence ${writer.lastSequence}${isOpen ? " open" : ""}`;
}

/** Where an id's group lies follows from its name, but the number says nothing to a reader. */
function partitionText(name: string, partition: number): string {
  return name === "__consumer_offsets" ? name : `${name}-${partition}`;
}

async function outsideOfStates(client: RawClient): Promise<readonly string[]> {
  const lines: string[] = [];
  const say = (name: string, text: string): void => void lines.push(`- | ${name} | ${text}`);
  const init = async (name: string, body: InitProducerIdRequestInput): Promise<void> => {
    const answer = await client.request(initProducerId, 5, body);
    say(`InitProducerId v5, ${name}`, `${errorName(answer.errorCode)} epoch ${answer.producerEpoch}`);
  };
  const id = { transactionalId: "codes-outside", transactionTimeoutMs: 60_000 };
  await init("no transactional id", { ...id, transactionalId: null });
  await init("no transactional id, a producer id", { ...id, transactionalId: null, producerId: 7, producerEpoch: 3 });
  await init("empty transactional id", { ...id, transactionalId: "" });
  await init("timeout 0", { ...id, transactionTimeoutMs: 0 });
  await init("timeout -1", { ...id, transactionTimeoutMs: -1 });
  await init("timeout above the limit", { ...id, transactionTimeoutMs: 900_001 });
  await init("producer id without epoch", { ...id, producerId: 7 });
  await init("epoch without producer id", { ...id, producerEpoch: 3 });
  for (const transactionalIds of [[""], ["codes-unknown"], ["codes-0", "codes-unknown", "codes-0"], []]) {
    const answer = await client.request(describeTransactions, 0, { transactionalIds });
    const texts = answer.transactionStates.map(
      (each) =>
        `${each.transactionalId}: ${errorName(each.errorCode)} ${each.transactionState} epoch ${each.producerEpoch}`,
    );
    say(`DescribeTransactions of ${JSON.stringify(transactionalIds)}`, texts.sort().join(", "));
  }
  for (const [name, partition] of [
    [topic, 7],
    ["nowhere", 0],
  ] as const) {
    const described = await client.request(describeProducers, 0, { topics: [{ name, partitionIndexes: [partition] }] });
    const marker = { producerId: madeUpId - 1, producerEpoch: 0, transactionResult: false, coordinatorEpoch: 0 };
    const marked = await client.request(writeTxnMarkers, 1, {
      markers: [{ ...marker, topics: [{ name, partitionIndexes: [partition] }] }],
    });
    say(`DescribeProducers of ${name}-${partition}`, errorName(described.topics[0]?.partitions[0]?.errorCode ?? 0));
    say(
      `WriteTxnMarkers v1 to ${name}-${partition}`,
      errorName(marked.markers[0]?.topics[0]?.partitions[0]?.errorCode ?? 0),
    );
  }
  return lines;
}

async function listed(client: RawClient): Promise<readonly string[]> {
  const made = new Map<string, Producer>();
  for (const [name, reach] of Object.entries({
    "list-empty": begin,
    "list-ongoing": open,
    "list-committed": states["CompleteCommit"] ?? begin,
    "list-aborted": states["CompleteAbort by v5"] ?? begin,
  })) {
    const producer = new Producer(client, name);
    await reach(producer);
    made.set(name, producer);
  }
  const idOf = (name: string): number => made.get(name)?.identity.producerId ?? -1;
  const filters: readonly [string, number, Partial<ListTransactionsRequestInput>][] = [
    ["all", 2, {}],
    ["Ongoing", 0, { stateFilters: ["Ongoing"] }],
    ["Ongoing and Empty", 1, { stateFilters: ["Ongoing", "Empty"] }],
    ["CompleteAbort", 1, { stateFilters: ["CompleteAbort"] }],
    ["ongoing, in small letters", 0, { stateFilters: ["ongoing"] }],
    ["Dead", 0, { stateFilters: ["Dead"] }],
    ["a state that does not exist", 0, { stateFilters: ["Sleeping", "Ongoing"] }],
    ["a producer id", 0, { producerIdFilters: [idOf("list-empty")] }],
    ["a producer id in another state", 0, { producerIdFilters: [idOf("list-empty")], stateFilters: ["Ongoing"] }],
    ["an unknown producer id", 0, { producerIdFilters: [madeUpId - 2] }],
    ["running for 0 ms", 1, { durationFilter: 0 }],
    ["running for an hour", 1, { durationFilter: 3_600_000 }],
    ["a pattern", 2, { transactionalIdPattern: "list-[eo].*" }],
    ["a pattern of a part", 2, { transactionalIdPattern: "list-o" }],
    ["an empty pattern", 2, { transactionalIdPattern: "" }],
    ["a pattern that is none", 2, { transactionalIdPattern: "list-[" }],
  ];
  const lines: string[] = [];
  for (const [name, version, filter] of filters) {
    const answer = await client.request(listTransactions, version, {
      stateFilters: [],
      producerIdFilters: [],
      ...filter,
    });
    const found = answer.transactionStates
      .filter(({ transactionalId }) => made.has(transactionalId))
      .map(({ transactionalId, transactionState }) => `${transactionalId} ${transactionState}`)
      .sort();
    const unknown = answer.unknownStateFilters.length === 0 ? "" : ` unknown: ${answer.unknownStateFilters.join(" ")}`;
    lines.push(
      `- | ListTransactions v${version}, ${name} | ${errorName(answer.errorCode)}${unknown} [${found.join(", ")}]`,
    );
  }
  return lines;
}
