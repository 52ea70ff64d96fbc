import { Prng } from "@millrace/base/prng";
import type { Connection } from "@millrace/base/world";
import { expect, test } from "vitest";
import { SimulatedDisk } from "../simulated-disk.ts";
import { VirtualClock } from "../virtual-clock.ts";
import { ClusterNetwork } from "./cluster-network.ts";
import { NodeDisk } from "./node-disk.ts";
import { Process } from "./process.ts";
import { Trace } from "./trace.ts";

function world() {
  const clock = new VirtualClock();
  const trace = new Trace();
  const network = new ClusterNetwork(clock, new Prng(1), trace);
  return { clock, trace, network, a: new Process("a", clock), b: new Process("b", clock) };
}

/** A connection from a to b; what b gets, and how both ends end. */
async function connected({ clock, network, a, b }: ReturnType<typeof world>) {
  let got = "";
  const ends: string[] = [];
  await network.of(b).listen({ host: "b", port: 1 }, (connection) =>
    connection.start({
      onData: (chunk) => (got += chunk.toString()),
      onEnd: () => ends.push("b end"),
      onClose: () => ends.push("b"),
    }),
  );
  let client: Connection | null = null;
  void network
    .of(a)
    .connect({ host: "b", port: 1 }, { timeoutMs: 1_000 })
    .then((connection) => {
      client = connection;
      connection.start({ onData: () => {}, onEnd: () => {}, onClose: () => ends.push("a") });
    });
  await clock.runUntil(() => client !== null, { withinMs: 100 });
  const send = (text: string): void => client?.send([Buffer.from(text)]);
  return { got: () => got, ends, send, abort: () => client?.abort(), destroy: () => client?.destroy() };
}

test("what a partition holds back arrives in order when it is over", async () => {
  const given = world();
  const { send, got } = await connected(given);
  given.network.block("a", "b");
  send("one ");
  send("two ");
  await given.clock.advance(10_000);
  expect(got()).toBe("");
  given.network.unblock();
  send("three");
  await given.clock.advance(100);
  expect(got()).toBe("one two three");
});

test("what is on its way when a connection is closed comes late, and when it is aborted not at all", async () => {
  for (const [how, arrived] of [
    ["destroy", "one"],
    ["abort", ""],
  ] as const) {
    const given = world();
    const connection = await connected(given);
    given.network.block("a", "b");
    connection.send("one");
    await given.clock.advance(10);
    connection[how]();
    await given.clock.advance(10_000);
    given.network.unblock();
    await given.clock.advance(100);
    expect([connection.got(), connection.ends]).toEqual([arrived, ["a", "b"]]);
  }
});

test("one way: the other direction goes on", async () => {
  const given = world();
  const { send, got } = await connected(given);
  given.network.block("b", "a");
  send("one");
  await given.clock.advance(100);
  expect(got()).toBe("one");
});

test("a process that is paused gets all when it goes on, and one that is dead nothing", async () => {
  const given = world();
  const { send, got } = await connected(given);
  let fired = 0;
  given.b.clock.schedule(50, () => fired++);
  given.b.pause();
  send("one");
  await given.clock.advance(100);
  expect([got(), fired]).toEqual(["", 0]);
  given.b.goOn(new Prng(1));
  await given.clock.advance(100);
  expect([got(), fired]).toEqual(["one", 1]);
  given.b.clock.schedule(50, () => fired++);
  given.b.kill();
  await given.clock.advance(100);
  expect(fired).toBe(1);
});

test("the system of a dead process tells the others, a machine without power does not until it is back", async () => {
  const told = world();
  const first = await connected(told);
  told.b.kill();
  told.network.lost(told.b, false);
  await told.clock.advance(100);
  expect(first.ends).toEqual(["a"]);

  const silent = world();
  const second = await connected(silent);
  silent.b.kill();
  silent.network.lost(silent.b, true);
  second.send("into the dark");
  const refused = silent.network.of(silent.a).connect({ host: "b", port: 1 }, { timeoutMs: 500 });
  const code = refused.then(
    () => "connected",
    (error: { readonly code?: string }) => error.code,
  );
  await silent.clock.advance(1_000);
  expect([second.ends, await code]).toEqual([[], "ETIMEDOUT"]);
  silent.network.returned("b");
  await silent.clock.advance(100);
  expect(second.ends).toEqual(["a"]);
});

test("a sync covers what was written when it was asked for, and ends later", async () => {
  const { clock, trace, a } = world();
  const platter = new SimulatedDisk();
  const disk = new NodeDisk(platter, a, new Prng(1), trace);
  const file = await disk.open("/file", "create");
  let isDone = false;
  const write = (text: string, position: number): void => file.writeNow(Buffer.from(text), position);
  write("synced", 0);
  void disk
    .syncDirectory("/")
    .then(async () => file.sync())
    .then(() => (isDone = true));
  await clock.runUntil(() => isDone, { withinMs: 100 });
  isDone = false;
  write(" begun", 6);
  void file.sync().then(() => (isDone = true));
  await clock.settle();
  write(" later", 4096);
  await clock.runUntil(() => isDone, { withinMs: 100 });
  const left = new Set<string>();
  for (let seed = 0; seed < 50; seed++) {
    const text = (await platter.afterPowerLoss(new Prng(seed)).readFile("/file")).toString();
    expect(text.slice(0, 12)).toBe("synced begun");
    left.add(text.slice(4096));
  }
  expect(left).toContain("");
  expect(left).toContain(" later");
});
