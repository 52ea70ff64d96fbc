import { createRequire } from "node:module";
import { Argument, Command, CommanderError, Option } from "commander";
import type { ExplainedKind } from "@millrace/client";
import type { StartOptions } from "./start-options.ts";

/** A command gives its exit code, or none for 0. */
type Finish = (exitCode: number) => void;

/** Reads the command line and runs its command; gives the exit code. */
export async function runProgram(args: readonly string[]): Promise<number> {
  let exitCode = 0;
  const program = new Command("millrace")
    .description("A Kafka-compatible event broker: start it, create topics, write and read records.")
    .version(version())
    .showHelpAfterError("(--help says more)")
    .exitOverride();
  const finish: Finish = (code) => {
    exitCode = code;
  };
  addStart(program, finish);
  addFormat(program);
  addTopic(program);
  addProduce(program, finish);
  addConsume(program);
  addExplain(program);
  addVerify(program, finish);
  addImport(program);
  try {
    await program.parseAsync(args, { from: "user" });
  } catch (error) {
    // It has said on standard error what is wrong.
    if (error instanceof CommanderError) return error.exitCode;
    throw error;
  }
  return exitCode;
}

/** A start with nothing but these options does not come here: see start-options.ts. */
function addStart(program: Command, finish: Finish): void {
  program
    .command("start")
    .description("run a broker, or with --nodes a cluster on this machine")
    .option("-p, --port <port>", "client port on 127.0.0.1, 0 for any that is free; --set listeners=... says more")
    .option("-d, --data <directory>", "where the data lies (log.dirs); ./data unless it is set")
    .option("-c, --config <file>", "a properties file with Kafka's keys")
    .option("-s, --set <key=value...>", "one setting or several; stronger than the file and the environment")
    .option("-n, --nodes <count>", "so many nodes, 1 to 9, each a process; clients' ports follow each other")
    .option("--no-restart", "with --nodes: a node that ends is not started again")
    .action(async (options: StartOptions) => {
      const { start } = await import("./commands/start.ts");
      finish(await start(options));
    });
}

/** In the place of kafka-storage, with its names. */
function addFormat(program: Command): void {
  program
    .command("format")
    .description("make a node's directory for a cluster; without it a first start makes one by itself")
    .requiredOption("-t, --cluster-id <id>", "the cluster; random-uuid prints one that is new")
    .option("-d, --data <directory>", "where the data lies (log.dirs)")
    .option("-c, --config <file>", "the node's properties file")
    .option("-s, --set <key=value...>", "one setting or several")
    .option("--standalone", "the only controller of a new cluster")
    .option(
      "-I, --initial-controllers <id@host:port:directory-id,...>",
      "one of the first controllers of a new cluster",
    )
    .option("-N, --no-initial-controllers", "one more node of a cluster that is there")
    .option("-g, --ignore-formatted", "a directory that is formatted is left as it is, and that is no error")
    .action(async (options: FormatOptions) => {
      const { format } = await import("./commands/format.ts");
      await format(options);
    });
  program
    .command("random-uuid")
    .description("print a new id, for a cluster or a directory")
    .action(async () => {
      const { printUuid } = await import("./commands/format.ts");
      printUuid();
    });
}

function addTopic(program: Command): void {
  const topic = program.command("topic").description("create, list, describe, compact and delete topics");
  topic
    .command("create <name>")
    .description("create a topic")
    .addOption(bootstrap())
    .option("--partitions <count>", "number of partitions; num.partitions of the broker unless it is given")
    .option("--replication-factor <count>", "replicas of each partition")
    .option("--config <key=value...>", "topic settings")
    .action(async (name: string, options: CreateTopicOptions) => {
      const { createTopic } = await import("./commands/topic.ts");
      await createTopic(name, options);
    });
  topic
    .command("list")
    .description("names of all topics")
    .addOption(bootstrap())
    .action(async (options: BootstrapOptions) => {
      const { listTopics } = await import("./commands/topic.ts");
      await listTopics(options);
    });
  topic
    .command("describe <name>")
    .description("partitions, leaders and settings of a topic")
    .addOption(bootstrap())
    .action(async (name: string, options: BootstrapOptions) => {
      const { describeTopic } = await import("./commands/topic.ts");
      await describeTopic(name, options);
    });
  topic
    .command("compact <name>")
    .description("have a compacted topic compacted now, whatever its dirty ratio")
    .addOption(bootstrap())
    .action(async (name: string, options: BootstrapOptions) => {
      const { compactTopic } = await import("./commands/topic.ts");
      await compactTopic(name, options);
    });
  topic
    .command("delete <name>")
    .description("delete a topic and its records")
    .addOption(bootstrap())
    .action(async (name: string, options: BootstrapOptions) => {
      const { deleteTopic } = await import("./commands/topic.ts");
      await deleteTopic(name, options);
    });
}

