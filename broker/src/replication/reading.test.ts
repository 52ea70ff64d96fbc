import { ErrorCode } from "kafka-protocol-ts/errors";
import { listOffsets } from "kafka-protocol-ts/messages/02-list-offsets";
import type { FetchRequestPartitionInput, FetchResponsePartitionData } from "kafka-protocol-ts/messages/01-fetch";
import { expect, test } from "vitest";
import { listOffsetsHandler } from "../apis/02-list-offsets.ts";
import { rackAwareSelector } from "../fetch/preferred-replica.ts";
import { call } from "../../test/handler-call.ts";
import { callFetch, highWatermarks, produceTo, topic } from "../../test/replication-calls.ts";
import { ReplicationWorld } from "../../test/replication-world.ts";

interface Asking extends Partial<FetchRequestPartitionInput> {
  readonly replicaId?: number;
  readonly replicaEpoch?: number;
  readonly rackId?: string;
  readonly version?: number;
}

async function fetchFrom(
  world: ReplicationWorld,
  id: number,
  asking: Asking = {},
): Promise<FetchResponsePartitionData> {
  const { replicaId = -1, replicaEpoch = -1, rackId = "", version = 13, ...asked } = asking;
  const partitions = [{ partition: 0, fetchOffset: 0, partitionMaxBytes: 1 << 20, ...asked }];
  const isOfState = version >= 15;
  const response = await callFetch(
    world.broker(id).services,
    {
      ...(isOfState ? { replicaState: { replicaId, replicaEpoch } } : { replicaId }),
      ...{ maxWaitMs: 0, minBytes: 0, rackId },
      topics: [{ topic, topicId: world.image.topic(topic)?.id ?? "", partitions }],
    },
    version,
  );
  const found = response.responses[0]?.partitions[0];
  if (found === undefined) throw new Error(`error ${response.errorCode}`);
  return found;
}

async function withRecords(options: Parameters<typeof ReplicationWorld.open>[0] = {}): Promise<ReplicationWorld> {
  const world = await ReplicationWorld.open(options);
  await world.createTopic(topic);
  for (const value of ["a", "b"]) await world.run(produceTo(world.broker(1), topic, [value]));
  await world.clock.advance(1_000);
  return world;
}

test("consumers read from a follower what it knows to be committed, from v11 on", async () => {
  const world = await withRecords();
  const release = world.broker(3).disk.faults.holdSyncs();
  void produceTo(world.broker(1), topic, ["not committed"]);
  await world.clock.advance(500);
  const ofLeader = await fetchFrom(world, 1);
  const ofFollower = await fetchFrom(world, 2);
  expect(ofFollower).toMatchObject({ errorCode: ErrorCode.NONE, highWatermark: 2, logStartOffset: 0 });
  expect(ofFollower.records).toEqual(ofLeader.records);
  expect((await fetchFrom(world, 2, { version: 10 })).errorCode).toBe(ErrorCode.NOT_LEADER_OR_FOLLOWER);
  expect((await fetchFrom(world, 2, { currentLeaderEpoch: 5 })).errorCode).toBe(ErrorCode.UNKNOWN_LEADER_EPOCH);
  release();
});

test("a consumer is told of an in-sync replica in its rack that has what it wants", async () => {
  const racks = { 1: "a", 2: "b", 3: "c" };
  const world = await withRecords({ racks, settings: { "replica.selector.class": rackAwareSelector } });
  expect(await fetchFrom(world, 1, { rackId: "b" })).toMatchObject({
    preferredReadReplica: 2,
    records: Buffer.alloc(0),
  });
  expect((await fetchFrom(world, 1, { rackId: "c", fetchOffset: 2 })).preferredReadReplica).toBe(3);
  for (const rackId of ["a", "d", ""]) expect((await fetchFrom(world, 1, { rackId })).preferredReadReplica).toBe(-1);
  await world.run(world.fence(2));
  expect((await fetchFrom(world, 1, { rackId: "b" })).preferredReadReplica).toBe(-1);
  const plain = await withRecords({ racks });
  expect((await fetchFrom(plain, 1, { rackId: "b" })).preferredReadReplica).toBe(-1);
});

test("a follower of another make, which does not say what it has flushed, is served and does not count", async () => {
  const world = await withRecords();
  const answer = await fetchFrom(world, 1, {
    replicaId: 2,
    fetchOffset: 1,
    lastFetchedEpoch: 0,
    currentLeaderEpoch: 0,
  });
  expect(answer.records?.length).toBeGreaterThan(0);
  expect(world.broker(1).partition(topic).leadership?.remote(2)?.flushedOffset).toBe(-1);
});

