import { ErrorCode } from "kafka-protocol-ts/errors";
import { valuesOf } from "../admin/outcome.ts";
import { checkArray, checkName } from "./admin-checks.ts";
import { endsOf, failuresOf, throwFirst } from "./admin-topics.ts";
import type { AdminContext } from "./admin-topics.ts";
import type { Admin, FetchOffsetsPartition, GroupOverview, SeekEntry } from "./admin-types.ts";
import { askingMsMax } from "./asking.ts";
import { finalError, protocolSourceOf } from "./error-mapping.ts";
import { KafkaJSDeleteGroupsError, KafkaJSNonRetriableError, KafkaJSProtocolError } from "./errors.ts";
import type { DeletedGroup } from "./errors.ts";
import { describedGroups } from "./group-descriptions.ts";

const nothingCommitted = "-1";

export async function listGroups({ core, retry }: AdminContext): Promise<{ groups: GroupOverview[] }> {
  try {
    const groups: GroupOverview[] = [];
    for await (const { groupId, protocolType } of core.groups.list({ timeoutMs: askingMsMax(retry) }))
      groups.push({ groupId, protocolType });
    return { groups };
  } catch (error) {
    throw finalError(error, retry);
  }
}

export async function deleteGroups(
  { core, retry }: AdminContext,
  groupIds: readonly string[],
): Promise<DeletedGroup[]> {
  checkArray("groupIds", groupIds);
  for (const groupId of groupIds) checkName("groupId", groupId);
  const outcomes = await core.groups.delete(groupIds, { timeoutMs: askingMsMax(retry) });
  const failures = failuresOf(outcomes).map(({ item: groupId, error }) => {
    const source = protocolSourceOf(error);
    if (source === undefined) throw finalError(error, retry);
    return { groupId, errorCode: source.code, error: new KafkaJSProtocolError(source) };
  });
  if (failures.length > 0) throw new KafkaJSDeleteGroupsError("groups could not be deleted", failures);
  return groupIds.map((groupId) => ({ groupId, errorCode: ErrorCode.NONE }));
}

type Fetched = Awaited<ReturnType<Admin["fetchOffsets"]>>;

export async function fetchOffsets(
  context: AdminContext,
  { groupId, topics = [], resolveOffsets = false }: Parameters<Admin["fetchOffsets"]>[0],
): Promise<Fetched> {
  checkName("groupId", groupId);
  checkArray("topics", topics);
  const { core, retry } = context;
  const wanted = await Promise.all(
    topics.map(async (topic) => ({ topic, indexes: [...(await endsOf(context, topic, "latest")).keys()] })),
  );
  try {
    const timeoutMs = askingMsMax(retry);
    const partitions = wanted.flatMap(({ topic, indexes }) => indexes.map((partition) => ({ topic, partition })));
    const outcomes = await core.groups.offsets(
      groupId,
      topics.length === 0 ? { timeoutMs } : { timeoutMs, partitions },
    );
    const values = valuesOf(outcomes);
    const rows = outcomes.map(({ item }, at) => ({ ...item, value: values[at] }));
    const found = Array.from(
      Map.groupBy(rows, ({ topic }) => topic),
      ([topic, of]) => ({
        topic,
        partitions: of.map(({ partition, value }): FetchOffsetsPartition => ({
          partition,
          offset: `${value?.offset ?? nothingCommitted}`,
          metadata: value?.metadata === "" ? null : (value?.metadata ?? null),
        })),
      }),
    );
    return resolveOffsets ? await resolved(context, groupId, found) : found;
  } catch (error) {
    throw finalError(error, retry);
  }
}

/** Where nothing is committed the end is, from now on. */
async function resolved(context: AdminContext, groupId: string, found: Fetched): Promise<Fetched> {
  return Promise.all(
    found.map(async ({ topic, partitions }) => {
      const ends = await endsOf(context, topic, "latest");
      const known = partitions.map((each) =>
        each.offset === nothingCommitted ? { ...each, offset: `${ends.get(each.partition) ?? 0}` } : each,
      );
      await setOffsets(context, { groupId, topic, partitions: known });
      return { topic, partitions: known };
    }),
  );
}

export async function resetOffsets(
  context: AdminContext,
  {
    groupId,
    topic,
    earliest = false,
  }: { readonly groupId: string; readonly topic: string; readonly earliest?: boolean },
): Promise<void> {
  checkName("groupId", groupId);
  checkName("topic", topic);
  const ends = await endsOf(context, topic, earliest ? "earliest" : "latest");
  const partitions = Array.from(ends, ([partition, offset]) => ({ partition, offset: `${offset}` }));
  await setOffsets(context, { groupId, topic, partitions });
}

export async function setOffsets(
  context: AdminContext,
  {
    groupId,
    topic,
    partitions,
  }: { readonly groupId: string; readonly topic: string; readonly partitions: SeekEntry[] },
): Promise<void> {
  checkName("groupId", groupId);
  checkName("topic", topic);
  if (!Array.isArray(partitions) || partitions.length === 0)
    throw new KafkaJSNonRetriableError("Invalid partitions: there are none");
  const { core, wire, retry } = context;
  const [group] = await describedGroups(wire, [groupId], retry);
  if (group !== undefined && group.state !== "Empty" && group.state !== "Dead")
    throw new KafkaJSNonRetriableError(
      `group ${groupId} is ${group.state}: stop its members first, since they commit for themselves`,
    );
  const places = { "-1": "latest", "-2": "earliest" } as const;
  const offsets = await Promise.all(
    partitions.map(async ({ partition, offset }) => {
      const place = (places as Readonly<Record<string, "latest" | "earliest">>)[offset];
      const found = place === undefined ? Number(offset) : (await endsOf(context, topic, place)).get(partition);
      if (found === undefined || !Number.isSafeInteger(found) || found < 0)
        throw new KafkaJSNonRetriableError(`Invalid offset of ${topic}-${partition}: ${JSON.stringify(offset)}`);
      return { topic, partition, offset: found };
    }),
  );
  throwFirst(await core.groups.alterOffsets(groupId, offsets, { timeoutMs: askingMsMax(retry) }), retry);
}
