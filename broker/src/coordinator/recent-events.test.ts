import type { TimeMs } from "@millrace/base/units";
import { expect, test } from "vitest";
import { RecentEvents } from "./recent-events.ts";

test("what comes by the thousand drives out its like, and nothing else; all come in order", () => {
  const events = new RecentEvents<string>();
  events.add(1 as TimeMs, "fenced");
  for (let count = 0; count < 5_000; count++) events.add(2 as TimeMs, `began ${count}`, { isFrequent: true });
  events.add(3 as TimeMs, "aborted");
  const all = events.filter(() => true);
  expect(all).toHaveLength(2_002);
  expect([all[0], all[1], all.at(-2), all.at(-1)]).toEqual([
    { atMs: 1, event: "fenced" },
    { atMs: 2, event: "began 3000" },
    { atMs: 2, event: "began 4999" },
    { atMs: 3, event: "aborted" },
  ]);
  expect(events.filter((event) => event.startsWith("a"))).toEqual([{ atMs: 3, event: "aborted" }]);
  for (let count = 0; count < 2_000; count++) events.add(4 as TimeMs, "rare");
  expect(events.filter((event) => !event.startsWith("began"))).toHaveLength(2_000);
});
