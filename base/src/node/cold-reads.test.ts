import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { ColdReads, coldReadBytesMax } from "@millrace/base/node/cold-reads";
import { Native } from "@millrace/base/node/native";
import { NodeDisk } from "@millrace/base/node/node-disk";

describe("reads of what is to be in memory", () => {
  test("are one at a time, each of a bounded size, and go on after one that failed", async () => {
    const reads = new ColdReads();
    let underWay = 0;
    const sizes: number[] = [];
    const read = async (into: Uint8Array): Promise<number> => {
      underWay += 1;
      expect(underWay).toBe(1);
      sizes.push(into.length);
      await new Promise((resolve) => setImmediate(resolve));
      underWay -= 1;
      if (into.length === 3) throw new Error("no such sector");
      return into.length;
    };
    const outcomes = await Promise.allSettled([5, 3, coldReadBytesMax + 1, 7].map((size) => reads.run(read, size)));
    expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled", "fulfilled"]);
    expect(sizes).toEqual([5, 3, coldReadBytesMax, 7]);
  });

  test("wait while somebody waits for a write to be on the disk, but not for ever", async () => {
    const reads = new ColdReads();
    const events: string[] = [];
    const read = async (into: Uint8Array): Promise<number> => {
      events.push("read");
      return into.length;
    };
    reads.durableWriteBegan();
    reads.durableWriteBegan();
    const first = reads.run(read, 1);
    await Promise.resolve();
    reads.durableWriteEnded();
    events.push("one write ended");
    await Promise.resolve();
    reads.durableWriteEnded();
    events.push("both ended");
    await first;
    expect(events).toEqual(["one write ended", "both ended", "read"]);
    reads.durableWriteBegan();
    await reads.run(read, 1);
    expect(events).toHaveLength(4);
  });

  test("end the system's own reading ahead for their file, once", async () => {
    const root = mkdtempSync(join(tmpdir(), "millrace-cold-"));
    onTestFinished(() => rmSync(root, { recursive: true }));
    const path = join(root, "log");
    writeFileSync(path, Buffer.alloc(100_000));
    const real = new Native({ isWanted: true }).calls;
    let ended = 0;
    const calls = real === null ? null : { ...real, endReadahead: () => void (ended += 1) };
    const file = await new NodeDisk({ native: { calls } }).open(path, "read");
    await file.warm?.(0, 50_000);
    await file.warm?.(50_000, 60_000);
    await file.close();
    expect(ended).toBe(real === null ? 0 : 1);
    await expect(file.warm?.(0, 1)).rejects.toThrow("read closed file");
  });
});
