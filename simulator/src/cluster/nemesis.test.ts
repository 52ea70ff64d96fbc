import { Prng } from "@millrace/base/prng";
import { expect, test } from "vitest";
import { VirtualClock } from "../virtual-clock.ts";
import { ClusterNetwork } from "./cluster-network.ts";
import { draw } from "./drawn.ts";
import { Nemesis } from "./nemesis.ts";
import type { Node } from "./node.ts";
import { Story } from "./story.ts";
import { Trace } from "./trace.ts";

/** As much of a node as the fault touches. */
class StandIn {
  state: "up" | "down" = "up";
  readonly isPaused = false;
  disk: { slowness: number } | null = { slowness: 1 };
  startedAtMs = 0;
  readonly name: string;
  readonly #clock: VirtualClock;
  readonly #tell: (line: string) => void;

  constructor(name: string, clock: VirtualClock, tell: (line: string) => void) {
    this.name = name;
    this.#clock = clock;
    this.#tell = tell;
  }

  get isRunning(): boolean {
    return this.state === "up";
  }
  crash(kind: string): void {
    this.#tell(kind);
    this.state = "down";
    this.disk = null;
  }
  start(): void {
    this.state = "up";
    this.disk = { slowness: 1 };
    this.startedAtMs = this.#clock.monotonicMs();
  }
}

/** Three nodes, until the disks of two of them are slow because an acknowledgement is waited for. */
async function awaiting(seed: number) {
  const clock = new VirtualClock();
  const story = new Story(clock);
  const crashes: string[] = [];
  const nodes = ["n1", "n2", "n3"].map((name) => new StandIn(name, clock, (kind) => crashes.push(`${name} ${kind}`)));
  const nemesis = new Nemesis({
    ...{ clock, story, nodes: nodes as unknown as readonly Node[], prng: new Prng(seed) },
    drawn: draw(new Prng(seed), new Prng(seed), ["loss of power after an acknowledgement"]),
    network: new ClusterNetwork(clock, new Prng(seed), new Trace()),
    quorumLeader: () => null,
    clientNames: () => [],
  });
  nemesis.begin();
  const slow = (): readonly StandIn[] => nodes.filter(({ disk }) => (disk?.slowness ?? 1) > 1);
  const asked = story.invoke("early", { name: "send", topic: "log", partition: 0, value: "v0" });
  await clock.runUntil(() => slow().length === 2, { withinMs: 20_000 });
  return { clock, story, crashes, nodes, slow, asked };
}

const seeds = [1, 2, 3, 4, 5];

test.each(seeds)(
  "the power is lost when a record is acknowledged, and who had it on its disk comes last: seed %i",
  async (seed) => {
    const { clock, story, crashes, nodes, slow, asked } = await awaiting(seed);
    const [good] = nodes.filter((node) => !slow().includes(node));
    await clock.advance(10);
    // What was asked for before may have been on all disks already.
    asked({ type: "ok", offset: 0 });
    const failed = story.invoke("late", { name: "send", topic: "log", partition: 0, value: "v1" });
    failed({ type: "info", error: "TIMED_OUT" });
    await clock.advance(200);
    expect([crashes, slow().length]).toEqual([[], 2]);
    story.invoke("late", { name: "send", topic: "log", partition: 0, value: "v2" })({ type: "ok", offset: 1 });
    await clock.advance(50);
    expect(crashes.map((line) => line.slice(0, 8))).toEqual(["n1 power", "n2 power", "n3 power"]);
    await clock.runUntil(() => good?.state === "up", { withinMs: 8_000 });
    const others = nodes.filter((node) => node !== good);
    // So much sooner that they have missed it, and one of them leads.
    for (const { startedAtMs } of others) expect(startedAtMs).toBeLessThanOrEqual((good?.startedAtMs ?? 0) - 1_900);
    expect(crashes.length).toBe(3);
  },
);

test("disks recover where nobody is told anything for a while", async () => {
  const { clock, crashes, slow } = await awaiting(1);
  await clock.runUntil(() => slow().length === 0, { withinMs: 4_001 });
  expect(crashes).toEqual([]);
});
