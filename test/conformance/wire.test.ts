import { spawnSync } from "node:child_process";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { messageIn } from "../../protocol/test/arbitrary.ts";
import { subjects, versionsOf } from "../../protocol/test/codecs.ts";
import { ByteWriter } from "kafka-protocol-ts/writer";
import { isKafkaThere, librariesPath, skipLine } from "./kafka-declarations.ts";

const messagesPerVersion = 10;
const seed = Number(process.env["SEED"] ?? Math.trunc(Math.random() * 0x7fff_ffff));

/**
 * Our bytes go through Apache Kafka's own reader and writer, and must come back unchanged: random messages of every kind
 * and every version. What the declarations do not say (how a null struct looks, when a tag is left out) is proven here.
 */
describe.skipIf(!isKafkaThere)("Apache Kafka reads what we write, and writes the same", async () => {
  const everything = isKafkaThere ? await subjects() : [];
  const samples = everything.flatMap(({ name, schema, generated }) =>
    versionsOf(schema).flatMap((version) =>
      fc.sample(messageIn(schema, version), { seed, numRuns: messagesPerVersion }).map((message) => {
        const writer = new ByteWriter();
        generated.write(writer, message, version);
        return { name, version, hex: writer.toBuffer().toString("hex") };
      }),
    ),
  );

  test(`${samples.length} messages, SEED=${seed}`, () => {
    const answers = echo(samples.map(({ name, version, hex }) => `${name} ${version} ${hex}`));
    const changed = samples.filter(({ hex }, index) => answers[index] !== hex);
    expect(
      changed.slice(0, 10).map(({ name, version, hex }) => {
        return { name, version, ours: hex, theirs: answers[samples.findIndex((sample) => sample.hex === hex)] };
      }),
    ).toEqual([]);
  });
});

if (!isKafkaThere) test.skip(skipLine);

function echo(lines: readonly string[]): readonly string[] {
  const program = join(import.meta.dirname, "Echo.java");
  const { status, stdout, stderr } = spawnSync("java", ["-cp", join(librariesPath, "*"), program], {
    input: lines.join("\n"),
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
  if (status !== 0) throw new Error(`java ended with ${status}: ${stderr}`);
  return stdout.trimEnd().split("\n");
}
