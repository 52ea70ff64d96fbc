import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Prng } from "@millrace/base/prng";
import { replaceFile } from "@millrace/base/replace-file";
import type { TimeMs } from "@millrace/base/units";
import type { Disk } from "@millrace/base/world";
import { pageBytes } from "@millrace/simulator/paged-bytes";
import { RecordingDisk } from "@millrace/simulator/recording-disk";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";

const seeds = Array.from({ length: 60 }, (_, seed) => seed);

async function recording<Label = string>(): Promise<RecordingDisk<Label>> {
  const disk = await RecordingDisk.over<Label>(new SimulatedDisk(), "/data");
  await disk.makeDirectory("/data");
  await disk.syncDirectory("/");
  return disk;
}

const text = async (disk: Disk, path: string): Promise<string | null> =>
  (await disk.stat(path)) === null ? null : (await disk.readFile(path)).toString("latin1");

/** What the file holds after a loss of power now, over many seeds. */
async function outcomes(disk: RecordingDisk, path: string): Promise<Set<string | null>> {
  const found = await Promise.all(seeds.map((seed) => text(disk.afterPowerLoss(new Prng(seed)), path)));
  return new Set(found);
}

describe("bytes", () => {
  test("unsynced bytes may be there or not, synced ones are", async () => {
    const disk = await recording();
    const file = await disk.open("/data/log", "create");
    await disk.syncDirectory("/data");
    await file.write([Buffer.from("one")], 0);
    expect(await outcomes(disk, "/data/log")).toEqual(new Set(["", "\0\0\0", "one"]));
    await file.sync();
    expect(await outcomes(disk, "/data/log")).toEqual(new Set(["one"]));
    await file.write([Buffer.from("two")], 3);
    expect(await outcomes(disk, "/data/log")).toEqual(new Set(["one", "one\0\0\0", "onetwo"]));
  });

  test("what is written to a durable file stays, and a disk that lies is found out", async () => {
    const disk = await recording();
    const file = await disk.open("/data/log", "durable");
    await disk.syncDirectory("/data");
    await file.write([Buffer.from("one")], 0);
    expect(await outcomes(disk, "/data/log")).toEqual(new Set(["one"]));
    const simulated = new SimulatedDisk();
    await (await simulated.open("/log", "durable")).write([Buffer.from("one")], 0);
    await simulated.syncDirectory("/");
    expect(await text(simulated.afterPowerLoss(new Prng(1)), "/log")).toBe("one");
    disk.faults.areSyncsLies = true;
    await file.write([Buffer.from("two")], 0);
    expect(await outcomes(disk, "/data/log")).toEqual(new Set(["one", "two"]));
  });

  test("at its worst a loss of power takes all that was not synced", async () => {
    const disk = new SimulatedDisk();
    const file = await disk.open("/log", "create");
    await disk.syncDirectory("/");
    await file.write([Buffer.from("one")], 0);
    await file.sync();
    await file.write([Buffer.from("two")], 3);
    await disk.open("/other", "create");
    for (const seed of seeds) {
      const left = disk.afterWorstPowerLoss(new Prng(seed));
      expect([await text(left, "/log"), await text(left, "/other")]).toEqual(["one", null]);
    }
  });

  test("each page comes by itself", async () => {
    const disk = await recording();
    const file = await disk.open("/data/log", "create");
    await file.write([Buffer.alloc(3 * pageBytes, "-")], 0);
    await file.sync();
    await disk.syncDirectory("/data");
    await file.write([Buffer.alloc(3 * pageBytes, "x")], 0);
    const pages = (content: string | null): string =>
      [0, 1, 2].map((page) => content?.slice(page * pageBytes, (page + 1) * pageBytes)[7]).join("");
    const patterns = new Set([...(await outcomes(disk, "/data/log"))].map(pages));
    expect(patterns).toEqual(new Set(["---", "--x", "-x-", "-xx", "x--", "x-x", "xx-", "xxx"]));
  });

  test("a sync covers what was answered before it was asked for, and nothing that came while it ran", async () => {
    const disk = await recording();
    const file = await disk.open("/data/log", "create");
    await disk.syncDirectory("/data");
    await file.write([Buffer.from("before")], 0);
    const release = disk.faults.holdSyncs();
    const sync = file.sync();
    await file.write([Buffer.from("during")], 6);
    expect(disk.faults.heldSyncs).toBe(1);
    release();
    await sync;
    expect(await outcomes(disk, "/data/log")).toEqual(new Set(["before", "before\0\0\0\0\0\0", "beforeduring"]));
  });

  test("a cut is on the disk or not, and does not come back with what was written after it", async () => {
    const disk = await recording();
    const file = await disk.open("/data/log", "create");
    await file.write([Buffer.from("abcdef")], 0);
    await file.sync();
    await disk.syncDirectory("/data");
    await file.truncate(2);
    await file.write([Buffer.from("XY")], 4);
    expect(await outcomes(disk, "/data/log")).toEqual(new Set(["ab", "ab\0\0\0\0", "ab\0\0XY", "abcdef"]));
  });
});

