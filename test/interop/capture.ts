import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { createConnection, createServer, type Server, type Socket } from "node:net";
import { hostname } from "node:os";
import { join } from "node:path";
import { apis } from "kafka-protocol-ts/apis";
import { clientNames, clients, whyClientMissing, type ClientName } from "./clients.ts";
import { Workspace } from "./journey.ts";
import { runKcat } from "./kcat.ts";
import { ClientProgram } from "./program.ts";
import { sampleRecords, writeRecords } from "./records.ts";
import { javaClassPath, repositoryRoot, whyMissing } from "./runtimes.ts";
import { freePorts } from "./broker-process.ts";
import { Target } from "./target.ts";

/**
 * `node --conditions=source test/interop/capture.ts`: stands between every client and Apache Kafka and writes down the
 * requests as protocol/golden/<api>.v<version>.<client>.hex (header and body, without the length of the frame): the
 * first of each that is not long. What protocol/golden has is left alone. What no client sends is encoded by franz-go's
 * kmsg or by Kafka's own classes (java/src/Encodings.java), with something in every field, so that each version has bytes
 * by a hand that is not ours.
 */
const goldenDirectory = join(repositoryRoot, "protocol", "golden");
/** A longer frame is kept only where no shorter one comes. */
const frameBytesPreferred = 4_096;

interface Frame {
  readonly key: number;
  readonly version: number;
  readonly bytes: Buffer;
}

const apiByKey = new Map(Object.values(apis).map((api) => [api.key, api]));

/** Passes bytes on in both directions, and reads the frames that clients send. */
class RecordingProxy {
  /** Whose requests these are; nothing is recorded while it is null. */
  client: string | null = null;
  readonly #frames = new Map<string, Frame>();
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(port: number, brokerPort: number) {
    this.#server = createServer((socket) => this.#relay(socket, brokerPort));
    this.#server.listen(port, "127.0.0.1");
  }

  /** Frames by the name of their file. */
  get frames(): ReadonlyMap<string, Frame> {
    return this.#frames;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #relay(socket: Socket, brokerPort: number): void {
    const broker = createConnection({ port: brokerPort, host: "127.0.0.1" });
    let rest: Buffer = Buffer.alloc(0);
    socket.on("data", (chunk: Buffer) => {
      broker.write(chunk);
      rest = this.#record(Buffer.concat([rest, chunk]));
    });
    broker.pipe(socket);
    for (const [side, other] of [
      [socket, broker],
      [broker, socket],
    ] as const) {
      this.#sockets.add(side);
      side.on("error", () => other.destroy());
      side.on("close", () => {
        this.#sockets.delete(side);
        other.destroy();
      });
    }
  }

  #record(bytes: Buffer): Buffer {
    let at = 0;
    while (bytes.length >= at + 4 && bytes.length >= at + 4 + bytes.readInt32BE(at)) {
      const size = bytes.readInt32BE(at);
      this.#keep(Buffer.from(bytes.subarray(at + 4, at + 4 + size)));
      at += 4 + size;
    }
    return bytes.subarray(at);
  }

  #keep(bytes: Buffer): void {
    if (this.client === null) return;
    const frame = frameOf(bytes);
    const name = fileOf(frame, this.client);
    const known = this.#frames.get(name);
    const isBetter =
      known === undefined || (known.bytes.length > frameBytesPreferred && bytes.length < known.bytes.length);
    if (isBetter) this.#frames.set(name, frame);
  }
}

function frameOf(bytes: Buffer): Frame {
  return { key: bytes.readInt16BE(0), version: bytes.readInt16BE(2), bytes };
}

function fileOf({ key, version }: Frame, client: string): string {
  const name = apiByKey.get(key)?.name ?? `unknown-${key}`;
  const kebab = name.replaceAll(/(?<=[a-z0-9])(?=[A-Z])/g, "-").toLowerCase();
  return `${kebab}.v${version}.${client}.hex`;
}

// --- What the clients are asked to do --------------------------------------------------------------------------------

const topicCount = 4;

/** Topics, records in each compression, a group that commits, leaves and comes back. */
async function drive(name: ClientName, address: string, workspace: Workspace): Promise<ClientProgram> {
  const program = ClientProgram.start(clients[name], address);
  const { compressions, cannot } = await program.hello();
  const topic = `captured-${name}`;
  await program.createTopic({ topic, partitions: topicCount, configs: { "retention.ms": "3600000" } });
  let count = 0;
  for (const [index, compression] of compressions.entries()) {
    const file = workspace.path("few.jsonl");
    const records = sampleRecords({ count: 3, seed: 7 + index, without: cannot });
    writeRecords(file, records);
    count += (await program.produce({ topic, partitions: topicCount, compression, file })).acks.length;
  }
  const consume = async (group: string, protocol: "classic" | "consumer"): Promise<void> => {
    const output = workspace.path("consumed.jsonl");
    const half = Math.floor(count / 2);
    await program.consume({ topics: [topic], group, count: half, output, timeoutMs: 30_000, keep: true, protocol });
    // Long enough for a heartbeat.
    await new Promise((resolve) => setTimeout(resolve, 4_000));
    await program.consume({ topics: [topic], group, count: count - half, output, timeoutMs: 30_000, protocol });
  };
  await consume(`classic-${name}`, "classic");
  if (name === "java" || name === "librdkafka") await consume(`next-${name}`, "consumer");
  return program;
}

