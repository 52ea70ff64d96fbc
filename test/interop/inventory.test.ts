import { beforeEach, describe, expect, test } from "vitest";
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
const movementsMin = 4_000;
const movementsPerRound = 40;

/**
 * An inventory kept exactly once by Kafka Streams (java/src/Inventory.java), while its process and the broker are killed: of each item every
 * movement leads to one total, the right one, and each fall below the threshold to one purchase. So nothing is counted twice, and
 * what a store is restored from is not written again.
 */
describe.concurrent("an inventory", () => {
  const missing = whyMissing("java");
  beforeEach((context) => skipWhenMissing(context, missing));

  test("has the right totals, and each purchase once", async () => {
    using workspace = new Workspace();
    await using target = await Target.start({ settings: quickGroups });
    await using program = ClientProgram.start(clients.java, target.address);
    for (const topic of ["movements", "purchases", "totals"])
      await program.createTopic({ topic, partitions: partitionCount });
    const random = generator(29);
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

    await using first = start("first");
    await catchUp(first);
    await first.kill();
    await using second = start("second");
    await catchUp(second);
    await target.kill();
    await target.start();
    await catchUp(second);
    await second.kill();
    await using third = start("third");
    await third.until("enough has moved", () => flow.written.length >= movementsMin);
    await flow.stop();
    await catchUp(third, 0);
    await third.finish();

    const expected = expectedOf(flow.written);
    expect(expected.purchases.size, "some item falls below the threshold").toBeGreaterThan(0);
    expect(await read("totals")).toEqual(expected.totals);
    expect(await read("purchases")).toEqual(expected.purchases);
  });
});

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
