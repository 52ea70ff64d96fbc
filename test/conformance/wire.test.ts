import { spawnSync } from "node:child_process";
import { join } from "node:path";
import fc from "fast-check";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { errors } from "kafka-protocol-ts/errors";
import { ByteWriter } from "kafka-protocol-ts/writer";
import { messageIn } from "../../protocol/test/arbitrary.ts";
import { OWN_KEYS_FROM } from "kafka-protocol-ts/api";
import { subjects, versionsOf } from "../../protocol/test/codecs.ts";
import { isKafkaThere, librariesPath, skipWithoutKafka } from "./kafka-declarations.ts";

const messagesPerVersion = 10;
const seed = Number(process.env["SEED"] ?? fc.sample(fc.noBias(fc.nat()), 1)[0]);

describe("Apache Kafka's own code agrees", async () => {
  const samples = isKafkaThere ? await randomMessages() : [];
  let answers: readonly string[];
  beforeEach(skipWithoutKafka);
  beforeAll(() => {
    if (isKafkaThere)
      answers = ask(["errors", ...samples.map(({ name, version, hex }) => `${name} ${version} ${hex}`)]);
  });

  test("on the errors, their codes, and which of them are retriable", () => {
    const ours = Object.entries(errors).map(([name, [code, isRetriable]]) => `${code} ${name} ${isRetriable}`);
    expect(ours.toSorted()).toEqual(answers[0]?.split(",").slice(0, -1).toSorted());
  });

  /**
   * Our bytes go through Kafka's reader and writer and must come back unchanged: what the declarations do not say, such
   * as how a null struct looks and when a tag is left out, is proven here.
   */
  test(`on the bytes of ${samples.length} messages of every kind and version, SEED=${seed}`, () => {
    const compared = samples.map((sample, index) => ({ ...sample, theirs: answers[index + 1] }));
    expect(compared.filter(({ hex, theirs }) => hex !== theirs).slice(0, 5)).toEqual([]);
  });
});

interface Sample {
  readonly name: string;
  readonly version: number;
  readonly hex: string;
}

async function randomMessages(): Promise<readonly Sample[]> {
  const ofKafka = await subjects(({ key }) => key < OWN_KEYS_FROM);
  return ofKafka.flatMap(({ name, schema, generated }) =>
    versionsOf(schema).flatMap((version) =>
      fc.sample(messageIn(schema, version), { seed, numRuns: messagesPerVersion }).map((message) => {
        const writer = new ByteWriter();
        generated.write(writer, message, version);
        return { name, version, hex: writer.toBuffer().toString("hex") };
      }),
    ),
  );
}

/** One answer for each line. */
function ask(lines: readonly string[]): readonly string[] {
  const program = join(import.meta.dirname, "KafkaAnswers.java");
  const { status, stdout, stderr } = spawnSync("java", ["-cp", join(librariesPath, "*"), program], {
    input: lines.join("\n"),
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
  if (status !== 0) throw new Error(`java ended with ${status}: ${stderr}`);
  return stdout.trimEnd().split("\n");
}
