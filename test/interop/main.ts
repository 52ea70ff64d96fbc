import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { interopDirectory, repositoryRoot } from "./runtimes.ts";
import { chosenTarget, whyTargetMissing } from "./target.ts";

/**
 * `npm run interop -- [suite ...] [--target millrace|millrace-dist|kafka] [--long]`: the interop tests of some clients,
 * or all. `--long` adds what `npm test` leaves out for its time.
 * With `--target kafka` the same tests run against Apache Kafka: what fails there is wrong in the test.
 */
const suites: Readonly<Record<string, readonly string[]>> = {
  java: ["java", "console-tools", "transactions-command", "coordinator-logs", "dump-log", "consumer-groups", "explain"],
  "franz-go": ["franz-go"],
  librdkafka: ["librdkafka", "kcat"],
  kafkajs: ["kafkajs"],
  "kafkajs-facade": ["kafkajs-facade", "kafkajs-migration"],
  platformatic: ["platformatic"],
  "kafka-python": ["kafka-python"],
  "consumer-group-answers": ["consumer-group-answers"],
  "cross-client": ["cross-client"],
  "key-sums": ["key-sums"],
  groups: ["groups", "ownership"],
  transactions: ["transactions", "transactions-codes"],
  verifiable: ["verifiable"],
  streams: ["streams"],
  deposits: ["deposits", "deposits-faults"],
  inventory: ["inventory"],
  "cluster-tools": ["cluster-tools"],
  connect: ["connect"],
  "real-input": ["real-input"],
  histories: ["histories"],
  "cluster-chaos": ["cluster-chaos"],
  client: [
    "client-admin",
    "client-admin-secure",
    "client-consumer",
    "client-consumer-faults",
    "client-consumer-reading",
    "client-encryption",
    "client-faults",
    "client-journey",
    "client-membership",
    "client-memory",
    "client-producer",
    "client-security",
    "client-stories",
    "schema-serdes",
  ],
  "client-memory": ["client-memory"],
};

const { values, positionals } = parseArgs({
  options: { target: { type: "string" }, long: { type: "boolean" } },
  allowPositionals: true,
});
if (values.target !== undefined) process.env["MILLRACE_INTEROP_TARGET"] = values.target;
if (values.long === true) process.env["MILLRACE_INTEROP_LONG"] = "1";
const unknown = positionals.filter((name) => !(name in suites));
const missing = unknown.length > 0 ? null : whyTargetMissing(chosenTarget());
if (unknown.length > 0) {
  console.error(`unknown suite ${unknown.join(", ")}: choose from ${Object.keys(suites).join(", ")}`);
  process.exitCode = 2;
} else if (missing !== null) {
  console.error(missing);
  process.exitCode = 2;
} else {
  const names = positionals.length === 0 ? Object.keys(suites) : positionals;
  const files = names.flatMap((name) => suites[name] ?? []).map((name) => join(interopDirectory, `${name}.test.ts`));
  const vitest = join(dirname(createRequire(import.meta.url).resolve("vitest/package.json")), "vitest.mjs");
  const args = [vitest, "run", "--project", "interop", "--reporter", "verbose", ...files];
  process.exitCode = spawnSync(process.execPath, args, { cwd: repositoryRoot, stdio: "inherit" }).status ?? 1;
}
