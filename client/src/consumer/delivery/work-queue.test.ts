import { expect, test } from "vitest";
import { ConsumedRecord } from "../consumed-record.ts";
import { Lease } from "../lease.ts";
import { WorkQueue } from "./work-queue.ts";

function recordOf(lease: Lease, offset: number): ConsumedRecord {
  const source = { topic: "orders", partition: 0, lease, owner: null };
  return new ConsumedRecord(source, offset, 0, Buffer.from("key"), null, null);
}

test.each(["partition", "key"] as const)(
  "what is given up does not let others of its line begin beside what is in work: order %s",
  (order) => {
    const queue = new WorkQueue(order);
    const [before, after] = [new Lease(0), new Lease(0)];
    const [inWork, waiting, next] = [recordOf(before, 0), recordOf(before, 1), recordOf(after, 0)];
    queue.add(inWork);
    queue.add(waiting);
    expect(queue.take()).toBe(inWork);
    before.revoke();
    expect(queue.dropRevoked()).toEqual([waiting]);
    queue.add(next);
    expect(queue.waiting).toBe(1);
    expect(queue.hasReady).toBe(false);
    expect(queue.take()).toBeNull();
    queue.finished(inWork);
    expect(queue.hasReady).toBe(true);
    expect(queue.take()).toBe(next);
    expect(queue.waiting).toBe(0);
  },
);
