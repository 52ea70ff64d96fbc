import { writeFileSync } from "node:fs";
import { afterAll, beforeAll, beforeEach, describe, expect } from "vitest";
import { clients } from "./clients.ts";
import { quickGroups, skipWhenMissing, stepsOf, Workspace } from "./journey.ts";
import { ClientProgram } from "./program.ts";
import { whyMissing } from "./runtimes.ts";
import { Target } from "./target.ts";

/** The tools in bin/ of Apache Kafka, by the class that each script starts. */
const tools = {
  "kafka-broker-api-versions": "org.apache.kafka.tools.BrokerApiVersionsCommand",
  "kafka-cluster": "org.apache.kafka.tools.ClusterTool",
  "kafka-configs": "kafka.admin.ConfigCommand",
  "kafka-console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
  "kafka-console-producer": "org.apache.kafka.tools.ConsoleProducer",
  "kafka-consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
  "kafka-delete-records": "org.apache.kafka.tools.DeleteRecordsCommand",
  "kafka-get-offsets": "org.apache.kafka.tools.GetOffsetShell",
  "kafka-groups": "org.apache.kafka.tools.GroupsCommand",
  "kafka-log-dirs": "org.apache.kafka.tools.LogDirsCommand",
  "kafka-topics": "org.apache.kafka.tools.TopicCommand",
} as const;

type Tool = keyof typeof tools;

/** The last line of kafka-log-dirs. */
interface LogDirsAnswer {
  readonly brokers: readonly {
    readonly broker: number;
    readonly logDirs: readonly {
      readonly error: string | null;
      readonly logDir: string;
      readonly partitions: readonly {
        readonly partition: string;
        readonly size: number;
        readonly offsetLag: number;
        readonly isFuture: boolean;
      }[];
    }[];
  }[];
}

