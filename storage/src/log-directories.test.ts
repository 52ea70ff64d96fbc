import { silentLogger } from "@millrace/base/logger";
import { Prng } from "@millrace/base/prng";
import type { Disk } from "@millrace/base/world";
import { RecordingDisk } from "@millrace/simulator/recording-disk";
import { SeededRandom } from "@millrace/simulator/seeded-random";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import { describe, expect, test } from "vitest";
import { append, durable, readAll, topicIdOf, tryAppend, values, withoutLocks } from "../test/support.ts";
import { defaultLogConfig } from "./log-config.ts";
import { LogDirectories } from "./log-directories.ts";
import type { DirectoryReport, LogDirectoriesOptions } from "./log-directories.ts";
import type { PartitionLog } from "./log.ts";
import type { Offset } from "./types.ts";

const paths = ["/data/a", "/data/b", "/data/c"];

function opening(disk: Disk, options: Partial<LogDirectoriesOptions> = {}): ReturnType<typeof LogDirectories.open> {
  return LogDirectories.open({
    paths,
    disk,
    clock: new VirtualClock(),
    random: new SeededRandom(1),
    logger: silentLogger,
    clusterId: null,
    nodeId: 1,
    limits: { journalBytes: 64 * 1024 },
    ...options,
  });
}

/** Open and loaded, and what became of each directory. */
class Bench {
  readonly directories: LogDirectories;
  readonly reports: readonly DirectoryReport[];
  readonly offline: string[];
  readonly fatal: unknown[];

  private constructor(parts: Pick<Bench, "directories" | "reports" | "offline" | "fatal">) {
    this.directories = parts.directories;
    this.reports = parts.reports;
    this.offline = parts.offline;
    this.fatal = parts.fatal;
  }

  static async open(disk: Disk, options: Partial<LogDirectoriesOptions> = {}): Promise<Bench> {
    const offline: string[] = [];
    const fatal: unknown[] = [];
    const opened = await opening(disk, {
      onOffline: ({ path }) => offline.push(path),
      onFailure: (error) => fatal.push(error),
      ...options,
    });
    if (!opened.ok) throw new Error(opened.message);
    const loaded = await opened.value.load(() => defaultLogConfig);
    if (!loaded.ok) throw new Error(loaded.message);
    return new Bench({ directories: opened.value, reports: loaded.value, offline, fatal });
  }

  create(topic: string, partition = 0, topicId = topicIdOf(topic)): Promise<PartitionLog> {
    return this.directories.createLog({ topic, partition, topicId, config: defaultLogConfig });
  }

  log(topic: string, partition = 0): PartitionLog | undefined {
    return this.directories.find(topic, partition, topicIdOf(topic));
  }