describe("names", () => {
  test("a created name may be lost with all its synced bytes, until its directory is synced", async () => {
    const disk = await recording();
    const file = await disk.open("/data/log", "create");
    await file.write([Buffer.from("one")], 0);
    await file.sync();
    expect(await outcomes(disk, "/data/log")).toEqual(new Set([null, "one"]));
    await disk.syncDirectory("/data");
    expect(await outcomes(disk, "/data/log")).toEqual(new Set(["one"]));
  });

  test("the sync of a directory does not make its own name durable", async () => {
    const disk = await recording();
    await disk.makeDirectory("/data/orders-0");
    await disk.writeFile("/data/orders-0/log", Buffer.alloc(0));
    await disk.syncDirectory("/data/orders-0");
    expect([...(await outcomes(disk, "/data/orders-0/log"))]).toContain(null);
    await disk.syncDirectory("/data");
    expect(await outcomes(disk, "/data/orders-0/log")).toEqual(new Set([""]));
  });

  test("a removed name may come back, until its directory is synced", async () => {
    const disk = await recording();
    await disk.writeFile("/data/log", Buffer.alloc(0));
    await disk.syncDirectory("/data");
    await disk.removeFile("/data/log");
    expect(await outcomes(disk, "/data/log")).toEqual(new Set(["", null]));
    await disk.syncDirectory("/data");
    expect(await outcomes(disk, "/data/log")).toEqual(new Set([null]));
  });

  test("a renamed file has one of its names, within a directory and between two", async () => {
    for (const target of ["/data/b", "/data/other/b"]) {
      const disk = await recording();
      await disk.makeDirectory("/data/other");
      const file = await disk.open("/data/a", "create");
      await file.write([Buffer.from("it")], 0);
      await file.sync();
      for (const directory of ["/data", "/data/other"]) await disk.syncDirectory(directory);
      await disk.rename("/data/a", target);
      const found = new Set<string>();
      for (const seed of seeds) {
        const image = disk.afterPowerLoss(new Prng(seed));
        const both = [await text(image, "/data/a"), await text(image, target)];
        expect(both.filter((content) => content !== null)).toEqual(["it"]);
        found.add(both[0] === null ? "new" : "old");
      }
      expect(found).toEqual(new Set(["new", "old"]));
      await disk.syncDirectory(target.slice(0, target.lastIndexOf("/")));
      expect(await outcomes(disk, target)).toEqual(new Set(["it"]));
      expect(await outcomes(disk, "/data/a")).toEqual(new Set([null]));
    }
  });

  test("a durable new name settles what became of the file before, in whatever directory", async () => {
    const disk = await recording();
    await disk.makeDirectory("/data/other");
    await disk.syncDirectory("/data");
    await disk.writeFile("/data/a", Buffer.alloc(0));
    await disk.rename("/data/a", "/data/other/b");
    await disk.syncDirectory("/data/other");
    expect(await outcomes(disk, "/data/other/b")).toEqual(new Set([""]));
    expect(await outcomes(disk, "/data/a")).toEqual(new Set([null]));
  });

  test("a file that is replaced is old or new at every moment, and new when the replacing is done", async () => {
    const disk = await recording();
    await replaceFile(disk, "/data/checkpoint", Buffer.alloc(2 * pageBytes, "a"));
    const begin = disk.position;
    await replaceFile(disk, "/data/checkpoint", Buffer.alloc(3 * pageBytes, "b"));
    for (let position = begin; position <= disk.position; position++) {
      for (const seed of seeds) {
        const content = await text(disk.afterPowerLoss(new Prng(seed), position), "/data/checkpoint");
        const isOld = content === "a".repeat(2 * pageBytes);
        const isNew = content === "b".repeat(3 * pageBytes);
        expect(position === disk.position ? isNew : isOld || isNew).toBe(true);
      }
    }
  });
});

