import { silentLogger } from "@millrace/base/logger";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import { expect, test } from "vitest";
import { form } from "./formation.ts";

test("a controller that has lost its metadata knows of its cluster and not who votes: another one is asked", async () => {
  const clock = new VirtualClock();
  const whole = { nodeId: 2, directoryId: "b", clusterId: "c", voters: ["1:a", "2:b"] };
  let asked = 0;
  let formed: unknown = null;
  void form({
    ...{ nodeId: 3, directoryId: "d", clock, logger: silentLogger },
    controllers: new Map([1, 2].map((id) => [id, { host: `node-${id}`, port: 1 }])),
    ask: async (id) => {
      if (id === 1) return { nodeId: 1, directoryId: "a", clusterId: "c", voters: [] };
      return asked++ < 3 ? null : whole;
    },
  }).then((value) => (formed = value));
  await clock.runUntil(() => formed !== null, { withinMs: 10_000 });
  expect(formed).toMatchObject({ clusterId: "c", voters: whole.voters });
  expect(asked).toBe(4);
});
