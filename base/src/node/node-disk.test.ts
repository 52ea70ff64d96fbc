import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync } from "node:fs";
import { spawn } from "node:child_process";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { errno, Native, isSyncfsHonest } from "@millrace/base/node/native";
import type { NativeCalls } from "@millrace/base/node/native";
import { NodeDisk } from "@millrace/base/node/node-disk";
import { SyncQueue } from "@millrace/base/node/sync-queue";
import { setThreadPoolSize, threadPoolSize } from "@millrace/base/node/thread-pool";
import { diskCases } from "@millrace/base/test/disk-cases";

const root = mkdtempSync(join(tmpdir(), "millrace-disk-"));
afterAll(() => rmSync(root, { recursive: true }));

const directory = (): string => mkdtempSync(join(root, "case-"));
const native = new Native({ isWanted: true });
const noNative = new Native({ isWanted: false });

diskCases("nodeDisk", async () => ({ disk: new NodeDisk({ native }), directory: directory() }));
diskCases("nodeDisk without native calls", async () => ({
  disk: new NodeDisk({ native: noNative }),
  directory: directory(),
}));

describe.runIf(native.calls !== null)("blocks set aside", () => {
  const mebibyte = 1 << 20;

  test("are the file's, leave its size as it is, and are given back by a cut to it", async () => {
    const path = join(directory(), "log");
    const file = await new NodeDisk({ native }).open(path, "create");
    await file.write([Buffer.alloc(10_000, 1)], 0);
    await file.reserve?.(8 * mebibyte);
    const [reserved, sizeBytes] = [statSync(path).blocks * 512, statSync(path).size];
    await file.truncate(sizeBytes);
    const left = statSync(path).blocks * 512;
    await file.close();
    expect(sizeBytes).toBe(10_000);
    // A file system that cannot set any aside does nothing.
    expect(reserved >= 8 * mebibyte || reserved === left).toBe(true);
    expect(left).toBeLessThan(mebibyte);
    await expect(file.reserve?.(1)).rejects.toThrow("closed file");
  });

  const withReserve = (reserve: NativeCalls["reserve"]): NodeDisk =>
    new NodeDisk({ native: { calls: { ...native.calls!, reserve } } });

  test("that are not there are a full disk, by name, and it is not even tried to have them", async () => {
    const path = join(directory(), "log");
    let tries = 0;
    const file = await withReserve(() => tries++).open(path, "create");
    await expect(file.reserve?.(2 ** 52)).rejects.toMatchObject({ name: "DiskError", code: "ENOSPC", path });
    expect(tries).toBe(0);
    await file.close();
  });

  test("are to leave something to others", async () => {
    const file = await new NodeDisk({ native }).open(join(directory(), "log"), "create");
    await expect(file.reserve?.(mebibyte, 2 ** 52)).rejects.toMatchObject({ code: "ENOSPC" });
    await file.close();
  });

  test.for(["ENOSPC", "EDQUOT", "EIO"] as const)(
    "of which there was a part only are given back by a cut: %s",
    async (code) => {
      const { reserve } = native.calls!;
      const disk = withReserve((fd, sizeBytes, done) => reserve(fd, sizeBytes, () => done(-errno[code])));
      const path = join(directory(), "log");
      const file = await disk.open(path, "create");
      await file.write([Buffer.from("abc")], 0);
      await expect(file.reserve?.(8 * mebibyte)).rejects.toMatchObject({ name: "DiskError", code, path });
      await file.truncate(3);
      expect([statSync(path).size, statSync(path).blocks * 512 < mebibyte]).toEqual([3, true]);
      await file.close();
    },
  );

  test("are nothing where the file system does not know it", async () => {
    const disk = withReserve((_fd, _sizeBytes, done) => done(-errno.EOPNOTSUPP));
    const file = await disk.open(join(directory(), "log"), "create");
    await file.reserve?.(8 * mebibyte);
    await file.close();
  });

  test.runIf(process.platform === "linux")("fail with the errno of the thread of the call", async () => {
    const fd = openSync("/dev/null", "w");
    const told = await new Promise((resolve) => {
      native.calls!.reserve(fd, mebibyte, resolve);
    });
    closeSync(fd);
    expect(told).toBe(-constants.errno.ENODEV);
  });
});

