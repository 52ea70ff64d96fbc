import { expect, test } from "vitest";
import { Prng } from "@millrace/base/prng";
import { checkHistory } from "./check.ts";
import { anomalyKinds, groupViolationKinds } from "./findings.ts";
import type { HistoryEvent } from "./history.ts";
import { modelHistory } from "./model.ts";
import { isolatedKinds, Mutable, mutations } from "./mutations.ts";

const seed = Number(process.env["MILLRACE_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const replay = `again: MILLRACE_SEED=${seed} npm test -- histories/properties`;

function found(events: readonly HistoryEvent[], areWritesIsolated: boolean): string[] {
  const report = checkHistory(events, { areWritesIsolated });
  return report.ok ? report.value.findings.map(({ text }) => text) : [`${report.failure}: ${report.message}`];
}

test.for([false, true])(
  "whatever a correct cluster shows, nothing is found in it; writes isolated: %s",
  (isIsolated) => {
    const prng = new Prng(seed);
    for (let run = 0; run < 150; run++) {
      const events = modelHistory(prng.fork(), { steps: 1500, areWritesIsolated: isIsolated });
      expect(found(events, isIsolated), `run ${run}, ${replay}`).toEqual([]);
    }
  },
);

test.for([...anomalyKinds, ...groupViolationKinds])("one mistake in such a history is found: %s", (kind) => {
  const prng = new Prng(seed);
  const areWritesIsolated = isolatedKinds.has(kind);
  let planted = 0;
  for (let run = 0; run < 400 && planted < 10; run++) {
    const events = modelHistory(prng.fork(), { steps: 1500, areWritesIsolated });
    const mutated = mutations[kind](new Mutable(events, prng.fork()));
    if (mutated === null) continue;
    planted += 1;
    const kinds = found(mutated, areWritesIsolated).map((text) => text.slice(0, text.indexOf(":")));
    expect(kinds, `run ${run}, ${replay}`).toContain(kind);
  }
  expect(planted, `histories with a place for it, ${replay}`).toBeGreaterThan(0);
});