interface ToolAnswer {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

describe("the console tools of Apache Kafka 4.3.1", () => {
  const missing = whyMissing("java");
  const workspace = new Workspace();
  let target: Target;
  let program: ClientProgram;
  let nodeId: string;

  beforeAll(async () => {
    if (missing !== null) return;
    target = await Target.start({ settings: quickGroups });
    program = ClientProgram.start(clients.java, target.address);
  });
  afterAll(async () => {
    await program?.[Symbol.asyncDispose]();
    await target?.[Symbol.asyncDispose]();
    workspace[Symbol.dispose]();
  });
  beforeEach((context) => skipWhenMissing(context, missing));

  const invoke = async (tool: Tool, args: string, stdin: string): Promise<ToolAnswer> => {
    const list = [...args.split(" ").filter((part) => part !== ""), "--bootstrap-server", target.address];
    return (await program.call("tool", { main: tools[tool], args: list, stdin })) as ToolAnswer;
  };
  const run = async (tool: Tool, args: string, stdin = ""): Promise<string> => {
    const answer = await invoke(tool, args, stdin);
    expect(answer.status, `${tool} ${args}\n${answer.stdout}${answer.stderr}`).toBe(0);
    return answer.stdout;
  };
  const runFailing = async (tool: Tool, args: string): Promise<string> => {
    const answer = await invoke(tool, args, "");
    expect(answer.status, `${tool} ${args}`).not.toBe(0);
    return answer.stdout + answer.stderr;
  };
  const offsets = async (args: string): Promise<string[]> => lines(await run("kafka-get-offsets", args)).toSorted();

  const step = stepsOf("console tools");

  step("kafka-topics creates, lists and describes a topic", async () => {
    const created = await run("kafka-topics", "--create --topic t --partitions 6 --config retention.ms=3600000");
    expect(created).toContain("Created topic t.");
    expect(await runFailing("kafka-topics", "--create --topic t")).toContain("Topic 't' already exists.");
    expect(lines(await run("kafka-topics", "--list --exclude-internal"))).toEqual(["t"]);
    const described = lines(await run("kafka-topics", "--describe --topic t"));
    expect(described[0]).toMatch(/Topic: t\s+TopicId: \S{22}\s+PartitionCount: 6\s+ReplicationFactor: 1\s+Configs: /);
    expect(described[0]).toContain("retention.ms=3600000");
    const partitions = described.slice(1).map((line) => /Partition: (\d+)\s+Leader: (\d+)/.exec(line)?.slice(1, 3));
    nodeId = partitions[0]?.[1] ?? "";
    expect(partitions).toEqual(Array.from({ length: 6 }, (_, partition) => [`${partition}`, nodeId]));
  });

  step("kafka-topics adds partitions, and names a topic that is missing", async () => {
    await run("kafka-topics", "--alter --topic t --partitions 8");
    expect(await run("kafka-topics", "--describe --topic t")).toContain("PartitionCount: 8");
    expect(await runFailing("kafka-topics", "--describe --topic nowhere")).toContain("Topic 'nowhere' does not exist");
  });

  step("kafka-log-dirs tells what lies where, and how much room there is", async () => {
    const described = lines(await run("kafka-log-dirs", "--describe --topic-list t"));
    const { brokers } = JSON.parse(described.at(-1) ?? "") as LogDirsAnswer;
    expect(brokers.map(({ broker }) => `${broker}`)).toEqual([nodeId]);
    const [directory, ...others] = brokers[0]?.logDirs ?? [];
    expect(others).toEqual([]);
    expect(directory).toMatchObject({ error: null, logDir: target.dataDirectory });
    expect(directory?.partitions.map(({ partition }) => partition).toSorted()).toEqual(
      Array.from({ length: 8 }, (_, partition) => `t-${partition}`),
    );
    for (const { size, offsetLag, isFuture } of directory?.partitions ?? []) {
      expect([size >= 0, offsetLag, isFuture]).toEqual([true, 0, false]);
    }
  });

  step("kafka-console-producer writes keys, headers and nulls", async () => {
    const options = ["parse.key=true", "parse.headers=true", "null.marker=NULL"];
    const input = "custom_field_1:didáctica,b:2\tkey-1\tvalue 1\nb:3\tkey-1\tNULL\nNULL\tkey-2\tmañana\n";
    const properties = options.map((option) => `--reader-property ${option}`).join(" ");
    await run("kafka-console-producer", `--topic t ${properties}`, input);
  });

  step("kafka-console-consumer reads them in a group", async () => {
    const shown = ["print.key=true", "print.headers=true", "print.offset=true"];
    const properties = shown.map((option) => `--formatter-property ${option}`).join(" ");
    const limits = "--from-beginning --max-messages 3 --timeout-ms 20000";
    const read = await run("kafka-console-consumer", `--topic t --group g ${limits} ${properties}`);
    expect(lines(read).toSorted()).toEqual([
      "Offset:0\tNO_HEADERS\tkey-2\tmañana",
      "Offset:0\tcustom_field_1:didáctica,b:2\tkey-1\tvalue 1",
      "Offset:1\tb:3\tkey-1\tnull",
    ]);
  });

  step("kafka-consumer-groups lists, describes, resets and deletes a group", async () => {
    expect(lines(await run("kafka-consumer-groups", "--list"))).toEqual(["g"]);
    const described = lines(await run("kafka-consumer-groups", "--describe --group g")).slice(1);
    const lags = described.map((line) => line.split(/\s+/).slice(3, 6).map(Number));
    expect(lags.length).toBe(8);
    for (const [current, end, lag] of lags) expect([end, lag]).toEqual([current, 0]);
    expect(lags.reduce((sum, [current = 0]) => sum + current, 0)).toBe(3);
    expect(await run("kafka-consumer-groups", "--describe --group g --state")).toMatch(/Empty\s+0/);
    await run("kafka-consumer-groups", "--group g --reset-offsets --to-earliest --all-topics --execute");
    const reset = lines(await run("kafka-consumer-groups", "--describe --group g")).slice(1);
    for (const line of reset) expect(line.split(/\s+/)[3]).toBe("0");
    expect(await run("kafka-consumer-groups", "--group g --delete-offsets --topic t")).toContain("Request succeeded");
    expect(await run("kafka-consumer-groups", "--group g --delete")).toContain("was successful");
    expect(lines(await run("kafka-consumer-groups", "--list"))).toEqual([]);
    // It ends with 0 all the same.
    expect(await run("kafka-consumer-groups", "--group g --delete")).toContain("could not be deleted");
    expect(lines(await run("kafka-groups", "--list")).length).toBe(1);
  });

  step("kafka-configs sets, shows and unsets a topic's settings", async () => {
    const topic = "--entity-type topics --entity-name t";
    await run(
      "kafka-configs",
      `--alter ${topic} --add-config max.message.bytes=2000000,cleanup.policy=[compact,delete]`,
    );
    const described = await run("kafka-configs", `--describe ${topic}`);
    expect(described).toContain("cleanup.policy=compact,delete sensitive=false");
    expect(described).toContain("max.message.bytes=2000000 sensitive=false");
    expect(described).toContain("retention.ms=3600000 sensitive=false");
    await run("kafka-configs", `--alter ${topic} --delete-config retention.ms,cleanup.policy`);
    expect(await run("kafka-configs", `--describe ${topic}`)).not.toContain("retention.ms");
    const refused = await runFailing("kafka-configs", `--alter ${topic} --add-config no.such.key=1`);
    expect(refused).toContain("no.such.key");
    const broker = await run("kafka-configs", `--describe --entity-type brokers --entity-name ${nodeId} --all`);
    expect(broker).toMatch(/num\.partitions=\d+ sensitive=false/);
  });

  step("kafka-get-offsets asks for the start, the end and the newest record", async () => {
    const ends = (await offsets("--topic t")).map((line) => Number(line.split(":")[2]));
    expect(ends.reduce((sum, offset) => sum + offset, 0)).toBe(3);
    expect(await offsets("--topic t --time earliest")).toEqual(Array.from({ length: 8 }, (_, p) => `t:${p}:0`));
    // A partition without records has no newest one.
    const newest = await offsets("--topic t --time max-timestamp");
    expect(newest.length).toBe(ends.filter((offset) => offset > 0).length);
  });

  step("kafka-delete-records moves the start of a log", async () => {
    const file = workspace.path("offsets.json");
    const partitions = Array.from({ length: 8 }, (_, partition) => ({ topic: "t", partition, offset: -1 }));
    writeFileSync(file, JSON.stringify({ version: 1, partitions }));
    expect(await run("kafka-delete-records", `--offset-json-file ${file}`)).toContain("low_watermark");
    expect(await offsets("--topic t --time earliest")).toEqual(await offsets("--topic t --time latest"));
  });

  step("kafka-broker-api-versions and kafka-cluster ask what the broker is", async () => {
    const apis = await run("kafka-broker-api-versions", "");
    for (const api of ["Produce(0): 0 to ", "Fetch(1): 4 to ", "ApiVersions(18): 0 to 4 [usable: 4]"]) {
      expect(apis).toContain(api);
    }
    expect(await run("kafka-cluster", "cluster-id")).toMatch(/^Cluster ID: \S{22}$/m);
    expect(await run("kafka-cluster", "list-endpoints")).toContain(`${target.port}`);
  });

  step("kafka-topics deletes the topic", async () => {
    await run("kafka-topics", "--delete --topic t");
    expect(lines(await run("kafka-topics", "--list --exclude-internal"))).toEqual([]);
  });
});

function lines(text: string): string[] {
  return text.split("\n").filter((line) => line.trim() !== "");
}
