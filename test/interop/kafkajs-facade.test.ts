import * as facade from "@millrace/client/kafkajs";
import kafkajs from "kafkajs";
import { afterAll, expect, test, type TestContext } from "vitest";
import { administering } from "./kafkajs-facade/administering.ts";
import { consuming } from "./kafkajs-facade/consuming.ts";
import { failing } from "./kafkajs-facade/failing.ts";
import { grouping } from "./kafkajs-facade/grouping.ts";
import { observing } from "./kafkajs-facade/observing.ts";
import { producing } from "./kafkajs-facade/producing.ts";
import type { Context, Library, Program } from "./kafkajs-facade/story.ts";
import { transacting } from "./kafkajs-facade/transacting.ts";
import { skipWhenMissing } from "./journey.ts";
import { Target, whyTargetMissing } from "./target.ts";

/**
 * The same programs with KafkaJS and with `@millrace/client/kafkajs`, which are to be told apart by nothing but what the
 * migration guide lists.
 */
type Name = "kafka" | "millrace";

const names = ["kafka", "millrace"] as const;
const targets = new Map<Name, Promise<Target>>();
// oxlint-disable-next-line typescript/no-unsafe-enum-assignment -- see kafkajs-facade/types.ts
const libraries: Readonly<Record<"kafkajs" | "facade", Library>> = { kafkajs, facade };
let runsCount = 0;

process.env["KAFKAJS_NO_PARTITIONER_WARNING"] = "1";

const settings: Readonly<Record<Name, Readonly<Record<string, string>>>> = {
  kafka: {
    "group.initial.rebalance.delay.ms": "0",
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS",
  },
  millrace: { "group.initial.rebalance.delay.ms": "0" },
};

async function targetFor(name: Name, context: TestContext): Promise<Target> {
  skipWhenMissing(context, whyTargetMissing(name));
  const target = targets.get(name) ?? Target.start({ name, isBrief: true, settings: settings[name] });
  targets.set(name, target);
  return await target;
}

afterAll(async () => {
  for (const target of targets.values()) await (await target)[Symbol.asyncDispose]();
});

/** What a program gives, with names as the program wrote them. */
async function run(program: Program, library: Library, broker: string): Promise<unknown> {
  const suffix = `-run${++runsCount}`;
  const context: Context = {
    broker,
    name: (text) => `${text}${suffix}`,
    kafka: (config = {}) =>
      new library.Kafka({ clientId: "facade-test", brokers: [broker], logLevel: library.logLevel.NOTHING, ...config }),
  };
  const result = await program(library, context);
  return JSON.parse(JSON.stringify(result).replaceAll(suffix, "")) as unknown;
}

const programs = Object.entries({
  ...producing,
  ...consuming,
  ...grouping,
  ...transacting,
  ...failing,
  ...observing,
  ...administering,
});

for (const [title, program] of programs) {
  test.for(names)(`%s: ${title}`, async (name, context) => {
    const target = await targetFor(name, context);
    const theirs = await run(program, libraries.kafkajs, target.address);
    const ours = await run(program, libraries.facade, target.address);
    expect(ours).toEqual(theirs);
  });
}
