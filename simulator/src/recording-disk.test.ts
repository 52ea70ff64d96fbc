import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { Native } from "@millrace/base/node/native";
import { NodeDisk } from "@millrace/base/node/node-disk";
import { Prng } from "@millrace/base/prng";
import type { Disk } from "@millrace/base/world";
import { RecordingDisk } from "@millrace/simulator/recording-disk";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { VirtualClock } from "@millrace/simulator/virtual-clock";

const root = mkdtempSync(join(tmpdir(), "millrace-journal-"));
afterAll(() => rmSync(root, { recursive: true }));

/** A program with the shape of a broker: appends to several files, syncs them together, and only then answers. */
async function appendAndAnswer(disk: RecordingDisk<number>, directory: string): Promise<void> {
  await disk.makeDirectory(`${directory}/logs`);
  await disk.syncDirectory(directory);
  const paths = [0, 1, 2].map((index) => `${directory}/logs/${index}`);
  const files = await Promise.all(paths.map((path) => disk.open(path, "create")));
  await disk.syncDirectory(`${directory}/logs`);
  for (let record = 0; record < 60; record++) {
    const file = files[record % 3]!;
    await file.write([Buffer.from(`${record}`.padStart(700, "."))], Math.floor(record / 3) * 700);
    if (record % 6 !== 5) continue;
    await disk.syncFiles(files);
    for (let answered = record - 5; answered <= record; answered++) disk.mark(answered);
  }
  await Promise.all(files.map((file) => file.close()));
}

async function lostAnswers(
  disk: RecordingDisk<number>,
  image: Disk,
  directory: string,
  position: number,
): Promise<number[]> {
  const lost: number[] = [];
  for (const { label: record } of disk.marksUntil(position)) {
    const path = `${directory}/logs/${record % 3}`;
    const bytes = (await image.stat(path)) === null ? Buffer.alloc(0) : await image.readFile(path);
    const start = Math.floor(record / 3) * 700;
    if (bytes.toString("latin1", start, start + 700) !== `${record}`.padStart(700, ".")) lost.push(record);
  }
  return lost;
}

describe.each<[string, () => [Disk, string]]>([
  ["a simulated disk", () => [new SimulatedDisk(), "/data"]],
  ["a real disk", () => [new NodeDisk({ native: new Native({ isWanted: true }) }), mkdtempSync(join(root, "run-"))]],
])("over %s", (_, make) => {
  const record = async (prepare: (disk: RecordingDisk<number>) => void = () => undefined) => {
    const [inner, directory] = make();
    const disk = await RecordingDisk.over<number>(inner, directory);
    prepare(disk);
    await disk.makeDirectory(directory);
    await appendAndAnswer(disk, directory);
    return { disk, directory };
  };

  test("nothing that was answered is lost, at any moment", async () => {
    const { disk, directory } = await record();
    const prng = new Prng(5);
    for (let round = 0; round < 3; round++) {
      const positions = Array.from({ length: disk.position + 1 }, (__, position) => position);
      for (const { position, disk: image } of disk.powerLosses(positions, prng)) {
        expect(await lostAnswers(disk, image, directory, position)).toEqual([]);
      }
    }
    expect(disk.marks.length).toBe(60);
  });

  test("a disk that lies about its syncs is found out", async () => {
    const { disk, directory } = await record(({ faults }) => (faults.areSyncsLies = true));
    const losses = await Promise.all(
      [1, 2, 3, 4, 5].map((seed) => lostAnswers(disk, disk.afterPowerLoss(new Prng(seed)), directory, disk.position)),
    );
    expect(losses.flat().length).toBeGreaterThan(0);
    expect(disk.events.some(({ kind }) => kind === "sync")).toBe(false);
  });
});

test("what lay there before the recording is durable, and can be changed", async () => {
  const inner = new SimulatedDisk();
  await inner.makeDirectory("/data/old");
  await inner.writeFile("/data/old/a", Buffer.from("before"));
  const disk = await RecordingDisk.over(inner, "/data");
  await disk.rename("/data/old/a", "/data/old/b");
  await disk.syncDirectory("/data/old");
  const image = disk.afterPowerLoss(new Prng(1));
  expect((await image.readFile("/data/old/b")).toString()).toBe("before");
  expect(await disk.afterPowerLoss(new Prng(1), 0).list("/data/old")).toEqual([{ name: "a", kind: "file" }]);
});