test("a closed file keeps its descriptor until the calls that use it have returned", async () => {
  const disk = new NodeDisk({ native });
  const path = join(directory(), "log");
  const file = await disk.open(path, "create");
  const block = Buffer.alloc(1 << 20, 1);
  const writes = Array.from({ length: 8 }, (_, index) => file.write([block], index * block.length));
  const close = file.close();
  // Were the descriptor free already, this file would get its number and some of the bytes.
  const other = await disk.open(`${path}2`, "create");
  await Promise.all([...writes, close]);
  expect(statSync(path).size).toBe(8 << 20);
  expect(await other.sizeBytes()).toBe(0);
  await other.close();
});

test.runIf(process.platform === "linux")("R16: a sync that failed is not asked for again", async () => {
  const disk = new NodeDisk({ native });
  const file = await disk.open("/dev/full", "write");
  // The device knows no sync: EINVAL. It stands for any failure.
  await expect(file.sync()).rejects.toMatchObject({ name: "DiskError", code: "EINVAL", path: "/dev/full" });
  const healthy = await disk.open(join(directory(), "log"), "create");
  await expect(disk.syncFiles([healthy, file])).rejects.toMatchObject({ path: "/dev/full" });
  const many = Array.from({ length: 10 }, () => healthy);
  await expect(disk.syncFiles([...many, file])).rejects.toMatchObject({ path: "/dev/full" });
  await Promise.all([file.close(), healthy.close()]);
});

describe.runIf(native.calls !== null)("many files", () => {
  const withSyncfs = (isSynced: boolean): { disk: NodeDisk; calls: () => number } => {
    let calls = 0;
    const syncfs = (_: number, done: (isSynced: boolean) => void): void => {
      calls++;
      setImmediate(done, isSynced);
    };
    return {
      disk: new NodeDisk({ native: { calls: { ...native.calls!, syncfs } }, syncFilesMax: 4 }),
      calls: () => calls,
    };
  };
  const open = (disk: NodeDisk, count: number) => {
    const where = directory();
    return Promise.all(Array.from({ length: count }, (_, index) => disk.open(join(where, `${index}`), "create")));
  };

  test("are synced by one call for their file system, few by themselves", async () => {
    const { disk, calls } = withSyncfs(true);
    const files = await open(disk, 9);
    await disk.syncFiles(files.slice(0, 4));
    expect(calls()).toBe(0);
    await disk.syncFiles(files);
    expect(calls()).toBe(1);
    await Promise.all(files.map((file) => file.close()));
  });

  test("R16: have all failed when that call has failed", async () => {
    const { disk, calls } = withSyncfs(false);
    const files = await open(disk, 5);
    await expect(disk.syncFiles(files)).rejects.toMatchObject({ name: "DiskError", code: "EIO" });
    for (const file of files) await expect(file.sync()).rejects.toMatchObject({ code: "EIO" });
    await expect(disk.syncFiles(files)).rejects.toMatchObject({ code: "EIO" });
    expect(calls()).toBe(1);
    await Promise.all(files.map((file) => file.close()));
  });

  test("are synced although their directory has got another name", async () => {
    const disk = new NodeDisk({ native, syncFilesMax: 1 });
    const where = directory();
    await disk.makeDirectory(join(where, "orders-0"));
    const files = await Promise.all(["a", "b"].map((name) => disk.open(join(where, "orders-0", name), "create")));
    await disk.rename(join(where, "orders-0"), join(where, "orders-0.deleted"));
    await disk.syncFiles(files);
    await disk.removeDirectory(join(where, "orders-0.deleted"));
    await disk.syncFiles(files);
    await Promise.all(files.map((file) => file.close()));
  });
});

test("a directory is made with its parents, and where that cannot be, the reason is told", async () => {
  const disk = new NodeDisk({ native });
  const where = directory();
  await disk.makeDirectory(join(where, "a", "b", "c"));
  await disk.makeDirectory(join(where, "a", "b", "c"));
  await disk.writeFile(join(where, "file"), Buffer.alloc(0));
  symlinkSync(join(where, "nothing"), join(where, "link"));
  await expect(disk.makeDirectory(join(where, "file"))).rejects.toMatchObject({ name: "DiskError", code: "EEXIST" });
  await expect(disk.makeDirectory(join(where, "file", "b"))).rejects.toMatchObject({ code: "ENOTDIR" });
  await expect(disk.makeDirectory(join(where, "link", "b"))).rejects.toMatchObject({ path: join(where, "link") });
});

