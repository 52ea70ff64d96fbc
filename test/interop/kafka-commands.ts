import { writeFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "./broker-process.ts";
import { interopDirectory, javaClassPath, kafka3ClassPath } from "./runtimes.ts";

/** Which Apache Kafka: that of the foreign clients, or one of the line before, of which some clusters are. */
export type Distribution = "4.3.1" | "3.9.2";

/** A node of Apache Kafka: a broker that is a controller, too. */
export interface KafkaNode {
  /** For its file of settings. */
  readonly directory: string;
  readonly dataDirectory: string;
  readonly port: number;
  readonly controllerPort: number;
  /** Over what is written here and in kafka/server.properties. */
  readonly settings: Readonly<Record<string, string>>;
  /** Further listeners, by the names of their security protocols. */
  readonly ports?: ReadonlyMap<string, number>;
  readonly distribution?: Distribution;
  /** As kafka-server-start knows it by KAFKA_HEAP_OPTS. */
  readonly heapOptions?: readonly string[];
}

/** Compiles its code but once: half the processor time for its start. */
export const briefEnvironment: Readonly<Record<string, string>> = { JDK_JAVA_OPTIONS: "-XX:TieredStopAtLevel=1" };
/** Does not wait for the session of a broker that was killed, and makes small logs for its coordinators. */
export const briefSettings: Readonly<Record<string, string>> = {
  "broker.session.timeout.ms": "3000",
  "broker.heartbeat.interval.ms": "500",
  "offsets.topic.num.partitions": "5",
  "transaction.state.log.num.partitions": "5",
};

export const log4jOption: string = `-Dlog4j2.configurationFile=${join(interopDirectory, "kafka", "log4j2.properties")}`;

/** Of a cluster or of a single node: unlike that of another one on this machine. */
export function clusterIdOf(directory: string): string {
  return Buffer.from(directory).subarray(-16).toString("base64url");
}

/** Writes the settings of the node; gives the command as kafka-server-start runs it, with its heap and collector. */
export function kafkaCommand(node: KafkaNode): Command {
  const { port, controllerPort, distribution = "4.3.1", heapOptions = ["-Xmx1G", "-Xms1G"] } = node;
  const more = [...(node.ports ?? [])].map(([name, at]) => `,${name}://127.0.0.1:${at}`).join("");
  const settings: Readonly<Record<string, string>> = {
    listeners: `PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}${more}`,
    "advertised.listeners": `PLAINTEXT://127.0.0.1:${port}${more}`,
    "controller.quorum.bootstrap.servers": `127.0.0.1:${controllerPort}`,
    "log.dirs": node.dataDirectory,
    ...node.settings,
  };
  const lines = Object.entries(settings).map(([key, value]) => `${key}=${value}\n`);
  const properties = propertiesOf(node);
  writeFileSync(
    properties,
    readFileSync(join(interopDirectory, "kafka", "server.properties"), "utf8") + lines.join(""),
  );
  const heap = [...heapOptions, "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"];
  const collector = [
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-XX:MaxInlineLevel=15",
  ];
  return ["java", ...heap, ...collector, ...javaOptions(distribution), "kafka.Kafka", properties];
}

/** Kafka wants the directory of a node formatted once, after `kafkaCommand` has written its settings. */
export function formatCommand(node: KafkaNode, clusterId: string, formatArguments: readonly string[]): Command {
  return [
    "java",
    "-XX:TieredStopAtLevel=1",
    ...javaOptions(node.distribution ?? "4.3.1"),
    ...["kafka.tools.StorageTool", "format", "-t", clusterId, "-c", propertiesOf(node)],
    ...formatArguments,
  ];
}

function propertiesOf({ directory }: KafkaNode): string {
  return join(directory, "server.properties");
}

function javaOptions(distribution: Distribution): readonly string[] {
  const classPath = distribution === "4.3.1" ? javaClassPath() : kafka3ClassPath();
  return ["-Djava.awt.headless=true", log4jOption, "-cp", classPath];
}
