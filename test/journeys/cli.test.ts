import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nodeWorld } from "@millrace/base/node/node-world";
import { Cluster } from "@millrace/client";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { beginning, makeKafkaDirectory, ordersId, partition, topic } from "../../broker/test/kafka-directory.ts";
import { readText } from "../house/repository.ts";
import { Broker, Command, killCommands } from "./command.ts";

/** The command line as a person uses it: real processes from the sources, a real disk, loopback. */
const root = mkdtempSync(join(tmpdir(), "millrace-cli-"));
afterAll(() => {
  killCommands();
  rmSync(root, { recursive: true, force: true });
});

interface Outcome {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
  readonly bytes: Buffer;
}

/** A command from beginning to end. */
async function run(args: readonly string[], input: string | Buffer = ""): Promise<Outcome> {
  const command = new Command(args);
  command.process.stdin?.end(input);
  const { code } = await command.ended;
  return { code, out: command.out, err: command.err, bytes: command.bytes };
}

/** One line for a person, and no stack. */
function complaint({ err }: Outcome): string {
  expect(err).not.toMatch(/^\s+at /m);
  const lines = err.split("\n").filter((line) => line.startsWith("millrace: "));
  expect(lines, err).toHaveLength(1);
  return lines[0] ?? "";
}

describe("a running broker", () => {
  const data = join(root, "running");
  let broker: Broker;
  let server: readonly string[];

  beforeAll(async () => {
    broker = await Broker.start(data);
    server = ["--bootstrap", broker.address];
  });

  afterAll(async () => {
    expect(await broker.stop()).toBe(0);
    expect(broker.command.err).not.toMatch(/"level":"(?:warn|error)"/);
  });

  test("first steps: create, list, describe, write, read, delete", async () => {
    expect((await run(["topic", "create", "orders", "--partitions", "3", ...server])).out).toBe(
      "created topic orders\n",
    );
    const again = await run(["topic", "create", "orders", ...server]);
    expect([again.code, complaint(again)]).toEqual([1, "millrace: topic orders: Topic 'orders' already exists."]);
    expect((await run(["topic", "list", ...server])).out).toBe("orders\n");
    const described = (await run(["topic", "describe", "orders", ...server])).out;
    expect(described).toMatch(/^topic orders {2}id \S{22} {2}partitions 3\n/);
    expect(described).toContain("  partition 2  leader 1  epoch 0  replicas 1  isr 1\n");

    const written = await run(
      ["produce", "orders", "-k", ":", ...server],
      "alice:signed in\nbob:signed:in\nalice:left",
    );
    expect(written).toMatchObject({ code: 0, out: "", err: "3 records acknowledged\n" });
    const read = await run(["consume", "orders", "--until-end", "-k", " > ", ...server]);
    expect(read).toMatchObject({ code: 0, err: "" });
    expect(read.out.split("\n").toSorted()).toEqual(["", "alice > left", "alice > signed in", "bob > signed:in"]);
    expect(read.out.indexOf("signed in")).toBeLessThan(read.out.indexOf("left"));

    expect((await run(["topic", "delete", "orders", ...server])).out).toBe("deleted topic orders\n");
    const gone = await run(["topic", "describe", "orders", ...server]);
    expect([gone.code, complaint(gone)]).toEqual([
      1,
      "millrace: topic orders: This broker has no such topic or partition.",
    ]);
  });

  test("explain: sentences for people, JSON for programs, and an exit code", async () => {
    await run(["topic", "create", "explained", "--partitions", "1", ...server]);
    await run(["produce", "explained", ...server], "one\ntwo\n");
    const said = await run(["explain", "partition", "explained-0", ...server]);
    expect(said).toMatchObject({ code: 0, err: "" });
    expect(said.out).toMatch(
      /^partition explained-0: offsets 0 to 2, nothing is held back\n\n- Nothing is held back: .*\n\n {2}leader epoch {8}0\n/,
    );
    expect(said.out).toMatch(/^ {2}high watermark {6}2$/m);
    const json = await run(["explain", "partition", "explained-0", "--json", ...server]);
    expect(json).toMatchObject({ code: 0, err: "" });
    expect(json.out).toMatch(/^\{.*\}\n$/);
    expect(JSON.parse(json.out)).toMatchObject({ kind: "partition", name: "explained-0", events: [] });
    const unknown = await run(["explain", "partition", "explained-7", "--json", ...server]);
    expect([unknown.code, unknown.out, complaint(unknown)]).toEqual([
      1,
      "",
      "millrace: partition explained-7: topic explained has 1 partition, numbered from 0",
    ]);
    const nobody = await run(["explain", "group", "nobody", ...server]);
    expect([nobody.code, complaint(nobody)]).toEqual([1, "millrace: group nobody: there is no group nobody"]);
  });

  test("lines are bytes: what goes in comes out, compressed or not", async () => {
    const lines = Array.from({ length: 3_000 }, (_, index) =>
      Buffer.alloc(index % 97, index % 256).filter((byte) => byte !== 10),
    );
    const input = Buffer.concat(lines.flatMap((line) => [line, Buffer.from("\n")]));
    await run(["topic", "create", "bytes", "--partitions", "1", ...server]);
    for (const codec of ["none", "zstd"]) {
      const written = await run(["produce", "bytes", "-z", codec, ...server], input);
      expect(written.err).toBe("3000 records acknowledged\n");
    }
    const read = await run(["consume", "bytes", "-e", ...server]);
    expect(read.bytes.equals(Buffer.concat([input, input]))).toBe(true);
  });

  test("where to begin, how many, which partitions, and all of a record as JSON", async () => {
    const timestamp = Date.UTC(2026, 0, 31, 12);
    await run(["topic", "create", "places", "--partitions", "2", ...server]);
    await using cluster = new Cluster({ brokers: [broker.address] });
    await using producer = cluster.producer();
    await Promise.all([
      producer.send("places", { partition: 0, value: "first", timestamp: timestamp - 1 }),
      producer.send("places", {
        partition: 0,
        key: "k",
        value: null,
        timestamp,
        headers: { h: Buffer.from([0xff]) },
      }),
      producer.send("places", { partition: 1, value: "other", timestamp: 0 }),
    ]);
    const read = async (...args: string[]): Promise<string> => {
      const { code, out, err } = await run(["consume", "places", "-e", ...args, ...server]);
      expect([code, err]).toEqual([0, ""]);
      return out;
    };
    const second = { topic: "places", partition: 0, offset: 1, timestamp, key: "k", value: null };
    const json = `${JSON.stringify({ ...second, headers: [{ key: "h", value: { base64: "/w==" } }] })}\n`;
    expect(await read("--partition", "0")).toBe("first\n\n");
    expect(await read("--partition", "0", "-n", "1")).toBe("first\n");
    expect(await read("-n", "0")).toBe("");
    expect(await read("--partition", "0", "--from", "1", "--format", "json")).toBe(json);
    expect(await read("--partition", "0", "--from", "2026-01-31T12:00:00Z", "--format", "json")).toBe(json);
    expect(await read("--partition", "0", "1", "--from", "2026-02-01")).toBe("");
    expect(await read("--from", "latest")).toBe("");
  });

  test("a reader that follows sees each record as it comes, and leaves quietly at Ctrl-C", async () => {
    await run(["topic", "create", "followed", "--partitions", "1", ...server]);
    const follower = new Command(["consume", "followed", ...server]);
    for (const line of ["one", "two"]) {
      await run(["produce", "followed", ...server], line);
      await follower.says(new RegExp(`^${line}$`, "m"));
    }
    follower.process.kill("SIGINT");
    expect(await follower.ended).toEqual({ code: 0, signal: null });
    expect([follower.out, follower.err]).toEqual(["one\ntwo\n", ""]);
  });

  test("a reader of ours may stop reading, as `head` does", async () => {
    await run(["topic", "create", "long", "--partitions", "1", ...server]);
    const lines = Array.from({ length: 50_000 }, (_, index) => `line ${index}`);
    expect((await run(["produce", "long", ...server], lines.join("\n"))).err).toBe("50000 records acknowledged\n");
    const reader = new Command(["consume", "long", ...server]);
    await reader.says(/^line 0$/m);
    reader.process.stdout?.destroy();
    expect(await reader.ended).toEqual({ code: 0, signal: null });
    expect(reader.err).toBe("");
  });

  test("Ctrl-C ends what is written, and what was read of it is stored", async () => {
    await run(["topic", "create", "typed", "--partitions", "1", ...server]);
    const writer = new Command(["produce", "typed", ...server]);
    writer.process.stdin?.write("one\ntwo\nhalf a l");
    const follower = new Command(["consume", "typed", "-n", "2", ...server]);
    expect(await follower.ended).toEqual({ code: 0, signal: null });
    writer.process.kill("SIGINT");
    expect(await writer.ended).toEqual({ code: 0, signal: null });
    expect(writer.err).toBe("2 records acknowledged\n");
  });

  test("a record that is refused is named, and the exit code says so", async () => {
    await run(["topic", "create", "small", "--partitions", "1", "--config", "max.message.bytes=200", ...server]);
    const refused = await run(["produce", "small", ...server], `${"x".repeat(500)}\n`);
    expect(refused.code).toBe(1);
    expect(complaint(refused)).toMatch(/^millrace: line 1 was refused: MESSAGE_TOO_LARGE: small-0: /);
    expect(refused.err).toMatch(/^0 records acknowledged, 1 refused$/m);
    const unkeyed = await run(["produce", "small", "-k", ":", ...server], "a:1\nno key\nb:2\n");
    expect(unkeyed.code).toBe(1);
    expect(complaint(unkeyed)).toMatch(/^millrace: line 2 has no ":" between key and value/);
    expect(unkeyed.err).toMatch(/^1 records acknowledged$/m);
  });

  test.for([
    [["frobnicate"], /^error: unknown command 'frobnicate'$/m],
    [["topic", "list", "--frob"], /^error: unknown option '--frob'$/m],
    [["start", "--prot", "1"], /^error: unknown option '--prot'$/m],
    [
      ["explain", "weather", "here"],
      /'weather' is invalid for argument 'kind'. Allowed choices are group, producer, transaction, partition/,
    ],
    [["explain", "group"], /^error: missing required argument 'name'$/m],
    [["consume"], /^error: missing required argument 'topic'$/m],
    [["produce", "t", "-z", "rar"], /argument 'rar' is invalid. Allowed choices are none, gzip, snappy, lz4, zstd/],
    [["consume", "t", "-n", "many"], /^millrace: --count: "many" is not a whole number of at least 0$/m],
    [["consume", "t", "--from", "yesterday"], /^millrace: --from: "yesterday" is neither/m],
    [["topic", "create", "t", "--config", "x"], /^millrace: --config: "x" is not key=value$/m],
    [["topic", "list", "-b", "nonsense"], /^millrace: "nonsense" is not a broker address \(host:port\)$/m],
    [["consume", "t", "-b", "127.0.0.1:1"], /^millrace: 127.0.0.1:1 refused the connection: nothing listens there$/m],
    [["produce", "t", "-b", "127.0.0.1:1"], /^millrace: 127.0.0.1:1 refused the connection: nothing listens there$/m],
  ] as const)("a mistake is told in words: %j", async ([args, message]) => {
    const { code, out, err } = await run(args);
    expect([code, out]).toEqual([1, ""]);
    expect(err).toMatch(message);
    expect(err).not.toMatch(/^\s+at /m);
  });

  test("looking at a topic that is not there does not create it", async () => {
    const read = await run(["consume", "typo", "-e", ...server]);
    expect([read.code, complaint(read)]).toEqual([
      1,
      "millrace: topic typo: This broker has no such topic or partition.",
    ]);
    expect((await run(["topic", "list", ...server])).out).not.toContain("typo");
  });

  test("verify says that the directory is in use", async () => {
    expect((await run(["verify", data])).out).toMatch(
      /^note: a broker works in .*; what it is writing meanwhile may look/,
    );
  });
});

