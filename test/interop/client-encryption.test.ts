import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Cluster, topic } from "@millrace/client";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ConsumerWorld } from "./consumer-world.ts";
import { ringOf, transferSerde } from "./encryption/transfers.ts";
import type { Transfer } from "./encryption/transfers.ts";
import { skipWhenMissing, Workspace } from "./journey.ts";
import { Running } from "./running.ts";
import { interopDirectory } from "./runtimes.ts";
import { whyTargetMissing } from "./target.ts";

/**
 * Who is forgotten is forgotten wherever the bytes have gone: a key is destroyed once, and a mirror in another cluster, made
 * before or after, is as unreadable as the topic itself. Whoever reads is a process of its own, from the beginning.
 */
const worlds = { millrace: new ConsumerWorld("millrace"), kafka: new ConsumerWorld("kafka") };
beforeAll(async () => void (await Promise.all(Object.values(worlds).map(async (world) => world.begin()))));
afterAll(
  async () => void (await Promise.all(Object.values(worlds).map(async (world) => world[Symbol.asyncDispose]()))),
);

const sent: readonly Transfer[] = Array.from({ length: 40 }, (_, index) => ({
  user: ["ann", "bob", "eve"][index % 3] ?? "",
  account: `DE893704004405320${13_000 + index}`,
  phone: `+49 151 ${4_000_000 + 7 * index}`,
  amount: index + 1,
}));
const without = (user: string): readonly object[] =>
  sent.map((each) => {
    if (each.user !== user) return each;
    return { ...each, user: "shredded", account: "shredded", phone: "shredded" };
  });

test.for([
  ["millrace", "kafka"],
  ["kafka", "millrace"],
] as const)("a mirror of %s in %s is forgotten with the key, and nobody else is", async ([from, to], context) => {
  skipWhenMissing(context, whyTargetMissing("kafka"));
  const [source, other] = [worlds[from], worlds[to]];
  using workspace = new Workspace();
  const keyFile = workspace.path("keys.json");
  const keys = ringOf(keyFile);
  const transfers = await source.newTopic(3);
  await using own = new Cluster({ brokers: [source.address], clientId: "bank" });
  await using producer = own.producer({ compression: "none" });
  const destination = topic(transfers, { value: transferSerde(keys) });
  for (const [index, value] of sent.entries())
    producer.enqueue(destination, { key: `transfer-${index}`, value, partition: index % 3 });
  await producer.flush();

  const before = await mirror(source, transfers, other);
  const places = [source.address, transfers, other.address, before];
  expect(await readElsewhere(keyFile, places)).toEqual([sent, sent]);
  const clear = (await readElsewhere("none", places)).flat() as { readonly user: string; readonly amount: number }[];
  expect(new Set(clear.map(({ user }) => user))).toEqual(new Set(["withheld"]));
  expect(clear.reduce((sum, { amount }) => sum + amount, 0)).toBe(40 * 41);

  await keys.destroy("ann");
  const after = await mirror(source, transfers, other);
  const all = [...places, other.address, after];
  expect(await readElsewhere(keyFile, all)).toEqual([without("ann"), without("ann"), without("ann")]);
  for (const world of [source, other]) expectNoSecretOnDisk(world);
  await keys.destroy("bob");
  expect((await readElsewhere(keyFile, [other.address, before]))[0]).not.toContainEqual(sent[1]);
});

/** Every record as it is: bytes, headers, time and partition. Gives the name of the new topic. */
async function mirror(source: ConsumerWorld, name: string, other: ConsumerWorld): Promise<string> {
  const copy = await other.newTopic(3);
  await using producer = other.cluster.producer({ compression: "none" });
  const written: unknown[] = [];
  for await (const record of source.cluster.consumer().records(name, { untilEnd: true })) {
    const { key, value, headers, timestamp, partition, offset } = record;
    producer.enqueue(copy, { key, value, headers, timestamp, partition });
    written.push({ partition, offset, key, value, headers: [...headers], timestamp });
  }
  await producer.flush();
  const read: unknown[] = [];
  for await (const record of other.cluster.consumer().records(copy, { untilEnd: true })) {
    const { key, value, headers, timestamp, partition, offset } = record;
    read.push({ partition, offset, key, value, headers: [...headers], timestamp });
  }
  const inOrder = (records: unknown[]): unknown[] => records.map((each) => JSON.stringify(each)).sort();
  expect(inOrder(read)).toEqual(inOrder(written));
  return copy;
}

/** What a process of its own reads of each place. */
async function readElsewhere(keyFile: string, places: readonly string[]): Promise<readonly (readonly object[])[]> {
  const program = join(interopDirectory, "clients", "millrace-transfers.ts");
  await using reader = Running.start("reader", [process.execPath, "--conditions=source", program, keyFile, ...places]);
  await reader.ended();
  return reader.lines.map((line) => JSON.parse(line) as readonly object[]);
}

function expectNoSecretOnDisk({ target }: ConsumerWorld): void {
  const entries = readdirSync(target.dataDirectory, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const disk = Buffer.concat(files.filter((file) => file.endsWith(".log")).map((file) => readFileSync(file)));
  expect(disk.includes('"amount":7')).toBe(true);
  for (const { account, phone } of sent.slice(0, 3))
    for (const secret of [account, phone]) expect(disk.includes(secret), secret).toBe(false);
}
