import { writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Cluster } from "@millrace/client";
import type { Admin } from "@millrace/client";
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFailed } from "vitest";
import { clients } from "./clients.ts";
import { skipWhenMissing, stepsOf, Workspace } from "./journey.ts";
import { allInSync, KafkaCluster, leaderOf, settled } from "./kafka-cluster.ts";
import { MillraceCluster } from "./millrace-cluster.ts";
import { ClientProgram } from "./program.ts";
import { whyMissing } from "./runtimes.ts";

/** The tools in bin/ of Apache Kafka, by the class that each script starts. */
const tools = {
  "kafka-cluster": "org.apache.kafka.tools.ClusterTool",
  "kafka-features": "org.apache.kafka.tools.FeatureCommand",
  "kafka-leader-election": "org.apache.kafka.tools.LeaderElectionCommand",
  "kafka-metadata-quorum": "org.apache.kafka.tools.MetadataQuorumCommand",
  "kafka-reassign-partitions": "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
  "kafka-topics": "org.apache.kafka.tools.TopicCommand",
} as const;

type Tool = keyof typeof tools;

interface ToolAnswer {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Three nodes, and a JVM that runs tools against them. */
interface Side {
  readonly name: string;
  readonly nodes: MillraceCluster | KafkaCluster;
  readonly program: ClientProgram;
  readonly own: Cluster;
  readonly admin: Admin;
  clusterId: string;
}

/** Of what this version has: Kafka names more. */
const features = /^Feature: (?:eligible\.leader\.replicas|group|kraft|transaction)\.version/;

/**
 * Kafka's own tools against three nodes of Millrace and three of Apache Kafka, both at once: the same words, the same exit codes. What
 * differs by nature (ids, ports, times, who of three leads) is told apart by names.
 */
describe("cluster tools of Apache Kafka 4.3.1", () => {
  const missing = whyMissing("java");
  const workspace = new Workspace();
  let sides: readonly Side[] = [];

  beforeAll(async () => {
    if (missing !== null) return;
    const start = async (name: string, starting: Promise<MillraceCluster | KafkaCluster>): Promise<Side> => {
      const program = ClientProgram.start(clients.java, "127.0.0.1:1");
      const nodes = await starting;
      const own = new Cluster({ brokers: nodes.nodeIds.map((id) => nodes.address(id)), clientId: "test" });
      return { name, nodes, program, own, admin: own.admin(), clusterId: "" };
    };
    sides = await Promise.all([
      start("millrace", MillraceCluster.start()),
      start("kafka", KafkaCluster.start({ isDynamic: true })),
    ]);
    await onBoth(async ({ admin, nodes }) => allInSync(admin, nodes.nodeIds.length));
  });
  afterAll(async () => {
    await onBoth(async ({ own, program, nodes }) => {
      await own.close();
      await program[Symbol.asyncDispose]();
      await nodes[Symbol.asyncDispose]();
    });
    workspace[Symbol.dispose]();
  });
  beforeEach((context) => {
    skipWhenMissing(context, missing);
    onTestFailed(() => console.error(sides.map(({ nodes }) => nodes.output).join("\n")));
  });

  const onBoth = async <T>(work: (side: Side) => Promise<T>): Promise<T[]> => Promise.all(sides.map(work));

  const invoke = async (side: Side, tool: Tool, args: string): Promise<ToolAnswer> => {
    const list = args.split(" ").filter((part) => part !== "");
    return (await side.program.call("tool", { main: tools[tool], args: list })) as ToolAnswer;
  };

  /** On both, with the same outcome: this one. `via` is a broker by its id, or a controller by "c1". */
  const same = async (
    tool: Tool,
    args: string | ((side: Side) => string),
    options: {
      readonly via?: string;
      readonly status?: number;
      readonly shape?: (text: string, side: Side) => string;
    } = {},
  ): Promise<string> => {
    const { via = "1", status = 0, shape = (text) => text } = options;
    const answers = await onBoth(async (side) => {
      const nodeId = Number(via.replace("c", ""));
      const bootstrap = via.startsWith("c")
        ? `--bootstrap-controller ${side.nodes.controllerAddress(nodeId)}`
        : `--bootstrap-server ${side.nodes.address(nodeId)}`;
      const own = typeof args === "string" ? args : args(side);
      // Subcommands come first where there are any; this one wants its servers before them.
      const all =
        tool === "kafka-metadata-quorum" || tool === "kafka-features" ? `${bootstrap} ${own}` : `${own} ${bootstrap}`;
      const answer = await invoke(side, tool, all);
      const text = named(side, answer.stdout + answer.stderr);
      return {
        status: answer.status,
        text: shape(tool === "kafka-reassign-partitions" ? anyDirectory(text) : text, side),
      };
    });
    const [ours, kafkas] = answers;
    expect(ours, `${tool} ${typeof args === "string" ? args : args(sides[0] as Side)}`).toEqual(kafkas);
    expect(ours?.status, ours?.text).toBe(status);
    return ours?.text ?? "";
  };

  const json = (name: string, value: object): string => {
    const path = join(workspace.directory, name);
    writeFileSync(path, JSON.stringify(value));
    return path;
  };

  const step = stepsOf("cluster tools");

  step("kafka-cluster tells which cluster and where it is", async () => {
    await onBoth(async (side) => {
      const { stdout } = await invoke(side, "kafka-cluster", `cluster-id --bootstrap-server ${side.nodes.address(1)}`);
      side.clusterId = /Cluster ID: (\S+)/.exec(stdout)?.[1] ?? "";
      expect(side.clusterId).toHaveLength(22);
    });
    expect(await same("kafka-cluster", "cluster-id", { via: "c2" })).toContain("Cluster ID: <cluster>");
    const brokers = await same("kafka-cluster", "list-endpoints", { via: "2" });
    expect(brokers.trim().split("\n")).toHaveLength(4);
    expect(await same("kafka-cluster", "list-endpoints", { via: "c1" })).toContain("<controller port 3>");
  });

  step("kafka-metadata-quorum describes voters", async () => {
    await onBoth(async (side) => caughtUp(side, invoke));
    const status = await same("kafka-metadata-quorum", "describe --status", { shape: quorumStatus });
    expect(status).toContain('"directoryId": "<directory 2>", "endpoints": ["CONTROLLER://<controller 2>"]');
    const table = await same("kafka-metadata-quorum", "describe --replication", { via: "c1", shape: quorumTable });
    expect(table).toContain("3 <directory 3> Voter");
    await same("kafka-metadata-quorum", "describe", { status: 1 });
  });

  step("kafka-features describes, raises and lowers levels", async () => {
    const shape = (text: string): string =>
      text
        .split("\n")
        .filter((line) => features.test(line) || !line.startsWith("Feature: "))
        .map((line) => line.replace(/Epoch: \d+/, "Epoch: <n>"))
        .join("\n");
    const described = await same("kafka-features", "describe", { shape });
    expect(described).toMatch(/eligible\.leader\.replicas\.version SupportedMinVersion: 0 .* FinalizedVersionLevel: 1/);
    expect(described).toMatch(/kraft\.version .* FinalizedVersionLevel: 1/);
    const elr = "--feature eligible.leader.replicas.version";
    await same("kafka-features", `downgrade --dry-run ${elr}=0`);
    await same("kafka-features", `downgrade ${elr}=0`);
    expect(await same("kafka-features", "describe", { via: "3", shape })).toMatch(
      /replicas\.version .* FinalizedVersionLevel: 0/,
    );
    await same("kafka-features", `upgrade ${elr}=1`);
    await same("kafka-features", `upgrade ${elr}=2`, { status: 1, shape: withoutController });
    await same("kafka-features", "downgrade --feature kraft.version=0", { status: 1 });
    await same("kafka-features", "upgrade --feature nothing.version=1", { status: 1, shape: withoutController });
  });

  step("kafka-reassign-partitions moves replicas, and says how far it is", async () => {
    await same("kafka-topics", "--create --topic moved --replica-assignment 1:2,2:1,1:2");
    await onBoth(async ({ admin }) => allInSync(admin, 3));
    const topics = json("topics.json", { version: 1, topics: [{ topic: "moved" }] });
    const generated = await same(
      "kafka-reassign-partitions",
      `--generate --topics-to-move-json-file ${topics} --broker-list 1,2,3`,
      { shape: (text) => text.replace(/Proposed[\s\S]*/, "") },
    );
    expect(generated).toContain("Current partition replica assignment");
    const plan = json("plan.json", {
      version: 1,
      partitions: [
        { topic: "moved", partition: 0, replicas: [3, 2], log_dirs: ["any", "any"] },
        { topic: "moved", partition: 1, replicas: [2, 3], log_dirs: ["any", "any"] },
      ],
    });
    await same("kafka-reassign-partitions", `--execute --reassignment-json-file ${plan}`);
    const verify = `--verify --reassignment-json-file ${plan}`;
    await onBoth(async (side) => moveIsOver(side, verify, invoke));
    expect(await same("kafka-reassign-partitions", verify)).toContain(
      "Reassignment of partition moved-0 is completed.",
    );
    expect(await same("kafka-topics", "--describe --topic moved", { shape: isrSorted })).toContain(
      "Partition: 0 Leader: 3 Replicas: 3,2",
    );
    await same("kafka-reassign-partitions", "--list");
  });

  step("with a throttle, whose settings come and go", async () => {
    const plan = json("throttled.json", {
      version: 1,
      partitions: [{ topic: "moved", partition: 0, replicas: [1, 3], log_dirs: ["any", "any"] }],
    });
    await same("kafka-reassign-partitions", `--execute --throttle 1000000 --reassignment-json-file ${plan}`);
    const verify = `--verify --reassignment-json-file ${plan}`;
    await onBoth(async (side) => moveIsOver(side, `${verify} --preserve-throttles`, invoke));
    expect(await same("kafka-topics", "--describe --topic moved", { shape: isrSorted })).toContain(
      "replication.throttled.replicas=",
    );
    await same("kafka-reassign-partitions", verify);
    expect(await same("kafka-topics", "--describe --topic moved", { shape: isrSorted })).not.toContain("throttled");
  });

  step("kafka-reassign-partitions refuses what cannot be", async () => {
    const nowhere = json("nowhere.json", { version: 1, partitions: [{ topic: "moved", partition: 0, replicas: [9] }] });
    await same("kafka-reassign-partitions", `--execute --reassignment-json-file ${nowhere}`, { status: 1 });
    const unknown = json("unknown.json", { version: 1, partitions: [{ topic: "none", partition: 0, replicas: [1] }] });
    await same("kafka-reassign-partitions", `--execute --reassignment-json-file ${unknown}`, { status: 1 });
    const idle = json("idle.json", { version: 1, partitions: [{ topic: "moved", partition: 0, replicas: [1, 3] }] });
    await same("kafka-reassign-partitions", `--cancel --reassignment-json-file ${idle}`);
  });

  step("a broker is killed, and kafka-topics tells whom that hurts", async () => {
    await same("kafka-topics", "--create --topic three --replica-assignment 3:1:2");
    await same("kafka-topics", "--create --topic alone --replica-assignment 3 --config min.insync.replicas=1");
    await same("kafka-topics", "--create --topic strict --replica-assignment 3:1:2 --config min.insync.replicas=3");
    await onBoth(async ({ admin }) => allInSync(admin, 3));
    for (const which of ["under-replicated", "under-min-isr", "unavailable"]) {
      expect(await same("kafka-topics", `--describe --${which}-partitions`)).toBe("");
    }
    await onBoth(async ({ nodes, admin }) => {
      await nodes.kill(3);
      await settled(async () => (await leaderOf(admin, { topic: "alone", partition: 0 })) === -1, "broker 3 is fenced");
      await settled(async () => (await leaderOf(admin, { topic: "three", partition: 0 })) !== -1, "another one leads");
    });
    for (const which of ["under-replicated", "under-min-isr", "at-min-isr", "unavailable"]) {
      expect(await same("kafka-topics", `--describe --${which}-partitions`, { shape: isrSorted })).not.toBe("");
    }
    expect(await same("kafka-topics", "--describe --topic strict", { shape: isrSorted })).toContain("Elr: 3");
    await same("kafka-cluster", "list-endpoints --include-fenced-brokers", { shape: sorted });
  });

  step("a move to a broker that is away is taken back", async () => {
    const plan = json("away.json", { version: 1, partitions: [{ topic: "moved", partition: 2, replicas: [3, 2] }] });
    // The tool itself moves nothing to one that is away.
    await same("kafka-reassign-partitions", `--execute --reassignment-json-file ${plan}`, { status: 1 });
    await onBoth(async ({ admin }) => {
      await admin.partitions.reassign([{ topic: "moved", partition: 2, replicas: [3, 2] }]);
    });
    expect(await same("kafka-reassign-partitions", "--list")).toContain("moved-2: replicas: 3,2,1.");
    expect(await same("kafka-reassign-partitions", `--verify --reassignment-json-file ${plan}`)).toContain(
      "still in progress",
    );
    expect(
      await same("kafka-reassign-partitions", `--cancel --preserve-throttles --reassignment-json-file ${plan}`),
    ).toContain("Successfully cancelled");
    await same("kafka-reassign-partitions", "--list");
  });

  step("kafka-leader-election while a broker is away, and when it is back", async () => {
    const election = (type: string, topic: string): string => `--election-type ${type} --topic ${topic} --partition 0`;
    expect(await same("kafka-leader-election", election("preferred", "three"), { status: 1 })).toContain(
      "PreferredLeaderNotAvailable",
    );
    expect(await same("kafka-leader-election", election("unclean", "alone"), { status: 1 })).toContain(
      "EligibleLeadersNotAvailable",
    );
    await same("kafka-leader-election", election("unclean", "three"));
    await same("kafka-leader-election", election("preferred", "nowhere"), { status: 1 });
    await onBoth(async ({ nodes, admin }) => {
      await nodes.start(3);
      await allInSync(admin, 3);
    });
    expect(await same("kafka-leader-election", election("preferred", "three"))).toContain("Successfully completed");
    expect(await same("kafka-leader-election", election("preferred", "three"))).toContain(
      "Valid replica already elected",
    );
    await same("kafka-leader-election", "--election-type preferred --all-topic-partitions", { shape: namesSorted });
    expect(await same("kafka-topics", "--describe --topic three", { shape: isrSorted })).toContain("Leader: 3");
  });

  step("kafka-metadata-quorum takes a vote away, and gives it back", async () => {
    // Not the leader's: Kafka's tools find none for a while when that goes. Who leads is chance, so 2 and 3 may change their names.
    const chosen = new Map<Side, number>();
    await onBoth(async (side) => {
      const { stdout } = await invoke(
        side,
        "kafka-metadata-quorum",
        `--bootstrap-server ${side.nodes.address(1)} describe --status`,
      );
      chosen.set(side, /LeaderId:\s+2$/m.test(stdout) ? 3 : 2);
    });
    const idOf = (side: Side): number => chosen.get(side) ?? 0;
    const renamed = (text: string, side: Side): string =>
      idOf(side) === 2
        ? text
        : text.replaceAll(/(?<=^|id=|id |controller |port |directory )[23](?=\b)/gm, (id) => (id === "2" ? "3" : "2"));
    const shape = renamed;
    const short = (text: string, side: Side): string => votersSorted(renamed(firstLine(text), side));
    const table = (text: string, side: Side): string => quorumTable(renamed(text, side));
    const remove = (side: Side): string =>
      `remove-controller --controller-id ${idOf(side)} --controller-directory-id ${side.nodes.directoryIdOf(idOf(side))}`;
    await same("kafka-metadata-quorum", (side) => `${remove(side)} --dry-run`, { shape });
    await same("kafka-metadata-quorum", remove, { via: "c1", shape });
    await same("kafka-metadata-quorum", remove, { status: 1, shape: short });
    await onBoth(async (side) => caughtUp(side, invoke));
    const described = "describe --replication";
    expect(await same("kafka-metadata-quorum", described, { shape: table })).toContain("2 <directory 2> Observer");
    const add = (side: Side): string => `--command-config ${side.nodes.propertiesOf(idOf(side))} add-controller`;
    await same("kafka-metadata-quorum", add, { via: "3", shape });
    await same("kafka-metadata-quorum", add, {
      via: "3",
      status: 1,
      shape: short,
    });
    await onBoth(async (side) => caughtUp(side, invoke));
    expect(await same("kafka-metadata-quorum", described, { via: "c2", shape: table })).toContain(
      "2 <directory 2> Voter",
    );
  });

  step("kafka-cluster forgets a broker that is gone", async () => {
    await same("kafka-cluster", "unregister --id 9", { status: 1 });
    await onBoth(async ({ nodes, admin }) => {
      await nodes.kill(3);
      await settled(async () => (await leaderOf(admin, { topic: "alone", partition: 0 })) === -1, "broker 3 is fenced");
    });
    await same("kafka-cluster", "unregister --id 3");
    const left = await same("kafka-cluster", "list-endpoints --include-fenced-brokers", { shape: sorted });
    expect(left).not.toContain("<port 3>");
  });

  /** Ids, addresses and ports by whose they are; words by single blanks; of a stack trace its first lines. */
  function named(side: Side, text: string): string {
    const { nodes, clusterId } = side;
    let shown = text;
    for (const nodeId of nodes.nodeIds) {
      const [port = "", controllerPort = ""] = [nodes.address(nodeId), nodes.controllerAddress(nodeId)].map(
        (at) => at.split(":")[1],
      );
      shown = shown
        .replaceAll(join(dirname(nodes.propertiesOf(nodeId)), "data"), `<data ${nodeId}>`)
        .replaceAll(nodes.address(nodeId), `<broker ${nodeId}>`)
        .replaceAll(nodes.controllerAddress(nodeId), `<controller ${nodeId}>`)
        .replaceAll(new RegExp(`\\b${port}\\b`, "g"), `<port ${nodeId}>`)
        .replaceAll(new RegExp(`\\b${controllerPort}\\b`, "g"), `<controller port ${nodeId}>`)
        .replaceAll(nodes.directoryIdOf(nodeId), `<directory ${nodeId}>`);
    }
    if (clusterId !== "") shown = shown.replaceAll(clusterId, "<cluster>");
    return shown
      .replaceAll(/TopicId: \S+/g, "TopicId: <id>")
      .split("\n")
      .filter((line) => !/^\s+at |^\s+\.\.\. \d+ more/.test(line))
      .map((line) => line.replaceAll(/[ \t]+/g, " ").trim())
      .join("\n");
  }
});

type Invoke = (side: Side, tool: Tool, args: string) => Promise<ToolAnswer>;

/** All who are in the quorum have what it has. */
async function caughtUp(side: Side, invoke: Invoke): Promise<void> {
  await settled(async () => {
    const args = `--bootstrap-server ${side.nodes.address(1)} describe --replication`;
    const { status, stdout } = await invoke(side, "kafka-metadata-quorum", args);
    const rows = stdout.trim().split("\n").slice(1);
    return status === 0 && rows.length === 3 && rows.every((row) => row.split(/\s+/)[3] === "0");
  }, `all nodes of ${side.name} have caught up`);
}

async function moveIsOver(side: Side, verify: string, invoke: Invoke): Promise<void> {
  await settled(async () => {
    const args = `${verify} --bootstrap-server ${side.nodes.address(1)}`;
    const { stdout } = await invoke(side, "kafka-reassign-partitions", args);
    return !stdout.includes("still in progress");
  }, `the replicas of ${side.name} have moved`);
  await allInSync(side.admin, 3);
}

/** Who of them leads, and how long the log is, is chance. */
function quorumStatus(text: string): string {
  return text.replaceAll(/(LeaderId|LeaderEpoch|HighWatermark|MaxFollowerLag|MaxFollowerLagTimeMs): \d+/g, "$1: <n>");
}

/** A line for each node: its id, its directory, whether it votes. */
function quorumTable(text: string): string {
  const [head = "", ...rows] = text.trim().split("\n");
  const shown = rows.map((row) => {
    const [id, ...rest] = row.replaceAll("> ", ">|").split("|");
    const words = `${id} ${rest.join(" ")}`.split(" ");
    const status = words.at(-1) === "Observer" ? "Observer" : "Voter";
    return `${words.slice(0, 3).join(" ")} ${status}`;
  });
  return [head, ...shown.toSorted()].join("\n");
}

/** Right after a topic was made its replicas may have no directory yet, and the tool says "any". */
function anyDirectory(text: string): string {
  return text.replaceAll(/"<data \d+>"/g, '"any"');
}

/** In which order replicas came into the ISR is chance. */
function isrSorted(text: string): string {
  return text.replaceAll(
    /(Isr|Elr): ([\d,]+)/g,
    (_, name: string, ids: string) => `${name}: ${ids.split(",").toSorted().join(",")}`,
  );
}

function sorted(text: string): string {
  return text.split("\n").toSorted().join("\n");
}

function namesSorted(text: string): string {
  return text.replace(/(?<=partitions ).*/, (names) => names.split(", ").toSorted().join(", "));
}

function firstLine(text: string): string {
  return text.split("\n")[0] ?? "";
}

/** In which order voters came is not the same where one of them came back. */
function votersSorted(text: string): string {
  return text.replace(/(?<=\[).*(?=\])/, (voters) =>
    voters
      .split(/(?<=\)), /)
      .toSorted()
      .join(", "),
  );
}

/** Which controller has refused it is chance. */
function withoutController(text: string): string {
  return text.replaceAll(/(Local controller|Broker) \d+/g, "$1 <n>");
}
