import { join } from "node:path";
import type { GroupMode } from "./contract.ts";
import { log4jOption } from "./kafka-commands.ts";
import { interopDirectory, javaClassPath, paths, pythonCommand, whyMissing, type RuntimeName } from "./runtimes.ts";

/** The clients that the tests drive, ours and foreign ones: one line each, with the program that speaks for it. */
export interface Client {
  readonly name: ClientName;
  /** What must have been prepared; null where `npm ci` suffices. */
  readonly runtime: RuntimeName | null;
  readonly command: () => Command;
  /** The program that sums numbers by key (key-sums.test.ts), where there is one. */
  readonly keySums?: () => Command;
  /** The program whose members of a group log what happens to them (groups.test.ts). */
  readonly member: () => Command;
  /** How its groups share out partitions; what `isLong` is tried with `--long` only. */
  readonly groupModes: readonly { readonly mode: GroupMode; readonly isLong?: boolean }[];
  readonly environment?: Readonly<Record<string, string>>;
}

/** An executable and its arguments. */
export type Command = readonly [string, ...string[]];

export type ClientName = "millrace" | "java" | "franz-go" | "librdkafka" | "kafka-python" | "kafkajs" | "platformatic";

export const clients: Readonly<Record<ClientName, Client>> = {
  millrace: {
    name: "millrace",
    runtime: null,
    command: () => ownProgram("millrace.ts"),
    keySums: () => ownProgram("millrace-key-sums.ts"),
    member: () => ownProgram("millrace-reader.ts"),
    groupModes: [
      { mode: "cooperative" },
      { mode: "consumer" },
      { mode: "static", isLong: true },
      { mode: "eager", isLong: true },
    ],
  },
  java: {
    name: "java",
    runtime: "java",
    command: () => javaProgram("Interop"),
    keySums: () => javaProgram("KeySums"),
    member: () => javaProgram("Member"),
    groupModes: [
      { mode: "cooperative" },
      { mode: "consumer" },
      { mode: "static", isLong: true },
      { mode: "eager", isLong: true },
    ],
  },
  "franz-go": {
    name: "franz-go",
    runtime: "go",
    command: () => [paths.goProgram],
    keySums: () => [paths.goProgram, "key-sums"],
    member: () => [paths.goProgram, "member"],
    groupModes: [
      { mode: "cooperative" },
      { mode: "consumer", isLong: true },
      { mode: "static", isLong: true },
      { mode: "eager", isLong: true },
    ],
  },
  librdkafka: {
    name: "librdkafka",
    runtime: "python",
    command: () => pythonProgram("librdkafka_client.py"),
    keySums: () => pythonProgram("librdkafka_key_sums.py"),
    member: () => pythonProgram("librdkafka_member.py"),
    groupModes: [
      { mode: "eager" },
      { mode: "consumer", isLong: true },
      { mode: "static", isLong: true },
      { mode: "cooperative", isLong: true },
    ],
    environment: { PYTHONPATH: paths.pythonPackages },
  },
  "kafka-python": {
    name: "kafka-python",
    runtime: "python",
    command: () => pythonProgram("kafka_python_client.py"),
    keySums: () => pythonProgram("kafka_python_key_sums.py"),
    member: () => pythonProgram("kafka_python_member.py"),
    groupModes: [{ mode: "eager" }, { mode: "static", isLong: true }, { mode: "cooperative", isLong: true }],
    environment: { PYTHONPATH: paths.pythonPackages },
  },
  kafkajs: {
    name: "kafkajs",
    runtime: null,
    command: () => nodeProgram("kafkajs.ts"),
    member: () => nodeProgram("kafkajs-member.ts"),
    // It assigns round robin; to the group that is the same as range.
    groupModes: [{ mode: "eager" }],
  },
  platformatic: {
    name: "platformatic",
    runtime: null,
    command: () => nodeProgram("platformatic.ts"),
    member: () => nodeProgram("platformatic-member.ts"),
    // With nine members its cooperative assignor leaves seven idle.
    groupModes: [{ mode: "eager" }],
  },
};

export const clientNames = Object.keys(clients) as readonly ClientName[];

export function whyClientMissing(name: ClientName): string | null {
  const { runtime } = clients[name];
  return runtime === null ? null : whyMissing(runtime);
}

/** Compiled but once: these programs live for seconds, and share two cores with the broker. */
export function javaProgram(main: string, args: readonly string[] = []): Command {
  const quick = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];
  return ["java", ...quick, log4jOption, "-cp", javaClassPath(), main, ...args];
}

function pythonProgram(file: string): Command {
  return [pythonCommand() ?? "python3", "-B", join(interopDirectory, "python", file)];
}

/** What imports a room of this repository, from its sources. */
function ownProgram(file: string): Command {
  return [process.execPath, "--conditions=source", join(interopDirectory, "clients", file)];
}

function nodeProgram(file: string): Command {
  return [process.execPath, join(interopDirectory, "clients", file)];
}