describe("starts and stops", () => {
  test("settings: several after one --set, given again, over the file, which is over nothing", async () => {
    const file = join(root, "server.properties");
    writeFileSync(file, "# a comment\nnum.partitions=2\nlog.retention.ms=25200000\n");
    const args = ["--config", file, "--set", "num.partitions=4", "log.segment.bytes=2097152", "-s", "num.partitions=5"];
    const broker = await Broker.start(join(root, "settings"), args);
    const server = ["--bootstrap", broker.address];
    await run(["topic", "create", "t", ...server]);
    const { out } = await run(["topic", "describe", "t", ...server]);
    expect(out).toMatch(/partitions 5$/m);
    expect(out).toMatch(/^ {2}segment\.bytes=2097152$/m);
    expect(out).toMatch(/^ {2}retention\.ms=25200000$/m);
    expect(await broker.stop("SIGINT")).toBe(0);
  });

  test("SIGTERM with a reader waiting stops cleanly, and the next start finds all of it", async () => {
    const data = join(root, "again");
    const first = await Broker.start(data);
    await run(["produce", "kept", "--bootstrap", first.address], "a\nb\n");
    const reader = new Command(["consume", "kept", "-b", first.address]);
    await reader.says(/^b$/m);
    expect(await first.stop()).toBe(0);
    reader.process.kill("SIGINT");
    expect(await reader.ended).toEqual({ code: 0, signal: null });

    const second = await Broker.start(data);
    expect(second.command.err).toMatch(/"isClean":true/);
    const { out } = await run(["consume", "kept", "-e", "-b", second.address]);
    expect(out).toBe("a\nb\n");
    expect(await second.stop()).toBe(0);
  });

  test("a second signal ends it at once, and the next start recovers", async () => {
    const data = join(root, "twice");
    const broker = await Broker.start(data);
    broker.command.process.kill("SIGTERM");
    broker.command.process.kill("SIGINT");
    const { code, signal } = await broker.command.ended;
    expect(code).toBeNull();
    expect(["SIGTERM", "SIGINT"]).toContain(signal);
    const again = await Broker.start(data);
    expect(await again.stop()).toBe(0);
  });

  test("a start that cannot be says why in one line that names the culprit", async () => {
    const data = join(root, "taken");
    const broker = await Broker.start(data);
    const port = broker.address.split(":")[1] ?? "";
    const [other, file, link] = [join(root, "other"), join(root, "a-file"), join(root, "a-link")];
    writeFileSync(file, "");
    symlinkSync(join(root, "nothing"), link);
    const start = async (...args: readonly string[]): Promise<string> => {
      const outcome = await run(["start", "--port", "0", "--data", other, ...args]);
      expect([outcome.code, outcome.out]).toEqual([1, ""]);
      return complaint(outcome);
    };
    expect(await start("--port", port)).toBe(`millrace: port ${port} on 127.0.0.1 is already in use`);
    expect(await start("--data", data)).toBe(`millrace: the data directory ${data} is locked by another process`);
    expect(await broker.stop()).toBe(0);

    expect(await start("--port", "99999")).toBe('millrace: --port: "99999" is not a whole number between 0 and 65535');
    expect(await start("--set", "num.partitions=many")).toMatch(
      /^millrace: Invalid value many for configuration num.partitions: .* \(--set\)$/,
    );
    expect(await start("--set", "num.partitions")).toBe('millrace: --set: "num.partitions" is not key=value');
    expect(await start("--config", join(root, "no-file"))).toBe(
      `millrace: read ${join(root, "no-file")}: there is no such file or directory`,
    );
    expect(await start("--data", file)).toBe(`millrace: make directory ${file}: something else has that name`);
    expect(await start("--data", join(link, "data"))).toBe(
      `millrace: make directory ${link}: something else has that name`,
    );
    expect(await start("--data", data, "--set", "node.id=7")).toBe(`millrace: ${data} belongs to node 1, not to 7`);

    const format = join(data, "millrace.format");
    writeFileSync(format, readFileSync(format, "utf8").replace("format.version=2", "format.version=3"));
    expect(await start("--data", data)).toBe(
      `millrace: ${data} has format version 3; this broker reads up to 2: use a newer one`,
    );
  });
});