function addProduce(program: Command, finish: Finish): void {
  program
    .command("produce <topic>")
    .description("write the lines of standard input as records")
    .addOption(bootstrap())
    .option("-k, --key-separator <text>", "what stands between key and value; without it there are no keys")
    .addOption(
      new Option("-z, --compression <codec>", "how batches are compressed")
        .choices(["none", "gzip", "snappy", "lz4", "zstd"])
        .default("none"),
    )
    .option("--partition <index>", "write to this partition only")
    .action(async (name: string, options: ProduceOptions) => {
      const { produceLines } = await import("./commands/produce.ts");
      finish(await produceLines(name, options));
    });
}

function addConsume(program: Command): void {
  program
    .command("consume <topic>")
    .description("print the records of a topic, a line each; a partition's records keep their order")
    .addOption(bootstrap())
    .option("-f, --from <place>", "earliest, latest, an offset, or a time such as 2026-01-31T12:00:00Z", "earliest")
    .option("--partition <index...>", "only these partitions")
    .option("-n, --count <records>", "stop after so many records")
    .option("-e, --until-end", "stop where the partitions ended when reading began")
    .option("-k, --key-separator <text>", "print the key and this before each value")
    .addOption(
      new Option("--format <format>", "the value as it is (nothing where there is none), or all of the record as JSON")
        .choices(["value", "json"])
        .default("value"),
    )
    .action(async (name: string, options: ConsumeOptions) => {
      const { consumeLines } = await import("./commands/consume.ts");
      await consumeLines(name, options);
    });
}

function addExplain(program: Command): void {
  program
    .command("explain")
    .description("say why a group, a producer, a transaction or a partition does not get on")
    .addArgument(
      new Argument("<kind>", "what it is").choices(["group", "producer", "transaction", "partition"] as const),
    )
    .argument("<name>", "a group id, a producer id or transactional id, a transactional id, or topic-partition")
    .addOption(bootstrap())
    .option("--json", "as a JSON object, for programs")
    .action(async (kind: ExplainedKind, name: string, options: ExplainOptions) => {
      const { explain } = await import("./commands/explain.ts");
      await explain(kind, name, options);
    });
}

function addVerify(program: Command, finish: Finish): void {
  program
    .command("verify <directory>")
    .description("check a data directory offline, changing nothing: every batch, index and checkpoint")
    .action(async (directory: string) => {
      const { verify } = await import("./commands/verify.ts");
      finish(await verify(directory));
    });
}

function addImport(program: Command): void {
  program
    .command("import")
    .description("make a data directory of a stopped Apache Kafka's, which is only read")
    .requiredOption("--from-kafka <directory...>", "its log.dirs, all of them; KRaft mode, cleanly stopped")
    .requiredOption("--to <directory>", "the data directory to make; missing or empty")
    .option("--drop-unsupported", "leave behind what cannot be taken over, instead of refusing")
    .action(async (options: ImportOptions) => {
      const { importDirectories } = await import("./commands/import.ts");
      await importDirectories(options);
    });
}

function bootstrap(): Option {
  return new Option("-b, --bootstrap <host:port,...>", "brokers to connect to").default("127.0.0.1:9092");
}

function version(): string {
  return (createRequire(import.meta.url)("../package.json") as { readonly version: string }).version;
}

export interface BootstrapOptions {
  readonly bootstrap: string;
}

export interface FormatOptions {
  readonly clusterId: string;
  readonly data?: string;
  readonly config?: string;
  readonly set?: readonly string[];
  readonly standalone?: boolean;
  /** False: --no-initial-controllers. */
  readonly initialControllers?: string | false;
  readonly ignoreFormatted?: boolean;
}

export interface CreateTopicOptions extends BootstrapOptions {
  readonly partitions?: string;
  readonly replicationFactor?: string;
  readonly config?: readonly string[];
}

export interface ProduceOptions extends BootstrapOptions {
  readonly keySeparator?: string;
  readonly compression: "none" | "gzip" | "snappy" | "lz4" | "zstd";
  readonly partition?: string;
}

export interface ConsumeOptions extends BootstrapOptions {
  readonly from: string;
  readonly partition?: readonly string[];
  readonly count?: string;
  readonly untilEnd?: boolean;
  readonly keySeparator?: string;
  readonly format: "value" | "json";
}

export interface ExplainOptions extends BootstrapOptions {
  readonly json?: boolean;
}

export interface ImportOptions {
  readonly fromKafka: readonly string[];
  readonly to: string;
  readonly dropUnsupported?: boolean;
}
