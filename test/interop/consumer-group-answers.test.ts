import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { GroupAsker } from "./consumer-groups/client.ts";
import { askAll, askedSettings } from "./consumer-groups/script.ts";
import { interopDirectory, whyMissing } from "./runtimes.ts";
import { chosenTarget, Target } from "./target.ts";

/**
 * Raw requests of the consumer protocol, and what Apache Kafka 4.3.1 answers: codes, epochs and assignments, line by line.
 * `REWRITE_ANSWERS=1 npm run interop -- consumer-group-answers --target kafka` asks it anew.
 */
const file = join(interopDirectory, "consumer-groups", "answers.txt");

test("the consumer protocol is answered as Apache Kafka 4.3.1 answers it", async (context) => {
  const missing = chosenTarget() === "kafka" ? whyMissing("java") : null;
  if (missing !== null) context.skip(`skipped: ${missing}`);
  await using target = await Target.start({ settings: askedSettings });
  await using asker = await GroupAsker.connect(target.port);
  await askAll(asker);
  const answers = `${asker.lines.join("\n").trim()}\n`;
  if (process.env["REWRITE_ANSWERS"] === "1" && chosenTarget() === "kafka") writeFileSync(file, answers);
  expect(answers).toBe(readFileSync(file, "utf8"));
});
