import { describe, expect, test } from "vitest";
import { replaceFile } from "@millrace/base/replace-file";
import { DiskError } from "@millrace/base/world";
import type { Disk } from "@millrace/base/world";

export interface DiskUnderTest {
  readonly disk: Disk;
  /** An existing, empty directory. */
  readonly directory: string;
}

/** What every Disk does, whichever world it belongs to. */
export function diskCases(name: string, makeDisk: () => Promise<DiskUnderTest>): void {
  describe(`${name} is a disk`, () => {
    filesCases(makeDisk);
    zerosCases(makeDisk);
    directoryCases(makeDisk);
    syncCases(makeDisk);
  });
}

function zerosCases(makeDisk: () => Promise<DiskUnderTest>): void {
  test("zeros that are asked for stand behind the bytes, over what was there", async () => {
    const { disk, directory } = await makeDisk();
    const file = await disk.open(`${directory}/log`, "create");
    await file.write([Buffer.from("abcdefgh")], 0);
    file.writeNow(Buffer.from("XY"), 1, 3);
    file.writeNow(Buffer.from("Z"), 8, 70_000);
    const bytes = await disk.readFile(`${directory}/log`);
    expect(bytes.toString("latin1", 0, 9)).toBe("aXY\0\0\0ghZ");
    expect([bytes.length, bytes.subarray(9).every((byte) => byte === 0)]).toEqual([70_009, true]);
    await file.close();
  });
}

function filesCases(makeDisk: () => Promise<DiskUnderTest>): void {
  test("a file is created, written in a list of buffers, and read at any position", async () => {
    const { disk, directory } = await makeDisk();
    const file = await disk.open(`${directory}/log`, "create");
    await file.write([Buffer.from("one "), Buffer.from(""), Buffer.from("two "), Buffer.from("three")], 0);
    expect(await file.sizeBytes()).toBe(13);
    const into = Buffer.alloc(20);
    expect(await file.read(into, 4)).toBe(9);
    expect(into.toString("latin1", 0, 9)).toBe("two three");
    expect(file.readNow(into.subarray(0, 3), 0)).toBe(3);
    expect(into.toString("latin1", 0, 3)).toBe("one");
    expect(await file.read(into, 13)).toBe(0);
    expect(await file.read(into, 99)).toBe(0);
    await file.close();
  });

  test("a write in the middle changes only its bytes, and one past the end leaves zeros before it", async () => {
    const { disk, directory } = await makeDisk();
    const file = await disk.open(`${directory}/log`, "create");
    await file.write([Buffer.from("abcdef")], 0);
    file.writeNow(Buffer.from("XY"), 2);
    await file.write([Buffer.from("z")], 5000);
    const bytes = await disk.readFile(`${directory}/log`);
    expect(bytes.length).toBe(5001);
    expect(bytes.toString("latin1", 0, 6)).toBe("abXYef");
    expect(bytes.subarray(6, 5000).every((byte) => byte === 0)).toBe(true);
    expect(bytes.toString("latin1", 5000)).toBe("z");
    await file.close();
  });

  test("a write of more buffers than the system takes at once arrives whole", async () => {
    const { disk, directory } = await makeDisk();
    const file = await disk.open(`${directory}/log`, "create");
    const buffers = Array.from({ length: 3000 }, (_, index) => Buffer.alloc(7, index));
    await file.write(buffers, 1);
    expect((await disk.readFile(`${directory}/log`)).subarray(1).equals(Buffer.concat(buffers))).toBe(true);
    await file.write([], 0);
    await file.close();
  });

  test("what was cut does not come back when the file grows again", async () => {
    const { disk, directory } = await makeDisk();
    const file = await disk.open(`${directory}/log`, "create");
    await file.write([Buffer.alloc(10_000, 7)], 0);
    await file.truncate(5000);
    expect(await file.sizeBytes()).toBe(5000);
    await file.truncate(10_000);
    const bytes = await disk.readFile(`${directory}/log`);
    expect(bytes.subarray(0, 5000).every((byte) => byte === 7)).toBe(true);
    expect(bytes.subarray(5000).every((byte) => byte === 0)).toBe(true);
    await file.close();
  });

  test("opening neither cuts a file nor makes one unasked", async () => {
    const { disk, directory } = await makeDisk();
    await disk.writeFile(`${directory}/a`, Buffer.from("kept"));
    for (const mode of ["read", "write", "create"] as const) await (await disk.open(`${directory}/a`, mode)).close();
    expect((await disk.readFile(`${directory}/a`)).toString()).toBe("kept");
    for (const mode of ["read", "write"] as const) {
      await expect(disk.open(`${directory}/missing`, mode)).rejects.toMatchObject({ code: "ENOENT" });
    }
    expect(await disk.stat(`${directory}/missing`)).toBeNull();
  });

  test("a file that was opened for reading is not written", async () => {
    const { disk, directory } = await makeDisk();
    await disk.writeFile(`${directory}/a`, Buffer.from("kept"));
    const file = await disk.open(`${directory}/a`, "read");
    await expect(file.write([Buffer.from("x")], 0)).rejects.toBeInstanceOf(DiskError);
    expect(() => file.writeNow(Buffer.from("x"), 0)).toThrow(DiskError);
    await file.close();
    expect((await disk.readFile(`${directory}/a`)).toString()).toBe("kept");
  });

  test("a closed file refuses every call, and closing it twice is harmless", async () => {
    const { disk, directory } = await makeDisk();
    const file = await disk.open(`${directory}/a`, "create");
    const write = file.write([Buffer.from("last")], 0);
    await Promise.all([file.close(), file.close(), write]);
    await file.close();
    await expect(file.read(Buffer.alloc(1), 0)).rejects.toMatchObject({ name: "DiskError", code: "EBADF" });
    await expect(file.write([Buffer.from("x")], 0)).rejects.toMatchObject({ code: "EBADF" });
    await expect(file.sync()).rejects.toMatchObject({ code: "EBADF" });
    await expect(file.truncate(0)).rejects.toMatchObject({ code: "EBADF" });
    expect(() => file.readNow(Buffer.alloc(1), 0)).toThrow(DiskError);
    expect((await disk.readFile(`${directory}/a`)).toString()).toBe("last");
  });

  test("a small file is written whole and replaces what was there", async () => {
    const { disk, directory } = await makeDisk();
    await disk.writeFile(`${directory}/a`, Buffer.from("a longer text"));
    await disk.writeFile(`${directory}/a`, Buffer.from("short"));
    expect((await disk.readFile(`${directory}/a`)).toString()).toBe("short");
  });
}

