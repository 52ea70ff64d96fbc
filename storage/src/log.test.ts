import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "@millrace/base/logger";
import { nodeWorld } from "@millrace/base/node/node-world";
import type { World } from "@millrace/base/world";
import { SeededRandom } from "@millrace/simulator/seeded-random";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import { describe, expect, test } from "vitest";
import { append, durable, readAll, topicId, values } from "../test/support.ts";
import { defaultLogConfig } from "./log-config.ts";
import type { LogConfig } from "./log-config.ts";
import { LogDirectory } from "./log-directory.ts";
import type { LoadReport } from "./log-directory.ts";
import type { Offset } from "./types.ts";

type Worldly = Pick<World, "disk" | "clock" | "random">;

interface Opened {
  readonly directory: LogDirectory;
  readonly report: LoadReport;
}

async function open(world: Worldly, path: string, config: LogConfig): Promise<Opened> {
  const { disk, clock, random } = world;
  const opened = await LogDirectory.open({
    path,
    disk,
    clock,
    random,
    logger: silentLogger,
    clusterId: null,
    nodeId: 1,
  });
  if (!opened.ok) throw new Error(opened.message);
  return { directory: opened.value, report: await opened.value.load(() => config) };
}

describe.for<[string, () => Promise<{ world: Worldly; path: string; remove: () => Promise<void> }>]>([
  [
    "a simulated disk",
    async () => {
      const clock = new VirtualClock();
      return {
        world: { clock, disk: new SimulatedDisk({ clock }), random: new SeededRandom(1) },
        path: "/data",
        remove: async () => {},
      };
    },
  ],
  [
    "a real disk",
    async () => {
      const path = await mkdtemp(join(tmpdir(), "millrace-log-"));
      return { world: nodeWorld(), path, remove: () => rm(path, { recursive: true, force: true }) };
    },
  ],
])("on %s", ([, make]) => {
  test("what was appended is read again, also after a restart", async () => {
    const { world, path, remove } = await make();
    const config = { ...defaultLogConfig, "segment.bytes": 20_000 };
    const first = await open(world, path, config);
    const log = await first.directory.createLog({ topic: "orders", partition: 0, topicId, config });
    expect(append(log, { records: ["a", "b"] }).firstOffset).toBe(0);
    expect(append(log, { records: ["c"] }).firstOffset).toBe(2);
    await durable(log);
    expect(log.flushedOffset).toBe(3);
    expect(values(await readAll(log))).toEqual(["a", "b", "c"]);
    for (let batch = 0; batch < 30; batch++) append(log, { records: [`${batch}${"x".repeat(1500)}`, "y"] });
    await durable(log);
    expect(log.segmentCount).toBe(3);
    await log.deleteRecordsBefore(20 as Offset);
    await first.directory.close();

    const second = await open(world, path, config);
    expect(second.report).toMatchObject({ isClean: true, logsCount: 1, recoveredBytes: 0, offline: [], unknown: [] });
    const again = second.directory.find("orders", 0, topicId);
    if (again === undefined) throw new Error("the log is gone");
    expect([again.logStartOffset, again.logEndOffset]).toEqual([20, 63]);
    append(again, { records: ["d"] });
    await durable(again);
    const found = await readAll(again, 20, 5000);
    expect(found.map(({ offset }) => offset)).toEqual(Array.from({ length: 44 }, (_, index) => 20 + index));
    expect(values(found).at(-1)).toBe("d");
    await again.truncateTo(40 as Offset);
    expect(again.logEndOffset).toBe(39);
    await second.directory.deleteLog(again);
    await second.directory.close();
    expect((await open(world, path, config)).report).toMatchObject({ isClean: true, logsCount: 0 });
    await remove();
  });
});