test.runIf(process.platform === "linux")("a full disk is told with the name of the file", async () => {
  const disk = new NodeDisk({ native });
  const file = await disk.open("/dev/full", "write");
  await expect(file.write([Buffer.from("x")], 0)).rejects.toMatchObject({ code: "ENOSPC", path: "/dev/full" });
  await expect(file.write([Buffer.from("x"), Buffer.from("y")], 0)).rejects.toMatchObject({ code: "ENOSPC" });
  expect(() => file.writeNow(Buffer.from("x"), 0)).toThrow("write /dev/full: ENOSPC");
  expect(() => file.writeNow(Buffer.from("x"), 0, 100)).toThrow("write /dev/full: ENOSPC");
  await file.close();
});

test("syncs take at most their share of the threads, in order", async () => {
  const syncs = new SyncQueue(2);
  const started: number[] = [];
  const finish: (() => void)[] = [];
  const all = [0, 1, 2, 3].map((index) =>
    syncs.run(
      (done) => {
        started.push(index);
        finish.push(() => done(index === 1 ? new Error("no") : null));
      },
      `file ${index}`,
      "sync",
    ),
  );
  const outcomes = Promise.allSettled(all);
  expect(started).toEqual([0, 1]);
  finish[1]!();
  expect(started).toEqual([0, 1, 2]);
  finish[2]!();
  finish[0]!();
  finish[3]!();
  expect((await outcomes).map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled", "fulfilled"]);
});

test("the pool has the size that was set before its first use", async () => {
  setThreadPoolSize();
  const size = threadPoolSize();
  expect(size).toBe(Number(process.env["UV_THREADPOOL_SIZE"]));
  const script = `import("@millrace/base/node/thread-pool").then(async ({ setThreadPoolSize }) => {
    const size = setThreadPoolSize(6);
    const fs = await import("node:fs");
    fs.stat("/", () => {
      const names = fs.readdirSync("/proc/self/task").map((id) => fs.readFileSync("/proc/self/task/" + id + "/comm", "utf8"));
      console.log(size, names.filter((name) => name.startsWith("libuv-worker")).length);
    });
  })`;
  if (process.platform !== "linux") return;
  const environment = { ...process.env };
  delete environment["UV_THREADPOOL_SIZE"];
  const output = await run(["--input-type=module", "--eval", script], environment);
  expect(output.trim()).toBe("6 6");
});

test("a lock dies with its process, however it dies, and leaves an empty file", async () => {
  const path = join(directory(), ".lock");
  const script = `const { lockFile } = await import("@millrace/base/node/file-lock");
    console.log((await lockFile(${JSON.stringify(path)})) !== null);
    setInterval(() => {}, 1000);`;
  const holder = spawn(process.execPath, [...conditions, "--input-type=module", "--eval", script], {
    cwd: import.meta.dirname,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const locked = await new Promise<string>((resolve) => {
    holder.stdout.once("data", (data: Buffer) => resolve(data.toString().trim()));
  });
  expect(locked).toBe("true");
  const disk = new NodeDisk({ native: noNative });
  expect(await disk.lock(path)).toBeNull();
  const gone = new Promise((resolve) => {
    holder.once("exit", resolve);
  });
  holder.kill("SIGKILL");
  await gone;
  const lock = await disk.lock(path);
  expect(lock).not.toBeNull();
  expect(readFileSync(path).length).toBe(0);
  expect(readdirSync(join(path, ".."))).toEqual([".lock"]);
  await lock!.release();
});

test("syncfs is believed from Linux 5.8 on", () => {
  expect(["4.19.0-1-amd64", "5.7.9", "5.8.0", "5.15.0-91-generic", "6.18.44-fc"].map(isSyncfsHonest)).toEqual([
    false,
    false,
    true,
    true,
    true,
  ]);
});

const conditions = ["--conditions=source"];

function run(args: readonly string[], environment: NodeJS.ProcessEnv): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...conditions, ...args], {
      cwd: import.meta.dirname,
      env: environment,
      stdio: ["ignore", "pipe", "inherit"],
    });
    let output = "";
    child.stdout.on("data", (data: Buffer) => (output += data.toString()));
    child.on("error", reject);
    child.on("close", () => resolve(output));
  });
}