describe("images", () => {
  test("one seed gives one image, and images do not touch each other", async () => {
    const disk = await recording();
    const file = await disk.open("/data/log", "create");
    await file.write([new Prng(3).bytes(20 * pageBytes)], 0);
    await disk.syncDirectory("/data");
    const [one, two] = [disk.afterPowerLoss(new Prng(11)), disk.afterPowerLoss(new Prng(11))];
    const before = await text(one, "/data/log");
    expect(await text(two, "/data/log")).toBe(before);
    await two.writeFile("/data/log", Buffer.from("other"));
    expect(await text(one, "/data/log")).toBe(before);
    expect((await file.sizeBytes()) > 5).toBe(true);
  });

  test("the simulated disk gives the images by itself, and everything after the death of a process", async () => {
    const disk = new SimulatedDisk();
    await disk.writeFile("/kept", Buffer.from("synced"));
    const file = await disk.open("/kept", "write");
    await file.sync();
    await disk.syncDirectory("/");
    await file.write([Buffer.from("!!!")], 0);
    const contents = await Promise.all(seeds.map((seed) => text(disk.afterPowerLoss(new Prng(seed)), "/kept")));
    expect(new Set(contents)).toEqual(new Set(["!!!ced", "synced"]));
    const survivor = disk.afterProcessDeath();
    expect(await text(survivor, "/kept")).toBe("!!!ced");
    disk.switchOff();
    await expect(file.read(Buffer.alloc(1), 0)).rejects.toMatchObject({ code: "EIO" });
    await expect(disk.stat("/kept")).rejects.toMatchObject({ code: "EIO" });
    expect(await text(survivor, "/kept")).toBe("!!!ced");
  });

  test("an image can crash again, and what it began with is durable", async () => {
    const disk = new SimulatedDisk();
    await disk.writeFile("/log", Buffer.from("x"));
    const image = disk.afterProcessDeath();
    expect(await text(image.afterPowerLoss(new Prng(1)), "/log")).toBe("x");
  });
});

// --- Any history -----------------------------------------------------------------------------------------------------

type Step =
  | { readonly do: "write"; readonly file: number; readonly position: number; readonly sizeBytes: number }
  | { readonly do: "truncate"; readonly file: number; readonly sizeBytes: number }
  | { readonly do: "sync" | "rename" | "remove"; readonly file: number }
  | { readonly do: "sync-directory" };

const file = fc.integer({ min: 0, max: 2 });
const position = fc.integer({ min: 0, max: 3 * pageBytes });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant("write"), file, position, sizeBytes: position }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("truncate"), file, sizeBytes: position }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom("sync", "rename", "remove"), file }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("sync-directory") }) },
);

test("whatever is done, a page is as it was at some moment since the last sync, and names stay whole", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), fc.nat(), async (steps, seed) => {
      const disk = await recording();
      const history = new History();
      for (const next of steps) await history.perform(disk, next);
      const image = disk.afterPowerLoss(new Prng(seed));
      await history.check(image);
    }),
    { numRuns: 300 },
  );
});

interface KnownFile {
  name: string;
  content: Buffer;
  /** As it was after each change since its last sync. */
  versions: Buffer[];
  isNameDurable: boolean;
}

/** Knows for each file that was ever made which pages and which sizes a crash may show. */
class History {
  readonly #files: KnownFile[] = [];
  #nextId = 1;