  /** The directory in which a log lies, by its last letter. */
  at(log: PartitionLog | undefined): string {
    return log === undefined ? "nowhere" : (/^\/data\/(.)\//.exec(log.directory)?.[1] ?? log.directory);
  }
}

async function recording(platter: SimulatedDisk = new SimulatedDisk()): Promise<RecordingDisk> {
  return RecordingDisk.over(platter, "/data");
}

/** All names below a directory. */
async function tree(disk: Disk, path = "/data"): Promise<string[]> {
  const names: string[] = [];
  for (const { name, kind } of await disk.list(path)) {
    names.push(`${path}/${name}`);
    if (kind === "directory") names.push(...(await tree(disk, `${path}/${name}`)));
  }
  return names.sort();
}

async function write(log: PartitionLog, ...records: string[]): Promise<void> {
  for (const record of records) append(log, { records: [record] });
  await durable(log);
}

const inDirectory = (letter: string) => (path: string) => path.startsWith(`/data/${letter}/`);

describe("whose directories they are", () => {
  test("each has the cluster and the node of the first, and an id of its own", async () => {
    const disk = new SimulatedDisk();
    const { directories } = await Bench.open(disk);
    const properties = await Promise.all(
      paths.map(async (path) => (await disk.readFile(`${path}/meta.properties`)).toString()),
    );
    const parsed = properties.map((text) =>
      /^version=1\ncluster\.id=(.{22})\nnode\.id=1\ndirectory\.id=(.{22})\n$/.exec(text)?.slice(1),
    );
    expect(parsed.map((ids) => ids?.[0])).toEqual(paths.map(() => directories.meta.clusterId));
    expect(new Set(parsed.map((ids) => ids?.[1])).size).toBe(3);
    expect(directories.metadataPath).toBe("/data/a/metadata");
  });

  test("a directory is added to one that is in use", async () => {
    const disk = new SimulatedDisk();
    const one = await Bench.open(disk, { paths: ["/data/a"] });
    await write(await one.create("orders"), "kept");
    await one.directories.close();
    const two = await Bench.open(disk, { paths: ["/data/a", "/data/b"] });
    expect(values(await readAll(two.log("orders")!))).toEqual(["kept"]);
    expect(two.at(await two.create("more"))).toBe("b");
  });

  type Change = (disk: SimulatedDisk) => Promise<void>;
  const replaceIn = (path: string, from: RegExp, to: string): Change => {
    return async (disk) => disk.writeFile(path, Buffer.from((await disk.readFile(path)).toString().replace(from, to)));
  };
  test.for<[string, Change, Partial<LogDirectoriesOptions>, string, string]>([
    ["none", async () => {}, { paths: [] }, "no-directory", "log.dirs names no directory"],
    [
      "one twice",
      async () => {},
      { paths: ["/data/a", "/data/b", "/data/a/"] },
      "same-directory",
      "log.dirs names /data/a twice",
    ],
    [
      "another cluster's among them",
      replaceIn("/data/b/meta.properties", /cluster.id=.*/, "cluster.id=theirs"),
      {},
      "other-cluster",
      "/data/b belongs to cluster theirs, not to ours",
    ],
    [
      "another node's among them",
      replaceIn("/data/c/meta.properties", /node.id=.*/, "node.id=2"),
      {},
      "other-node",
      "/data/c belongs to node 2, not to 1",
    ],
    [
      "a copy of one",
      async (disk) => disk.writeFile("/data/c/meta.properties", await disk.readFile("/data/b/meta.properties")),
      {},
      "same-directory",
      "/data/c has the directory.id of /data/b, ",
    ],
    [
      "another order, so that the metadata log would begin anew",
      async () => {},
      { paths: ["/data/b", "/data/a", "/data/c"] },
      "misplaced-metadata",
      "the metadata log lies in /data/a: log.dirs has to name that directory first, not /data/b",
    ],
    [
      "a new one first",
      async (disk) => disk.removeDirectory("/data/a"),
      { paths: ["/data/d", "/data/b"] },
      "misplaced-metadata",
      "/data/d is new and /data/b is in use: the first of log.dirs has to be the one with the metadata log",
    ],
    [
      "one of Apache Kafka's",
      async (disk) => disk.removeFile("/data/b/millrace.format"),
      {},
      "foreign",
      "/data/b has a meta.properties but no millrace.format",
    ],
  ])("%s: refused by name, and left as they are", async ([, change, options, failure, message]) => {
    const disk = new SimulatedDisk();
    const first = await opening(disk, { clusterId: "ours" });
    if (!first.ok) throw new Error(first.message);
    await disk.makeDirectory(first.value.metadataPath);
    await first.value.close();
    await change(disk);
    const before = await tree(disk);
    const refused = await opening(disk, options);
    expect(refused).toMatchObject({ ok: false, failure, message: expect.stringContaining(message) });
    expect(await tree(disk)).toEqual(before);
    for (const path of paths)
      if ((await disk.stat(path)) !== null) expect(await disk.lock(`${path}/.lock`)).not.toBeNull();
  });
});

describe("a new partition", () => {
  test("lies where the fewest are, also among those that are being created", async () => {
    const bench = await Bench.open(new SimulatedDisk());
    const logs = await Promise.all(Array.from({ length: 7 }, (_, partition) => bench.create("orders", partition)));
    expect(logs.map((log) => bench.at(log)).join("")).toBe("abcabca");
    for (const log of logs) if (bench.at(log) === "c") await bench.directories.deleteLog(log);
    expect(bench.at(await bench.create("more", 0))).toBe("c");
    expect(bench.at(await bench.create("more", 1))).toBe("c");
    expect(bench.at(await bench.create("more", 2))).toBe("b");
  });

  test("lies in no directory that is cordoned; where all are, it is refused by name", async () => {
    const bench = await Bench.open(new SimulatedDisk(), { cordoned: ["/data/a", "/data/c"] });
    for (let partition = 0; partition < 3; partition++)
      expect(bench.at(await bench.create("orders", partition))).toBe("b");
    const full = await Bench.open(new SimulatedDisk(), { cordoned: ["*"] });
    await expect(full.create("orders")).rejects.toThrow("no log directory is left");
  });

  test.for([
    ["that is full", "ENOSPC", []],
    ["whose disk fails", "EIO", ["/data/b"]],
  ] as const)("passes over a directory %s, and leaves nothing there", async ([, code, offline]) => {
    const disk = await recording();
    const bench = await Bench.open(disk);
    await write(await bench.create("first"), "x");
    disk.faults.failNextWrite({ code, matches: inDirectory("b") });
    const log = await bench.create("orders");
    expect(bench.at(log)).toBe("c");
    await write(log, "kept");
    expect(bench.offline).toEqual(offline);
    expect((await tree(disk)).filter((path) => path.includes("/orders-0"))).not.toContain("/data/b/orders-0");
    const again = await Bench.open(withoutLocks(disk));
    expect(values(await readAll(again.log("orders")!))).toEqual(["kept"]);
  });

  test("is refused where no directory takes it", async () => {
    const disk = await recording();
    const bench = await Bench.open(disk);
    disk.faults.spaceBytes = 0;
    await expect(bench.create("orders")).rejects.toThrow(/orders-0.*ENOSPC/);
    disk.faults.spaceBytes = Infinity;
    await write(await bench.create("orders"), "kept");
    expect([bench.offline, bench.fatal]).toEqual([[], []]);
  });
});

describe("a directory whose sync fails", () => {
  test("is offline with its logs; the others go on, and take what is new; after a restart all that was durable is there", async () => {
    const disk = await recording();
    const bench = await Bench.open(disk);
    const logs = await Promise.all(Array.from({ length: 6 }, (_, partition) => bench.create("orders", partition)));
    for (const [index, log] of logs.entries()) await write(log, `kept ${index}`);
    disk.faults.failNextSync({ matches: inDirectory("b") });
    const ends = await Promise.allSettled(logs.map((log) => write(log, "more")));
    expect(ends.map(({ status }) => status === "fulfilled")).toEqual([true, false, true, true, false, true]);
    expect([bench.offline, bench.fatal]).toEqual([["/data/b"], []]);
    const offline = logs.filter((log) => bench.at(log) === "b");
    for (const log of offline) {
      expect(log.failure?.message).toMatch(/\/data\/b has failed: .*EIO/);
      expect(tryAppend(log)).toMatchObject({ ok: false, failure: { kind: "log-failed" } });
      expect(
        await log.read(0 as Offset, { sizeBytesMax: 1, upTo: 1 as Offset, isWholeBatchGuaranteed: true }),
      ).toMatchObject({ failure: "log-failed" });
    }
    const created = await Promise.all([6, 7, 8].map((partition) => bench.create("orders", partition)));
    expect(created.map((log) => bench.at(log)).sort()).toEqual(["a", "a", "c"]);
    // Nothing is written or synced there any more, not even when it is closed.
    const before = (await tree(disk, "/data/b")).join("\n");
    await bench.directories.deleteLog(offline[0]!);
    await bench.directories.close();
    expect((await tree(disk, "/data/b")).join("\n")).toBe(before);

    const again = await Bench.open(disk);
    expect(again.reports.map(({ path, isClean }) => [path, isClean])).toEqual([
      ["/data/a", true],
      ["/data/b", false],
      ["/data/c", true],
    ]);
    for (let partition = 0; partition < 6; partition++) {
      const found = values(await readAll(again.log("orders", partition)!));
      expect(found[0]).toBe(`kept ${partition}`);
      // What nobody was told of may be there, or not.
      if (bench.at(logs[partition]) !== "b") expect(found).toEqual([`kept ${partition}`, "more"]);
    }
  });

  test("of the first: the broker cannot go on, since the metadata lies there", async () => {
    const disk = await recording();
    const bench = await Bench.open(disk);
    const log = await bench.create("orders");
    disk.faults.failNextSync({ matches: inDirectory("a") });
    await expect(write(log, "lost")).rejects.toThrow(/\/data\/a has failed/);
    expect(bench.fatal).toHaveLength(1);
    expect(bench.offline).toEqual([]);
  });

  test.for(Array.from({ length: 60 }, (_, index) => index + 1))(
    "at any moment: nothing is acknowledged there afterwards, and nothing acknowledged is lost with the power (seed %i)",
    async (seed) => {
      const prng = new Prng(seed);
      const platter = new SimulatedDisk();
      const disk = await recording(platter);
      const clock = new VirtualClock();
      const bench = await Bench.open(disk, { clock, limits: { journalBytes: prng.pick([0, 64 * 1024]) } });
      const acknowledged = new Map<number, string[]>();
      const logs = await Promise.all(Array.from({ length: 6 }, (_, partition) => bench.create("orders", partition)));
      const waiting = logs.map((): { readonly value: string; readonly nextOffset: number }[] => []);
      for (const [index, log] of logs.entries()) {
        log.onProgress = () => {
          const told: string[] = [];
          while ((waiting[index]![0]?.nextOffset ?? Infinity) <= log.durableOffset)
            told.push(waiting[index]!.shift()!.value);
          if (told.length === 0) return;
          expect(log.failure).toBeNull();
          acknowledged.set(index, [...(acknowledged.get(index) ?? []), ...told]);
        };
      }
      const failing = prng.pick(["b", "c"]);
      const failsAt = prng.between(0, 30);
      const settle = async (): Promise<void> => {
        for (let turn = 0; turn < 50; turn++) await clock.settle();
      };
      for (let step = 0; step < 40; step++) {
        if (step === failsAt) disk.faults.failNextSync({ matches: inDirectory(failing) });
        const index = prng.between(0, logs.length - 1);
        const value = `${step} ${"x".repeat(prng.between(0, 3000))}`;
        const appended = tryAppend(logs[index]!, { records: [value] });
        if (appended.ok) waiting[index]!.push({ value, nextOffset: appended.value.nextOffset });
        if (prng.chance(0.4)) await settle();
      }
      await settle();
      for (const [index, log] of logs.entries()) {
        if (bench.at(log) !== failing) expect(waiting[index]).toEqual([]);
      }
      expect(bench.fatal).toEqual([]);
      const again = await Bench.open(disk.afterPowerLoss(prng));
      expect(again.offline).toEqual([]);
      for (const [index, promised] of acknowledged) {
        const found = values(await readAll(again.log("orders", index)!));
        expect(found.slice(0, promised.length)).toEqual(promised);
      }
    },
  );
});

describe("a directory that is full", () => {
  test("refuses what is written there and takes it again by itself; the others do not notice", async () => {
    const clock = new VirtualClock();
    const disk = await recording(new SimulatedDisk({ clock }));
    const bench = await Bench.open(disk, { clock, limits: { journalBytes: 0 } });
    const logs = await Promise.all([0, 1, 2].map((partition) => bench.create("orders", partition)));
    for (const log of logs) await write(log, "kept");
    const volume = { matches: inDirectory("b"), spaceBytes: 0 };
    disk.faults.volumes.push(volume);
    const [a, b, c] = logs as [PartitionLog, PartitionLog, PartitionLog];
    const cut = new Promise((resolve) => (b.onCut = (_, why) => resolve(why)));
    append(b, { records: ["refused"] });
    expect(await cut).toBe("disk-full");
    expect(tryAppend(b)).toMatchObject({ ok: false, failure: { kind: "disk-full" } });
    await write(a, "more");
    await write(c, "more");
    expect(await b.deleteRecordsBefore(1 as Offset)).toMatchObject({ failure: "log-failed", message: /no space/ });
    expect(values(await readAll(a))).toEqual(["kept", "more"]);
    volume.spaceBytes = Infinity;
    await clock.advance(2_000);
    await write(b, "more");
    expect(await b.deleteRecordsBefore(1 as Offset)).toMatchObject({ ok: true });
    expect(values(await readAll(b))).toEqual(["more"]);
    expect([bench.offline, bench.fatal]).toEqual([[], []]);
    const again = await Bench.open(disk.afterPowerLoss(new Prng(1)));
    expect(again.log("orders", 1)!.logStartOffset).toBe(1);
  });
});

describe("a start", () => {
  async function stopped(): Promise<SimulatedDisk> {
    const platter = new SimulatedDisk();
    const bench = await Bench.open(platter);
    for (let partition = 0; partition < 6; partition++)
      await write(await bench.create("orders", partition), `${partition}`);
    await bench.directories.close();
    return platter;
  }

  test.for([
    ["whose identity cannot be read", "/data/b/meta.properties"],
    ["whose checkpoints cannot be read", "/data/b/recovery-point-offset-checkpoint"],
  ] as const)("goes on without a directory %s, and the next finds it as it was", async ([, unreadable]) => {
    const platter = await stopped();
    const disk = await recording(platter);
    disk.faults.makeUnreadable(unreadable);
    const bench = await Bench.open(disk);
    expect(bench.offline).toEqual(["/data/b"]);
    expect(bench.directories.offline).toMatchObject([{ path: "/data/b", message: expect.stringContaining("EIO") }]);
    const served = Array.from({ length: 6 }, (_, partition) => {
      const log = bench.log("orders", partition);
      return log === undefined || log.failure !== null ? "-" : bench.at(log);
    });
    expect(served.join("")).toBe("a-ca-c");
    expect(["a", "c"]).toContain(bench.at(await bench.create("more")));
    await bench.directories.close();
    const again = await Bench.open(platter);
    expect(again.offline).toEqual([]);
    for (let partition = 0; partition < 6; partition++) {
      expect(values(await readAll(again.log("orders", partition)!))).toEqual([`${partition}`]);
    }
  });

  test("is refused where the first directory cannot be read", async () => {
    const disk = await recording(await stopped());
    disk.faults.makeUnreadable("/data/a/meta.properties");
    expect(await opening(disk)).toMatchObject({ failure: "unreadable", message: /\/data\/a\/meta.properties: EIO/ });
  });

  test("is refused where another process has one of them", async () => {
    const disk = await stopped();
    const held = await disk.lock("/data/c/.lock");
    expect(await opening(disk)).toMatchObject({ failure: "locked", message: /\/data\/c is locked/ });
    await held?.release();
    expect(await opening(disk)).toMatchObject({ ok: true });
  });

  test("is refused where a partition lies in two of them with records, and names both", async () => {
    const disk = await stopped();
    await copy(disk, "/data/b/orders-1", "/data/c/orders-1");
    const opened = await opening(disk);
    if (!opened.ok) throw new Error(opened.message);
    expect(await opened.value.load(() => defaultLogConfig)).toMatchObject({
      failure: "duplicate-partition",
      message: expect.stringMatching(/orders-1 lies in \/data\/b\/orders-1 and in \/data\/c\/orders-1/),
    });
    await opened.value.close();
    await disk.removeDirectory("/data/b/orders-1");
    expect(values(await readAll((await Bench.open(disk)).log("orders", 1)!))).toEqual(["1"]);
  });

  test.for(["/data/a", "/data/c"])(
    "puts away what is left of a creation that went on elsewhere: in %s",
    async (husk) => {
      const disk = await stopped();
      await disk.makeDirectory(`${husk}/orders-1`);
      await disk.writeFile(
        `${husk}/orders-1/partition.metadata`,
        await disk.readFile("/data/b/orders-1/partition.metadata"),
      );
      await disk.writeFile(`${husk}/orders-1/00000000000000000000.log`, Buffer.alloc(0));
      const bench = await Bench.open(disk);
      expect(bench.at(bench.log("orders", 1))).toBe("b");
      expect(values(await readAll(bench.log("orders", 1)!))).toEqual(["1"]);
      const names = (await disk.list(husk)).map(({ name }) => name).filter((name) => name.startsWith("orders-1"));
      expect(names).toEqual([expect.stringMatching(/^orders-1\.[0-9a-f]{32}-stray$/)]);
    },
  );
});

async function copy(disk: SimulatedDisk, from: string, to: string): Promise<void> {
  await disk.makeDirectory(to);
  for (const { name } of await disk.list(from))
    await disk.writeFile(`${to}/${name}`, await disk.readFile(`${from}/${name}`));
}

test("DescribeLogDirs is told of each directory: its volume and its logs, or why it is offline", async () => {
  const disk = await recording();
  const bench = await Bench.open(disk);
  for (let partition = 0; partition < 3; partition++) await bench.create("orders", partition);
  await write(bench.log("orders", 0)!, "x".repeat(100));
  disk.faults.volumes.push({ matches: (path) => path === "/data/a", spaceBytes: 12_345 });
  disk.faults.failNextSync({ matches: inDirectory("b") });
  await expect(write(bench.log("orders", 1)!, "lost")).rejects.toThrow(/EIO/);
  const [a, b, c] = await bench.directories.describe();
  expect(a).toMatchObject({ path: "/data/a", offline: null, usableBytes: 12_345 });
  expect(a?.offline === null && a.logs.map(({ partition, sizeBytes }) => [partition, sizeBytes])).toEqual([[0, 170]]);
  expect(b).toEqual({ path: "/data/b", offline: expect.stringMatching(/\/data\/b has failed/) });
  expect(c).toMatchObject({ path: "/data/c", offline: null });
});