function directoryCases(makeDisk: () => Promise<DiskUnderTest>): void {
  test("a copy is a file of its own", async () => {
    const { disk, directory } = await makeDisk();
    await disk.writeFile(`${directory}/a`, Buffer.from("the same"));
    await disk.copyFile(`${directory}/a`, `${directory}/b`);
    await disk.writeFile(`${directory}/a`, Buffer.from("other"));
    expect((await disk.readFile(`${directory}/b`)).toString()).toBe("the same");
    await expect(disk.copyFile(`${directory}/a`, `${directory}/b`)).rejects.toMatchObject({ code: "EEXIST" });
    await expect(disk.copyFile(`${directory}/none`, `${directory}/c`)).rejects.toMatchObject({ code: "ENOENT" });
    expect(await disk.stat(`${directory}/c`)).toBeNull();
  });

  test("directories are made with their parents, listed with kinds, and looked at", async () => {
    const { disk, directory } = await makeDisk();
    await disk.makeDirectory(`${directory}/x/y/z`);
    await disk.makeDirectory(`${directory}/x/y/z`);
    await disk.writeFile(`${directory}/x/f`, Buffer.from("12345"));
    const entries = (await disk.list(`${directory}/x`)).sort((a, b) => (a.name < b.name ? -1 : 1));
    expect(entries).toEqual([
      { name: "f", kind: "file" },
      { name: "y", kind: "directory" },
    ]);
    expect(await disk.stat(`${directory}/x/f`)).toMatchObject({ kind: "file", sizeBytes: 5 });
    expect(await disk.stat(`${directory}/x/y`)).toMatchObject({ kind: "directory" });
    expect(await disk.stat(`${directory}/x/none/at/all`)).toBeNull();
    await expect(disk.list(`${directory}/none`)).rejects.toMatchObject({ code: "ENOENT" });
    await expect(disk.list(`${directory}/x/f`)).rejects.toMatchObject({ code: "ENOTDIR" });
  });

  test("an error names the file and what was asked of it", async () => {
    const { disk, directory } = await makeDisk();
    await disk.writeFile(`${directory}/file`, Buffer.from(""));
    const path = `${directory}/none/log`;
    const error = await disk.open(path, "create").catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(DiskError);
    expect(error).toMatchObject({ code: "ENOENT", path });
    expect((error as Error).message).toBe(`open ${path}: ENOENT`);
    await expect(disk.readFile(path)).rejects.toMatchObject({ code: "ENOENT", path });
    await expect(disk.open(`${directory}/file/below`, "create")).rejects.toMatchObject({ code: "ENOTDIR" });
    await expect(disk.makeDirectory(`${directory}/file/below`)).rejects.toMatchObject({ code: "ENOTDIR" });
    await expect(disk.makeDirectory(`${directory}/file`)).rejects.toMatchObject({ code: "EEXIST" });
    await expect(disk.open(directory, "write")).rejects.toMatchObject({ code: "EISDIR" });
    await expect(disk.rename(path, `${directory}/b`)).rejects.toMatchObject({ code: "ENOENT", path });
  });

  test("a renamed file keeps its bytes and its open handle, and replaces its target", async () => {
    const { disk, directory } = await makeDisk();
    await disk.writeFile(`${directory}/target`, Buffer.from("old"));
    const file = await disk.open(`${directory}/source`, "create");
    await file.write([Buffer.from("new")], 0);
    await disk.rename(`${directory}/source`, `${directory}/target`);
    await file.write([Buffer.from("er")], 3);
    expect((await disk.readFile(`${directory}/target`)).toString()).toBe("newer");
    expect(await disk.stat(`${directory}/source`)).toBeNull();
    await file.close();
  });

  test("a renamed directory takes its files along", async () => {
    const { disk, directory } = await makeDisk();
    await disk.makeDirectory(`${directory}/orders-0`);
    const file = await disk.open(`${directory}/orders-0/log`, "create");
    await disk.rename(`${directory}/orders-0`, `${directory}/orders-0.deleted`);
    await file.write([Buffer.from("x")], 0);
    await file.sync();
    await disk.syncFiles([file]);
    expect((await disk.readFile(`${directory}/orders-0.deleted/log`)).toString()).toBe("x");
    await file.close();
  });

  test("what is removed is gone, and removing it again is no error", async () => {
    const { disk, directory } = await makeDisk();
    const file = await disk.open(`${directory}/a`, "create");
    await file.write([Buffer.from("still here")], 0);
    for (let times = 0; times < 2; times++) await disk.removeFile(`${directory}/a`);
    expect(await disk.stat(`${directory}/a`)).toBeNull();
    const into = Buffer.alloc(10);
    expect(await file.read(into, 0)).toBe(10); // An open file outlives its name.
    await file.close();

    await disk.makeDirectory(`${directory}/x/y`);
    await disk.writeFile(`${directory}/x/y/f`, Buffer.from("1"));
    for (let times = 0; times < 2; times++) await disk.removeDirectory(`${directory}/x`);
    expect(await disk.list(directory)).toEqual([]);
  });
}

