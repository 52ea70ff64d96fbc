import { join } from "node:path";
import { log4jOption } from "./target.ts";
import { interopDirectory, javaClassPath, paths, pythonCommand, whyMissing, type RuntimeName } from "./runtimes.ts";

/** The foreign clients that the tests drive: one line each, with the program that speaks for it. */
export interface Client {
  readonly name: ClientName;
  /** What must have been prepared; null where `npm ci` suffices. */
  readonly runtime: RuntimeName | null;
  readonly command: () => Command;
  /** The program that sums numbers by key (key-sums.test.ts), where there is one. */
  readonly keySums?: () => Command;
  readonly environment?: Readonly<Record<string, string>>;
}

/** An executable and its arguments. */
export type Command = readonly [string, ...string[]];

export type ClientName = "java" | "franz-go" | "librdkafka" | "kafka-python" | "kafkajs" | "platformatic";

export const clients: Readonly<Record<ClientName, Client>> = {
  java: {
    name: "java",
    runtime: "java",
    command: () => javaProgram("Interop"),
    keySums: () => javaProgram("KeySums"),
  },
  "franz-go": {
    name: "franz-go",
    runtime: "go",
    command: () => [paths.goProgram],
    keySums: () => [paths.goProgram, "key-sums"],
  },
  librdkafka: {
    name: "librdkafka",
    runtime: "python",
    command: () => pythonProgram("librdkafka_client.py"),
    keySums: () => pythonProgram("librdkafka_key_sums.py"),
    environment: { PYTHONPATH: paths.pythonPackages },
  },
  "kafka-python": {
    name: "kafka-python",
    runtime: "python",
    command: () => pythonProgram("kafka_python_client.py"),
    keySums: () => pythonProgram("kafka_python_key_sums.py"),
    environment: { PYTHONPATH: paths.pythonPackages },
  },
  kafkajs: { name: "kafkajs", runtime: null, command: () => nodeProgram("kafkajs.ts") },
  platformatic: { name: "platformatic", runtime: null, command: () => nodeProgram("platformatic.ts") },
};

export const clientNames = Object.keys(clients) as readonly ClientName[];

export function whyClientMissing(name: ClientName): string | null {
  const { runtime } = clients[name];
  return runtime === null ? null : whyMissing(runtime);
}

/** The program of one member of a group (consumer-groups.test.ts). */
export function javaMember(): Command {
  return javaProgram("GroupMember");
}

function javaProgram(main: string): Command {
  return ["java", "-Xmx512m", "-XX:+UseSerialGC", log4jOption, "-cp", javaClassPath(), main];
}

function pythonProgram(file: string): Command {
  return [pythonCommand() ?? "python3", "-B", join(interopDirectory, "python", file)];
}

function nodeProgram(file: string): Command {
  return [process.execPath, join(interopDirectory, "clients", file)];
}