  async perform(disk: RecordingDisk, step: Step): Promise<void> {
    if (step.do === "sync-directory") {
      await disk.syncDirectory("/data");
      for (const known of this.#files) known.isNameDurable = true;
      return;
    }
    const name = `/data/${step.file}`;
    const known = this.#files.find((each) => each.name === name);
    if (step.do === "remove") {
      await disk.removeFile(name);
      if (known !== undefined) this.#files.splice(this.#files.indexOf(known), 1);
      return;
    }
    if (step.do === "rename") {
      if (known === undefined) return;
      const target = `/data/${(step.file + 1) % 3}`;
      await disk.rename(name, target);
      const replaced = this.#files.findIndex((each) => each.name === target);
      if (replaced !== -1) this.#files.splice(replaced, 1);
      known.name = target;
      known.isNameDurable = false;
      return;
    }
    const handle = await disk.open(name, "create");
    const current = known ?? this.#create(name);
    if (step.do === "write") {
      const bytes = Buffer.alloc(step.sizeBytes, this.#nextId++ & 0xff);
      await handle.write([bytes], step.position);
      const size = bytes.length === 0 ? 0 : step.position + bytes.length;
      current.content = Buffer.concat([current.content, Buffer.alloc(Math.max(0, size - current.content.length))]);
      bytes.copy(current.content, step.position);
      current.versions.push(Buffer.from(current.content));
    } else if (step.do === "truncate") {
      await handle.truncate(step.sizeBytes);
      const grown = Buffer.alloc(step.sizeBytes);
      current.content.copy(grown);
      current.content = grown;
      current.versions.push(Buffer.from(grown));
    } else {
      await handle.sync();
      current.versions = [Buffer.from(current.content)];
    }
    await handle.close();
  }

  #create(name: string): KnownFile {
    const created = { name, content: Buffer.alloc(0), versions: [Buffer.alloc(0)], isNameDurable: false };
    this.#files.push(created);
    return created;
  }

  async check(image: SimulatedDisk): Promise<void> {
    for (const { name, versions, isNameDurable } of this.#files) {
      if (!isNameDurable) continue;
      const content = await image.readFile(name);
      expect(versions.map(({ length }) => length)).toContain(content.length);
      for (let start = 0; start < content.length; start += pageBytes) {
        const page = content.subarray(start, start + pageBytes);
        const isKnown = versions.some((version) => {
          const then = Buffer.alloc(page.length);
          version.subarray(start, start + page.length).copy(then);
          return then.equals(page);
        });
        expect(isKnown || page.every((byte) => byte === 0)).toBe(true);
      }
    }
  }
}

describe("bit rot", () => {
  test("a bit turns over, at rest: also what a loss of power leaves has it, and what is written anew has not", async () => {
    const disk = new SimulatedDisk({ clock: { now: () => 7 as TimeMs } });
    await disk.writeFile("/log", Buffer.from([0, 0, 0]));
    const file = await disk.open("/log", "write");
    await file.sync();
    await disk.syncDirectory("/");
    disk.flipBit({ path: "/log", bit: 10 });
    expect(await disk.readFile("/log")).toEqual(Buffer.from([0, 4, 0]));
    expect(await disk.afterPowerLoss(new Prng(1)).readFile("/log")).toEqual(Buffer.from([0, 4, 0]));
    await file.write([Buffer.from([1, 1])], 0);
    await file.sync();
    expect(await disk.afterPowerLoss(new Prng(1)).readFile("/log")).toEqual(Buffer.from([1, 1, 0]));
    expect(() => disk.flipBit({ path: "/log", bit: 24 })).toThrow("has no bit 24");
  });

  test("a random place: one bit of one file that has any", async () => {
    const disk = new SimulatedDisk();
    await disk.makeDirectory("/data/inner");
    const files = { "/data/a": 1, "/data/empty": 0, "/data/inner/b": 5000, "/data/inner/c": 9 };
    for (const [path, size] of Object.entries(files)) await disk.writeFile(path, Buffer.alloc(size));
    const found = new Set<string>();
    for (let seed = 1; seed <= 40; seed++) {
      const rotten = disk.rot("/data", new Prng(seed), (path) => !path.endsWith("c"));
      expect(rotten).toEqual(disk.afterProcessDeath().rot("/data", new Prng(seed), (path) => !path.endsWith("c")));
      const { path, bit } = rotten!;
      const expected = Buffer.alloc(files[path as keyof typeof files]);
      expected[Math.floor(bit / 8)] = 1 << (bit % 8);
      expect(await disk.readFile(path)).toEqual(expected);
      disk.flipBit(rotten!);
      found.add(path);
    }
    expect(found).toEqual(new Set(["/data/a", "/data/inner/b"]));
    expect(disk.rot("/data", new Prng(1), () => false)).toBe(null);
  });
});
