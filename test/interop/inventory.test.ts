import { beforeEach, describe, expect, test } from "vitest";
import { isLong } from "./asked.ts";
import { clients, javaProgram } from "./clients.ts";
import { Flow, type Written } from "./flow.ts";
import { dump, partitionCount, quickGroups, skipWhenMissing, Workspace } from "./journey.ts";
import { ClientProgram } from "./program.ts";
import { generator } from "./records.ts";
import { Running } from "./running.ts";
import { whyMissing } from "./runtimes.ts";
import { Target } from "./target.ts";

const itemCount = 200;
const threshold = -12;
/** How much moves at least, and how often each of the processor and the broker dies meanwhile. */
const { movementsMin, movementsPerRound, deathsOfEach } = isLong
  ? { movementsMin: 100_000, movementsPerRound: 100, deathsOfEach: 6 }
  : { movementsMin: 3_000, movementsPerRound: 40, deathsOfEach: 2 };
/** Rounds within which a death comes: they take longer than a commit interval, so it comes anywhere in a transaction. */
const roundsToDeath = 12;
const timeoutMs = 600_000;

/**
 * An inventory kept exactly once by Kafka Streams (java/src/Inventory.java), while its process and the broker are killed: of each item every
 * movement leads to one total, the right one, and each fall below the threshold to one purchase. So nothing is counted twice, and
 * what a store is restored from is not written again. The seed chooses the movements, and who dies after how many more.
 */
describe.concurrent("an inventory", () => {
  const missing = whyMissing("java");
  beforeEach((context) => skipWhenMissing(context, missing));

  test("has the right totals, and each purchase once", { timeout: timeoutMs }, async () => {
    const seed = Number(process.env["MILLRACE_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
    console.log(
      `inventory: seed ${seed} (MILLRACE_SEED=${seed} npm run interop -- inventory${isLong ? " --long" : ""})`,
    );
    using workspace = new Workspace();
    await using target = await Target.start({ settings: quickGroups });
    await using program = ClientProgram.start(clients.java, target.address);
    for (const topic of ["movements", "purchases"]) await program.createTopic({ topic, partitions: partitionCount });
    // Its active segments are not compacted, so that all of it is there to read.
    await program.createTopic({
      topic: "totals",
      partitions: partitionCount,
      configs: { "cleanup.policy": "compact" },
    });
    const random = generator(seed);
    // Sale, damage and theft; shipment, return and found.
    const movement = (): Written => {
      const quantity = 1 + Math.floor(random() * 9);
      return { key: `item-${Math.floor(random() * itemCount)}`, value: `${random() < 0.55 ? -quantity : quantity}` };
    };
    await using writer = ClientProgram.start(clients.java, target.address);
    await using flow = new Flow(workspace, writer, {
      topic: "movements",
      next: () => Array.from({ length: movementsPerRound }, movement),
    });
    const start = (name: string): Running =>
      Running.start(name, javaProgram("Inventory", [target.address, workspace.path(name), `${threshold}`]));
    const read = async (topic: string): Promise<Map<string, string[]>> =>
      byItem(
        (await dump(workspace, program, { topic, isolation: "read_committed" })).map(({ key, value }) => ({
          ...{ key: `${key?.toString()}`, value: `${value?.toString()}` },
        })),
      );
    /** All that is written by now is counted, and so many more. */
    const catchUp = async (one: Running, more = movementsPerRound): Promise<void> => {
      const count = flow.written.length + more;
      await one.until("all that was written is counted", async () => {
        const totals = await read("totals");
        return [...totals.values()].reduce((sum, ofItem) => sum + ofItem.length, 0) >= count;
      });
    };

    await using processors = new AsyncDisposableStack();
    let processor = processors.use(start("first"));
    // Its own numbers: how many movements are drawn between two deaths depends on the machine.
    const fate = generator(seed + 1);
    for (const who of shuffled(deathsOfEach, fate)) {
      await catchUp(processor);
      const moment = flow.written.length + Math.floor(fate() * roundsToDeath * movementsPerRound);
      await processor.until("its moment has come", () => flow.written.length >= moment);
      if (who === "processor") {
        await processor.kill();
        processor = processors.use(start("next"));
      } else {
        await target.kill();
        await target.start();
      }
    }
    await catchUp(processor);
    await processor.until("enough has moved", () => flow.written.length >= movementsMin);
    await flow.stop();
    await catchUp(processor, 0);
    await processor.finish();

    const expected = expectedOf(flow.written);
    expect(expected.purchases.size, "some item falls below the threshold").toBeGreaterThan(0);
    expect(await read("totals")).toEqual(expected.totals);
    expect(await read("purchases")).toEqual(expected.purchases);
  });
});

/** So many of each, in an order by chance. */
function shuffled(ofEach: number, random: () => number): ("processor" | "broker")[] {
  return Array.from({ length: ofEach }, () => ["processor", "broker"] as const)
    .flat()
    .map((who) => ({ who, place: random() }))
    .toSorted((one, other) => one.place - other.place)
    .map(({ who }) => who);
}

function expectedOf(movements: readonly Written[]): Readonly<Record<"totals" | "purchases", Map<string, string[]>>> {
  const totals: Written[] = [];
  const purchases: Written[] = [];
  const state = new Map<string, { readonly count: number; readonly total: number }>();
  for (const { key, value } of movements) {
    const before = state.get(key) ?? { count: 0, total: 0 };
    const after = { count: before.count + 1, total: before.total + Number(value) };
    state.set(key, after);
    const record = { key, value: `${after.count} ${after.total}` };
    totals.push(record);
    if (after.total < threshold && before.total >= threshold) purchases.push(record);
  }
  return { totals: byItem(totals), purchases: byItem(purchases) };
}

function byItem(records: readonly Written[]): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const { key, value } of records) found.set(key, [...(found.get(key) ?? []), value]);
  return found;
}
