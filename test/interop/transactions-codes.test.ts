import { beforeEach, expect, test } from "vitest";
import { skipWhenMissing } from "./journey.ts";
import { whyMissing } from "./runtimes.ts";
import { Target, type TargetName } from "./target.ts";
import { scriptSettings, transactionCodes } from "./transactions/script.ts";
import { usedUpEpochs } from "./transactions/used-up-epochs.ts";

/* Scripts of raw requests, run against Apache Kafka and against Millrace: what they write down must be the same text. */

type Script = (port: number) => Promise<readonly string[]>;

beforeEach((context) => skipWhenMissing(context, whyMissing("java")));

test("every request in every state of a transactional id is answered as Apache Kafka answers it", async () => {
  const kafka = await linesOf(transactionCodes, "kafka");
  const millrace = await linesOf(transactionCodes, "millrace");
  expect(kafka.length).toBeGreaterThan(1_000);
  expect(differences(kafka, millrace).join("\n")).toBe("");
});

test("epochs are used up as Apache Kafka uses them up", async () => {
  const kafka = await linesOf(usedUpEpochs, "kafka");
  const millrace = await linesOf(usedUpEpochs, "millrace");
  expect(kafka.some((line) => line.includes("another id epoch 0"))).toBe(true);
  expect(differences(kafka, millrace).join("\n")).toBe("");
});

/** Kafka looks for transactions that are over time every ten seconds, if it is not told otherwise; Millrace need not look. */
const settingsOfKafka = { "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500" };

async function linesOf(script: Script, name: TargetName): Promise<readonly string[]> {
  const settings = { ...scriptSettings, ...(name === "kafka" ? settingsOfKafka : {}) };
  await using target = await Target.start({ name, settings });
  return await script(target.port);
}

/**
 * Kafka aborts what is open before it looks at the epoch of who asks: so a fenced process ends the transaction of the one that has
 * fenced it. With Millrace it is refused, and changes nothing.
 */
const abortedAtOnce =
  /^Ongoing[^|]*\| InitProducerId v5, (?:older epoch|newer epoch)|^Ongoing, fenced \| InitProducerId v5, the same process/;

/** Both have the same lines up to the answer, in the same order. What is a crash of Kafka's request handler is no model. */
function differences(kafka: readonly string[], millrace: readonly string[]): readonly string[] {
  const length = Math.max(kafka.length, millrace.length);
  return Array.from({ length }, (_, index) => {
    const [theirs, ours] = [kafka[index] ?? "nothing", millrace[index] ?? "nothing"];
    const isKnown = theirs.includes("UNKNOWN_SERVER_ERROR") || abortedAtOnce.test(theirs);
    return theirs === ours || isKnown ? "" : `Kafka:    ${theirs}\nMillrace: ${ours}`;
  }).filter((difference) => difference !== "");
}