/** Requests that only the tools of Apache Kafka send: name, arguments, standard input. */
const toolCalls: readonly (readonly [main: string, args: string, stdin?: string])[] = [
  ["TopicCommand", "--create --topic tools --partitions 4 --config retention.ms=3600000"],
  ["TopicCommand", "--describe --topic tools"],
  ["TopicCommand", "--alter --topic tools --partitions 5"],
  ["ConsoleProducer", "--topic tools", "one\ntwo\n"],
  ["consumer.ConsoleConsumer", "--topic tools --from-beginning --max-messages 2 --timeout-ms 20000 --group tools"],
  ["consumer.group.ConsumerGroupCommand", "--list --state"],
  ["consumer.group.ConsumerGroupCommand", "--describe --group tools"],
  ["consumer.group.ConsumerGroupCommand", "--group tools --reset-offsets --to-earliest --all-topics --execute"],
  ["consumer.group.ConsumerGroupCommand", "--group tools --delete-offsets --topic tools"],
  ["consumer.group.ConsumerGroupCommand", "--group tools --delete"],
  ["consumer.ConsoleShareConsumer", "--topic tools --max-messages 1 --timeout-ms 3000 --group shared"],
  ["consumer.group.ShareGroupCommand", "--describe --group shared"],
  ["consumer.group.ShareGroupCommand", "--group shared --reset-offsets --to-earliest --topic tools --execute"],
  ["consumer.group.ShareGroupCommand", "--group shared --delete-offsets --topic tools"],
  ["streams.StreamsGroupCommand", "--list"],
  ["GroupsCommand", "--list"],
  ["GetOffsetShell", "--topic tools"],
  ["GetOffsetShell", "--topic tools --time max-timestamp"],
  ["BrokerApiVersionsCommand", ""],
  ["ClusterTool", "cluster-id"],
  ["ClusterTool", "list-endpoints"],
  ["FeatureCommand", "describe"],
  ["FeatureCommand", "upgrade --feature share.version=1"],
  ["MetadataQuorumCommand", "describe --status"],
  ["LogDirsCommand", "--describe --topic-list tools"],
  ["LeaderElectionCommand", "--election-type preferred --topic tools --partition 0"],
  ["reassign.ReassignPartitionsCommand", "--list"],
  ["TransactionsCommand", "list"],
  ["TransactionsCommand", "describe-producers --topic tools --partition 0"],
  ["TransactionsCommand", "describe --transactional-id perf"],
  ["ProducerPerformance", "--topic tools --num-records 20 --record-size 20 --throughput -1 --transactional-id perf"],
  ["AclCommand", "--list"],
  ["AclCommand", "--add --allow-principal User:a --operation Read --topic tools"],
  ["AclCommand", "--remove --allow-principal User:a --operation Read --topic tools --force"],
  ["ClientMetricsCommand", "--list"],
  ["ClientMetricsCommand", "--alter --name m --metrics org.apache.kafka.producer --interval 60000"],
  ["DelegationTokenCommand", "--describe --command-config /dev/null"],
  ["DelegationTokenCommand", "--create --max-life-time-period -1 --command-config /dev/null"],
];

const configCalls: readonly string[] = [
  "--describe --entity-type topics --entity-name tools",
  "--alter --entity-type topics --entity-name tools --add-config flush.ms=1000",
  "--alter --entity-type users --entity-name alice --add-config producer_byte_rate=1000000",
  "--describe --entity-type users --entity-name alice",
  "--alter --entity-type users --entity-name alice --add-config SCRAM-SHA-256=[iterations=4096,password=secret]",
];

async function driveTools(program: ClientProgram, address: string): Promise<void> {
  const calls = [
    ...toolCalls.map(([main, args, stdin]) => ({ main: `org.apache.kafka.tools.${main}`, args, stdin })),
    ...configCalls.map((args) => ({ main: "kafka.admin.ConfigCommand", args, stdin: undefined })),
    { main: "org.apache.kafka.tools.TopicCommand", args: "--delete --topic tools", stdin: undefined },
  ];
  for (const { main, args, stdin } of calls) {
    const list = [...args.split(" ").filter((part) => part !== ""), "--bootstrap-server", address];
    try {
      await program.call("tool", { main, args: list, stdin: stdin ?? "" }, { timeoutMs: 70_000 });
    } catch (error) {
      console.log(`${main} ${args}: ${String(error).split("\n")[0]}`);
    }
  }
}

