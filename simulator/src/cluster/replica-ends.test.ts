import { expect, test } from "vitest";
import { SimulatedDisk } from "../simulated-disk.ts";
import { VirtualClock } from "../virtual-clock.ts";
import { untilLevel } from "./replica-ends.ts";

const topicId = "AAAAAAAAAAAAAAAAAAAAAQ";

/** A disk with `log-0`, whose only segment begins with an offset and has batches of so many records. */
async function machine(name: string, baseOffset: number, counts: readonly number[], id = topicId) {
  const platter = new SimulatedDisk();
  await platter.makeDirectory("/data/log-0");
  await write(platter, "/data/log-0/partition.metadata", Buffer.from(`version: 0\ntopic_id: ${id}\n`));
  const bytes = batches(baseOffset, counts);
  await write(platter, `/data/log-0/${String(baseOffset).padStart(20, "0")}.log`, bytes);
  return { name, platter };
}

async function write(platter: SimulatedDisk, path: string, bytes: Buffer): Promise<void> {
  const file = await platter.open(path, "create");
  await file.write([bytes], 0);
  await file.close();
}

/** Their headers, and some room behind the last one. */
function batches(baseOffset: number, counts: readonly number[]): Buffer {
  const made: Buffer[] = [];
  let offset = baseOffset;
  for (const count of counts) {
    const header = Buffer.alloc(61);
    header.writeBigInt64BE(BigInt(offset));
    header.writeInt32BE(header.length - 12, 8);
    header.writeInt32BE(count - 1, 23);
    made.push(header);
    offset += count;
  }
  return Buffer.concat([...made, Buffer.alloc(64)]);
}

test("replicas are level when they end at one offset, however their segments begin", async () => {
  const clock = new VirtualClock();
  const machines = [await machine("n1", 0, [3, 2]), await machine("n2", 3, [2]), await machine("n3", 5, [])];
  expect(await untilLevel(clock, machines, 1_000)).toBe("");
  expect(clock.monotonicMs()).toBe(0);
});

test("one that is behind is waited for, and named when it does not come", async () => {
  const clock = new VirtualClock();
  const [ahead, behind] = [await machine("n1", 0, [3, 2]), await machine("n2", 0, [3])];
  expect(await untilLevel(clock, [ahead, behind], 1_000)).toBe(`log-0 ${topicId} ends at 5 on n1, 3 on n2`);
  clock.schedule(12_000, () => {
    void write(behind.platter, "/data/log-0/00000000000000000000.log", batches(0, [3, 2]));
  });
  expect(await untilLevel(clock, [ahead, behind], 90_000)).toBe("");
  expect(clock.monotonicMs()).toBeLessThan(14_000);
});

test("a topic that has the name of one before is another", async () => {
  const clock = new VirtualClock();
  const machines = [await machine("n1", 0, [3]), await machine("n2", 0, [1], "AAAAAAAAAAAAAAAAAAAAAg")];
  expect(await untilLevel(clock, machines, 1_000)).toBe("");
});