function syncCases(makeDisk: () => Promise<DiskUnderTest>): void {
  test("one file, many files and directories are synced", async () => {
    const { disk, directory } = await makeDisk();
    const names = Array.from({ length: 40 }, (_, index) => `${directory}/${index}`);
    const files = await Promise.all(names.map((name) => disk.open(name, "create")));
    await Promise.all(files.map((file) => file.write([Buffer.from("x")], 0)));
    await disk.syncFiles([]);
    await disk.syncFiles(files.slice(0, 2));
    await disk.syncFiles(files);
    await files[0]?.sync();
    await disk.syncDirectory(directory);
    await expect(disk.syncDirectory(`${directory}/none`)).rejects.toMatchObject({ code: "ENOENT" });
    await Promise.all(files.map((file) => file.close()));
  });

  test("what is written to a durable file is there, and can be read by others", async () => {
    const { disk, directory } = await makeDisk();
    const file = await disk.open(`${directory}/journal`, "durable");
    await file.write([Buffer.from("one "), Buffer.from("two")], 0);
    await file.write([Buffer.from("ONE")], 0);
    file.startWriteback(0, 7);
    expect((await disk.readFile(`${directory}/journal`)).toString()).toBe("ONE two");
    await file.sync();
    await file.close();
    const again = await disk.open(`${directory}/journal`, "durable");
    expect(await again.sizeBytes()).toBe(7);
    await again.close();
    again.startWriteback(0, 7);
  });

  test("a file is replaced durably", async () => {
    const { disk, directory } = await makeDisk();
    await replaceFile(disk, `${directory}/checkpoint`, Buffer.from("the first, which is longer"));
    await replaceFile(disk, `${directory}/checkpoint`, Buffer.from("second"));
    expect((await disk.readFile(`${directory}/checkpoint`)).toString()).toBe("second");
    expect(await disk.list(directory)).toEqual([{ name: "checkpoint", kind: "file" }]);
  });

  test("one holder at a time has a lock", async () => {
    const { disk, directory } = await makeDisk();
    const lock = await disk.lock(`${directory}/.lock`);
    expect(lock).not.toBeNull();
    expect(await disk.lock(`${directory}/.lock`)).toBeNull();
    await lock?.release();
    await lock?.release();
    const next = await disk.lock(`${directory}/.lock`);
    expect(next).not.toBeNull();
    await next?.release();
    await expect(disk.lock(`${directory}/none/.lock`)).rejects.toBeInstanceOf(DiskError);
  });

  test("the space of a disk is known", async () => {
    const { disk, directory } = await makeDisk();
    const { totalBytes, usableBytes } = await disk.space(directory);
    expect(usableBytes).toBeGreaterThan(0);
    expect(totalBytes).toBeGreaterThanOrEqual(usableBytes);
    await expect(disk.space(`${directory}/none`)).rejects.toMatchObject({ code: "ENOENT" });
  });
}
