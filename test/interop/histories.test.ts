import { expect, test } from "vitest";
import { campaign } from "./histories/campaign.ts";
import { faultNames } from "./histories/nemesis.ts";
import { skipWhenMissing } from "./journey.ts";
import { whyMissing } from "./runtimes.ts";
import { chosenTarget, whyTargetMissing } from "./target.ts";

/*
 * Producers, transactions and groups of other people's clients, while broker and clients are killed and paused: what they
 * saw is checked for lost writes, aborted reads, torn transactions and the rest (histories/README.md). The checker's own
 * tests are in simulator/src/histories.
 */

const seconds = 25;
const target = chosenTarget();
const missing = whyTargetMissing(target) ?? whyMissing("java") ?? whyMissing("python");

test("clients see no anomaly, whatever is killed or paused", { timeout: 240_000 }, async (context) => {
  skipWhenMissing(context, missing);
  const seed = Number(process.env["MILLRACE_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
  const again = `npm run histories -- --seed ${seed} --seconds ${seconds} --target ${target}`;
  console.log(`histories: seed ${seed} (${again})`);
  const report = await campaign({ seed, seconds, target, faults: faultNames });
  console.log(report.faults.join("\n"));
  console.log(report.size, `longest gap ${Math.round(report.longestGapMs)} ms`);
  expect(report.findings, `${again}; the notes of the clients are in ${report.directory}`).toEqual([]);
  // A run in which nothing happened would find nothing.
  expect(report.size.committed).toBeGreaterThan(20);
  expect(report.size.aborted).toBeGreaterThan(5);
  expect(report.size.read).toBeGreaterThan(report.size.acknowledged);
  expect(report.faults.length).toBeGreaterThan(0);
});