describe("faults", () => {
  const faulty = async () => {
    const disk = await RecordingDisk.over(new SimulatedDisk(), "/data");
    await disk.makeDirectory("/data");
    const file = await disk.open("/data/log", "create");
    return { disk, file, faults: disk.faults };
  };

  test("one sync fails, by file, by group or by directory", async () => {
    const { disk, file, faults } = await faulty();
    faults.failNextSync({ matches: (path) => path.endsWith("log") });
    await disk.syncDirectory("/data");
    await expect(disk.syncFiles([file])).rejects.toMatchObject({ name: "DiskError", code: "EIO", path: "/data/log" });
    await disk.syncFiles([file]);
    faults.failNextSync();
    await expect(file.sync()).rejects.toMatchObject({ code: "EIO" });
    faults.failNextSync({ code: "ENOSPC" });
    await expect(disk.syncDirectory("/data")).rejects.toMatchObject({ code: "ENOSPC", path: "/data" });
  });

  test("a full disk takes what fits and then nothing, until there is room again", async () => {
    const { disk, file, faults } = await faulty();
    faults.spaceBytes = 10;
    await file.write([Buffer.from("12345678")], 0);
    expect((await disk.space("/data")).usableBytes).toBe(2);
    await expect(file.write([Buffer.from("ab"), Buffer.from("cd")], 8)).rejects.toMatchObject({ code: "ENOSPC" });
    expect(() => file.writeNow(Buffer.from("x"), 10)).toThrow("ENOSPC");
    expect((await disk.readFile("/data/log")).toString()).toBe("12345678ab");
    faults.spaceBytes = Infinity;
    await file.write([Buffer.from("cd")], 10);
    await file.sync();
    await disk.syncDirectory("/data");
    expect((await disk.afterPowerLoss(new Prng(1)).readFile("/data/log")).toString()).toBe("12345678abcd");
    faults.failNextWrite();
    await expect(file.write([Buffer.from("x")], 0)).rejects.toMatchObject({ code: "EIO" });
  });

  test("a file cannot be opened, or opens and cannot be read", async () => {
    const { disk, file, faults } = await faulty();
    faults.makeUnreadable("/data/log", "EACCES");
    await expect(disk.open("/data/log", "read")).rejects.toMatchObject({ code: "EACCES", path: "/data/log" });
    faults.makeReadable();
    faults.makeUnreadable((path) => path.endsWith("log"));
    await (await disk.open("/data/log", "read")).close();
    await expect(file.read(Buffer.alloc(1), 0)).rejects.toMatchObject({ code: "EIO" });
    await expect(disk.readFile("/data/log")).rejects.toMatchObject({ code: "EIO" });
    expect(() => file.readNow(Buffer.alloc(1), 0)).toThrow("EIO");
  });

  test("a slow disk takes the clock's time, and a sync covers what was there when it was asked for", async () => {
    const clock = new VirtualClock();
    const { disk, file, faults } = await faulty();
    await disk.syncDirectory("/data");
    const stop = faults.slowDown(clock, (operation, path) =>
      operation === "sync" && path === "/data/log" ? 100 : operation === "write" ? 10 : 0,
    );
    const bytes = Buffer.from("one");
    const written = file.write([bytes], 0);
    bytes.fill(0);
    expect((await disk.readFile("/data/log")).toString()).toBe("");
    await clock.advance(10);
    await written;
    const synced = file.sync();
    await clock.advance(50);
    expect(disk.events.at(-1)?.kind).toBe("write");
    const later = file.write([Buffer.from("two")], 3);
    await clock.advance(50);
    await Promise.all([synced, later]);
    const images = await Promise.all(
      Array.from({ length: 60 }, (_, seed) => disk.afterPowerLoss(new Prng(seed)).readFile("/data/log")),
    );
    expect(new Set(images.map(String))).toEqual(new Set(["one", "one\0\0\0", "onetwo"]));
    stop();
    await file.sync();
  });
});