/** Versions of Kafka that changed requests, oldest first: franz-go speaks as it would have spoken to each. */
const pastKafkas = ["0.11", "1.0", "1.1", "2.0", "2.1", "2.2", "2.3", "2.4", "2.5", "2.6", "2.7", "2.8"];
const recentKafkas = ["3.0", "3.1", "3.2", "3.3", "3.4", "3.5", "3.6", "3.7", "3.8", "3.9", "4.0", "4.1", "4.2", "4.3"];

async function tour(program: ClientProgram): Promise<void> {
  for (const version of [...pastKafkas, ...recentKafkas]) {
    const name = `tour-${version.replace(".", "-")}`;
    try {
      await program.call("tour", { version: `v${version}`, topic: name, group: name });
    } catch (error) {
      console.log(`franz-go as for ${version}: ${String(error).split("\n")[0]}`);
    }
  }
}

async function kmsgEncodings(program: ClientProgram): Promise<Frame[]> {
  const answer = (await program.call("encodings", {})) as { readonly encodings: readonly { readonly hex: string }[] };
  return answer.encodings.map(({ hex }) => frameOf(Buffer.from(hex, "hex")));
}

/** The versions into which kmsg writes tagged fields of a later one, which no broker would see as sent. */
function javaEncodings(): Frame[] {
  const lines = execFileSync("java", ["-cp", javaClassPath(), "Encodings"], { encoding: "utf8" }).trim().split("\n");
  return lines.map((hex) => frameOf(Buffer.from(hex, "hex")));
}

// --- The run ---------------------------------------------------------------------------------------------------------

async function capture(): Promise<{ readonly frames: Map<string, Frame>; readonly kmsg: readonly Frame[] }> {
  using workspace = new Workspace();
  const [proxyPort] = await freePorts(2);
  const settings = { "group.initial.rebalance.delay.ms": "0", "num.partitions": `${topicCount}` };
  await using target = await Target.start({ name: "kafka", settings, advertisedPort: proxyPort });
  const proxy = new RecordingProxy(proxyPort, target.port);
  const address = `127.0.0.1:${proxyPort}`;
  let kmsg: readonly Frame[] = [];
  try {
    // Of our own client the bytes would prove nothing.
    const foreign = clientNames.filter((client) => client !== "millrace" && whyClientMissing(client) === null);
    for (const name of foreign) {
      console.log(name);
      proxy.client = name;
      await using program = await drive(name, address, workspace);
      if (name === "java") await driveTools(program, address);
      if (name === "franz-go") {
        await tour(program);
        kmsg = await kmsgEncodings(program);
      }
    }
    if (whyMissing("kcat") === null) {
      proxy.client = "kcat";
      const file = workspace.path("lines.txt");
      writeFileSync(file, "one\ntwo\nthree\n");
      await runKcat(address, ["-P", "-t", "captured-kcat", "-l", file]);
      await runKcat(address, ["-L"]);
      await runKcat(address, ["-C", "-t", "captured-kcat", "-o", "beginning", "-e"]);
    }
    proxy.client = null;
    return { frames: new Map(proxy.frames), kmsg };
  } finally {
    proxy.close();
  }
}

/** Versions that Kafka serves, and nothing that names this machine. */
function isWanted({ key, version, bytes }: Frame): boolean {
  const api = apiByKey.get(key);
  if (api === undefined || version < api.versions[0] || version > api.versions[1]) return false;
  // A very short name is found in any bytes.
  return hostname().length < 5 || !bytes.includes(hostname());
}

function write(file: string, { bytes }: Frame): void {
  const lines = bytes.toString("hex").match(/.{1,120}/g) ?? [];
  writeFileSync(join(goldenDirectory, file), `${lines.join("\n")}\n`);
}

mkdirSync(goldenDirectory, { recursive: true });
const { frames, kmsg } = await capture();
const isNew = (file: string): boolean => !existsSync(join(goldenDirectory, file));
const captured = [...frames].filter(([file, frame]) => isNew(file) && isWanted(frame));
for (const [file, frame] of captured) write(file, frame);
const versionOf = (file: string): string => file.split(".").slice(0, 2).join(".");
const settled = new Set(readdirSync(goldenDirectory).map(versionOf));
// Java's come first: its versions are those that kmsg writes wrongly.
for (const [encoder, encoded] of [
  ["kafka-clients-java", javaEncodings()],
  ["kmsg", kmsg],
] as const) {
  const filled = encoded.filter((frame) => isWanted(frame) && !settled.has(versionOf(fileOf(frame, encoder))));
  for (const frame of filled) write(fileOf(frame, encoder), frame);
  for (const frame of filled) settled.add(versionOf(fileOf(frame, encoder)));
  console.log(`${filled.length} requests encoded by ${encoder}`);
}
console.log(`${captured.length} requests captured`);