test("verify: nothing in a sound directory; file, position and offset of damage; and it changes nothing", async () => {
  const data = join(root, "verified");
  const broker = await Broker.start(data);
  await run(["topic", "create", "t", "--partitions", "2", "-b", broker.address]);
  for (const line of ["one", "two"]) await run(["produce", "t", "--partition", "0", "-b", broker.address], line);
  expect(await broker.stop()).toBe(0);
  const sound = await run(["verify", data]);
  expect(sound).toMatchObject({ code: 0, err: "" });
  expect(sound.out).toMatch(/^t-0: offsets 0 to 2, 1 segment, 2 batches, \d+ bytes$/m);
  expect(sound.out).toMatch(/: 2 partitions, 2 batches, \d+ bytes: nothing is wrong\n$/);

  const log = join(data, "t-0", "00000000000000000000.log");
  const bytes = readFileSync(log);
  const second = 12 + bytes.readInt32BE(8);
  bytes[second + 65]! ^= 1;
  writeFileSync(log, bytes);
  const before = contents(data);
  const damaged = await run(["verify", data]);
  expect(damaged.code).toBe(1);
  expect(damaged.out).toMatch(new RegExp(`^${log}, position ${second}, offset 1: .*corrupt`, "m"));
  expect(contents(data)).toEqual(before);
  const nothing = await run(["verify", join(root, "nowhere")]);
  expect([nothing.code, complaint(nothing)]).toEqual([
    1,
    `millrace: verify: ${join(root, "nowhere")} is not a directory`,
  ]);
});

