import { beforeEach, describe, expect, test } from "vitest";
import { clients, javaProgram } from "./clients.ts";
import { Flow, type Written } from "./flow.ts";
import { dump, partitionCount, quickGroups, skipWhenMissing, Workspace } from "./journey.ts";
import { ClientProgram } from "./program.ts";
import { generator, type ConsumedRecord } from "./records.ts";
import { Running } from "./running.ts";
import { whyMissing } from "./runtimes.ts";
import { Target } from "./target.ts";

/** How long a transaction stays open before it is committed: time in which to kill its process, or the broker. */
const holdMs = 60;
/** Longer than a broker needs to come back. */
const timeoutMs = 20_000;
const accountCount = 40;
const depositsPerRound = 10;

/**
 * Deposits exactly once (java/src/Deposits.java): each is validated and added to its account's balance in one transaction with its
 * offset, whatever dies when. The processor is killed while its transaction is open, and while it commits; the broker is killed while it
 * commits; and it is stopped until another process has its place, and then goes on.
 */
describe.concurrent("deposits", () => {
  const missing = whyMissing("java");
  beforeEach((context) => skipWhenMissing(context, missing));

  test("each counts once, and the process whose place was taken counts for nothing", async () => {
    using workspace = new Workspace();
    await using target = await Target.start({ settings: quickGroups });
    await using program = ClientProgram.start(clients.java, target.address);
    for (const topic of ["deposits", "validated-deposits"])
      await program.createTopic({ topic, partitions: partitionCount });
    await program.createTopic({
      topic: "account-balances",
      partitions: partitionCount,
      configs: { "cleanup.policy": "compact" },
    });
    const random = generator(23);
    let next = 0;
    const deposit = (): Written => {
      const account = `account-${Math.floor(random() * accountCount)}`;
      return { key: account, value: `${next++} ${1 + Math.floor(random() * 500)}` };
    };
    await using writer = ClientProgram.start(clients.java, target.address);
    await using flow = new Flow(workspace, writer, {
      topic: "deposits",
      next: () => Array.from({ length: depositsPerRound }, deposit),
    });
    const start = (name: string): Running =>
      Running.start(name, javaProgram("Deposits", [target.address, `${holdMs}`, `${timeoutMs}`]));
    /** The next time that it says so. */
    const says = async (one: Running, word: string): Promise<void> => {
      const from = one.lines.length;
      await one.until(`it says ${word}`, () => one.lines.slice(from).includes(word));
    };

    await using first = start("first");
    await says(first, "COMMITTED");
    await says(first, "OPEN");
    await first.kill();
    await using second = start("second");
    await says(second, "COMMITTED");
    await says(second, "COMMITTING");
    await second.kill();
    await using third = start("third");
    await says(third, "COMMITTED");
    await says(third, "COMMITTING");
    await target.kill();
    await target.start();
    await says(third, "COMMITTED");
    await says(third, "OPEN");
    third.pause();
    await using fourth = start("fourth");
    await says(fourth, "COMMITTED");
    third.resume();
    await third.until("the one that slept is told that its place is taken", () =>
      third.lines.some((line) => line.startsWith("FENCED")),
    );
    await says(fourth, "COMMITTED");
    await flow.stop();
    const validated = async (): Promise<ConsumedRecord[]> =>
      dump(workspace, program, { topic: "validated-deposits", isolation: "read_committed" });
    await fourth.until("every deposit is validated", async () => (await validated()).length >= flow.written.length);
    await fourth.finish();

    expect(byAccount(await validated())).toEqual(byAccount(flow.written));
    const balances = await dump(workspace, program, { topic: "account-balances", isolation: "read_committed" });
    const last = new Map(balances.map(({ key, value }) => [`${key?.toString()}`, Number(value?.toString())]));
    const sums = new Map<string, number>();
    for (const { key, value } of flow.written) sums.set(key, (sums.get(key) ?? 0) + Number(value.split(" ")[1]));
    expect(last).toEqual(sums);
    // Each balance, and not the last one only, was right when it was written.
    expect(balances).toHaveLength(flow.written.length);
  });
});

/** The deposits of each account, in order. */
function byAccount(
  records: readonly { readonly key: Buffer | string | null; readonly value: Buffer | string | null }[],
): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const { key, value } of records) {
    const account = `${key?.toString()}`;
    found.set(account, [...(found.get(account) ?? []), `${value?.toString()}`]);
  }
  return found;
}