test("who is no replica, or speaks for an earlier registration, is refused; who is past an epoch is told where it ended", async () => {
  const world = await withRecords();
  const asked = {
    ...{ version: 18, fetchOffset: 2, lastFetchedEpoch: 0, flushedOffset: 2, logStartOffset: 0, currentLeaderEpoch: 0 },
  };
  const epoch = world.broker(2).epoch;
  expect((await fetchFrom(world, 1, { ...asked, replicaId: 9 })).errorCode).toBe(ErrorCode.UNKNOWN_LEADER_EPOCH);
  expect((await fetchFrom(world, 1, { ...asked, replicaId: 2, replicaEpoch: epoch })).errorCode).toBe(ErrorCode.NONE);
  expect((await fetchFrom(world, 1, { ...asked, replicaId: 2, replicaEpoch: epoch - 1 })).errorCode).toBe(
    ErrorCode.NOT_LEADER_OR_FOLLOWER,
  );
  // Nor does it count without the epoch of its last record, or in no epoch of the leader.
  await fetchFrom(world, 1, { ...asked, replicaId: 3, lastFetchedEpoch: -1, fetchOffset: 1 });
  await fetchFrom(world, 1, { ...asked, replicaId: 3, currentLeaderEpoch: -1, fetchOffset: 1 });
  expect(world.broker(1).partition(topic).leadership?.remote(3)?.logEndOffset).toBe(2);
  const past = { ...asked, replicaId: 2, replicaEpoch: epoch, fetchOffset: 3, flushedOffset: 3 };
  expect((await fetchFrom(world, 1, past)).divergingEpoch).toEqual({ epoch: 0, endOffset: 2 });
  // What it says of records that this leader does not have moves nothing.
  expect(world.broker(1).partition(topic).leadership?.remote(2)?.logEndOffset).toBe(2);
  expect(await fetchFrom(world, 1, { ...past, lastFetchedEpoch: -1 })).toMatchObject({
    errorCode: ErrorCode.OFFSET_OUT_OF_RANGE,
    logStartOffset: 0,
  });
});

test("KIP-207: a new leader that does not know yet what is committed does not say where the log ends", async () => {
  const world = await withRecords();
  const release = world.broker(3).disk.faults.holdSyncs();
  void produceTo(world.broker(1), topic, ["c"]);
  await world.clock.advance(300);
  await world.run(world.change(topic, { leader: 2 }));
  const latestOf = async (version: number, timestamp: number): Promise<unknown> => {
    const request = { replicaId: -1, topics: [{ name: topic, partitions: [{ partitionIndex: 0, timestamp }] }] };
    const asked = { api: listOffsets, handler: listOffsetsHandler };
    const [told] = (await call(world.broker(2).services, asked, version, request)).topics[0]?.partitions ?? [];
    return told?.errorCode === ErrorCode.NONE ? told.offset : told?.errorCode;
  };
  expect(highWatermarks(world, [2])).toEqual([2]);
  expect([await latestOf(5, -1), await latestOf(4, -1)]).toEqual([
    ErrorCode.OFFSET_NOT_AVAILABLE,
    ErrorCode.LEADER_NOT_AVAILABLE,
  ]);
  expect([await latestOf(5, -2), await latestOf(5, 0), await latestOf(5, 2 ** 42)]).toEqual([
    ...[0, 0, ErrorCode.OFFSET_NOT_AVAILABLE],
  ]);
  release();
  await world.until(() => highWatermarks(world, [2])[0] === 3);
  expect(await latestOf(5, -1)).toBe(3);
});

test("a replica that is taken away from a broker goes with its log; one that is given to it is filled", async () => {
  const world = await withRecords();
  const { id = "", partitions = [] } = world.image.topic(topic) ?? {};
  const before = partitions[0]!;
  const brokerTwo = world.broker(2);
  const { log } = brokerTwo.partition(topic);
  // As a reassignment does it: the metadata has no record for that yet.
  const moved = (replicas: readonly number[]) => ({
    changedTopics: [
      { name: topic, id, partitions: [{ ...before, replicas, partitionEpoch: before.partitionEpoch + 1 }] },
    ],
    ...{ deletedTopics: [], reconfiguredTopics: [], isBrokerReconfigured: false, changedBrokers: [] },
  });
  await world.run(brokerTwo.follow(moved([1, 3])));
  expect([brokerTwo.partitions.replica(id, 0), brokerTwo.replicas.leaders]).toEqual([undefined, []]);
  expect(brokerTwo.partitions.readable(topic, 0)).toMatchObject({ failure: ErrorCode.NOT_LEADER_OR_FOLLOWER });
  expect(log.failure?.kind).toBe("closed");
  expect([...brokerTwo.logs.logs()]).toEqual([]);
  await world.run(brokerTwo.follow(moved([1, 2, 3])));
  await world.until(() => brokerTwo.partition(topic).highWatermark === 2);
});