function contents(directory: string): readonly (readonly [string, string])[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted()
    .map((path) => [path, readFileSync(path).toString("hex")]);
}

test("import: as the README says it, and a start as it says then; or why not, and nothing is made", async () => {
  const from = join(root, "kafka");
  const to = join(root, "imported");
  const records = [...beginning, topic("orders", ordersId), partition(ordersId, 0, [7])];
  const segments = [{ baseOffset: 0, records }];
  await makeKafkaDirectory(nodeWorld().disk, { path: from, nodeId: 7, isClean: false, segments });
  const [, options = ""] = /npm run millrace -- (import .*?) +#/.exec(readText("README.md")) ?? [];
  const args = options.replace("/var/lib/kafka", from).replace("./data", to).split(" ");
  expect(args).toEqual(["import", "--from-kafka", from, "--to", to]);

  const refused = await run(args);
  expect(refused).toMatchObject({ code: 1, out: "" });
  expect(refused.err).toBe(
    `millrace: ${from} has no .kafka_cleanshutdown: its broker did not stop cleanly. Start Kafka once more and stop it\n`,
  );
  expect(existsSync(to)).toBe(false);

  writeFileSync(join(from, ".kafka_cleanshutdown"), "{}");
  const imported = await run(args);
  expect(imported).toMatchObject({ code: 0, err: "" });
  const [, hint = ""] = /^start it with: millrace (.*)$/m.exec(imported.out) ?? [];
  expect(hint).toBe(`start --data ${to} --set node.id=7`);
  const broker = await Broker.start(to, hint.split(" ").slice(3));
  const read = await run(["consume", "orders", "--from", "earliest", "--until-end", "-b", broker.address]);
  expect(read.out).toBe("one\ntwo\nthree\n");
  expect(await broker.stop()).toBe(0);
  expect(await run(args)).toMatchObject({ code: 1, err: expect.stringContaining(`${to} is not empty: it holds `) });
});
