import { Command, CommanderError, Option } from "commander";

/** Errors whose message says all a person needs. By name: their classes are loaded only with the command that throws them. */
const plainErrors: ReadonlySet<string> = new Set(["UsageError", "KafkaError", "ConfigError", "StartError"]);

/** Runs one command line; gives the exit code. Each command's code is loaded only when it is called. */
export async function runCommand(args: readonly string[]): Promise<number> {
  let exitCode = 0;
  const program = new Command("millrace")
    .description("A Kafka-compatible event broker: start it, create topics, write and read records.")
    .exitOverride()
    .showHelpAfterError();
  const bootstrap = (): Option =>
    new Option("-b, --bootstrap <host:port,...>", "brokers to connect to").default("127.0.0.1:9092");

  program
    .command("start")
    .description("run a broker")
    .option("-p, --port <port>", "client port on 127.0.0.1; listeners= says more")
    .option("-d, --data <directory>", "where the data lives (log.dirs)")
    .option("-c, --config <file>", "a properties file with Kafka's keys")
    .option("-s, --set <key=value...>", "one setting; stronger than the file")
    .action(async (options: StartOptions) => {
      const { start } = await import("./commands/start.ts");
      exitCode = await start(options);
    });

  const topic = program.command("topic").description("create, list, describe and delete topics");
  topic
    .command("create <name>")
    .addOption(bootstrap())
    .option("--partitions <count>", "number of partitions")
    .option("--replication-factor <count>", "replicas of each partition")
    .option("--config <key=value...>", "topic settings")
    .action(async (name: string, options: CreateTopicOptions) => {
      const { createTopic } = await import("./commands/topic.ts");
      await createTopic(name, options);
    });
  for (const [command, description] of [
    ["list", "names of all topics"],
    ["describe <name>", "partitions, leaders and settings of a topic"],
    ["delete <name>", "delete a topic and its records"],
  ] as const) {
    topic
      .command(command)
      .description(description)
      .addOption(bootstrap())
      .action(async (...given: readonly unknown[]) => {
        const commands = await import("./commands/topic.ts");
        const options = given.at(-2) as BootstrapOptions;
        if (command === "list") await commands.listTopics(options);
        else if (command === "delete <name>") await commands.deleteTopic(given[0] as string, options);
        else await commands.describeTopic(given[0] as string, options);
      });
  }

  program
    .command("produce <topic>")
    .description("write the lines of standard input as records")
    .addOption(bootstrap())
    .option("-k, --key-separator <text>", "what stands between key and value; without it there are no keys")
    .option("-z, --compression <codec>", "none, gzip, snappy, lz4 or zstd", "none")
    .option("--partition <index>", "write to this partition only")
    .action(async (name: string, options: ProduceOptions) => {
      const { produceLines } = await import("./commands/produce.ts");
      await produceLines(name, options);
    });

  program
    .command("consume <topic>")
    .description("print the values of a topic's records, a line each")
    .addOption(bootstrap())
    .option("-f, --from <place>", "earliest, latest, an offset, or a time such as 2026-01-31T12:00:00Z", "earliest")
    .option("--partition <index...>", "only these partitions")
    .option("-n, --count <records>", "stop after so many records")
    .option("-e, --until-end", "stop where the partitions ended when reading began")
    .option("-k, --key-separator <text>", "print the key and this before each value")
    .addOption(new Option("--format <format>", "what to print of a record").choices(["value", "json"]).default("value"))
    .action(async (name: string, options: ConsumeOptions) => {
      const { consumeLines } = await import("./commands/consume.ts");
      await consumeLines(name, options);
    });

  program
    .command("verify <directory>")
    .description("check a data directory offline, changing nothing")
    .action(async (directory: string) => {
      const { verify } = await import("./commands/verify.ts");
      exitCode = await verify(directory);
    });

  try {
    await program.parseAsync(args, { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode;
    if (error instanceof Error && plainErrors.has(error.name)) {
      process.stderr.write(`millrace: ${error.message}\n`);
      return 1;
    }
    throw error;
  }
  return exitCode;
}

export interface BootstrapOptions {
  readonly bootstrap: string;
}

export interface StartOptions {
  readonly port?: string;
  readonly data?: string;
  readonly config?: string;
  readonly set?: readonly string[];
}

export interface CreateTopicOptions extends BootstrapOptions {
  readonly partitions?: string;
  readonly replicationFactor?: string;
  readonly config?: readonly string[];
}

export interface ProduceOptions extends BootstrapOptions {
  readonly keySeparator?: string;
  readonly compression: string;
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
