import fc from "fast-check";
import { expect, test } from "vitest";
import { Lease } from "./lease.ts";

test("what may be committed goes up to the first that is not done, in whatever order they are done", () => {
  const lease = new Lease(10);
  const tickets = [11, 12, 13, 14].map((next) => lease.begin(next));
  expect(lease.outstanding).toBe(4);
  lease.done(tickets[1]!);
  lease.done(tickets[2]!);
  expect([lease.position, lease.outstanding]).toEqual([10, 2]);
  lease.done(tickets[0]!);
  expect([lease.position, lease.outstanding]).toEqual([13, 1]);
  // A second time, and a ticket that was never given.
  lease.done(tickets[0]!);
  lease.done(tickets[1]!);
  lease.done(99);
  lease.done(-1);
  expect(lease.position).toBe(13);
  lease.done(tickets[3]!);
  expect([lease.position, lease.outstanding]).toEqual([14, 0]);
});

test("the position never passes one that is not done, and reaches the end when all are", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(60), { maxLength: 80 }), fc.nat(40), (order, count) => {
      const lease = new Lease(0);
      const tickets = Array.from({ length: count }, (_, index) => lease.begin(index + 1));
      const done = new Set<number>();
      for (const index of [...order, ...tickets.keys()]) {
        if (index >= count) continue;
        lease.done(tickets[index]!);
        done.add(index);
        let first = 0;
        while (done.has(first)) first++;
        expect(lease.position).toBe(first);
        expect(lease.outstanding).toBe(count - done.size);
      }
      expect(lease.position).toBe(count);
    }),
  );
});

test("what no reader sees is passed at once, or with the record before it", () => {
  const lease = new Lease(0);
  lease.skipTo(3);
  expect(lease.position).toBe(3);
  const first = lease.begin(4);
  const second = lease.begin(5);
  lease.skipTo(9);
  lease.done(second);
  expect(lease.position).toBe(3);
  lease.done(first);
  expect(lease.position).toBe(9);
});

test("the leader epoch of the position is that of the record before it", () => {
  const lease = new Lease(10, 4);
  const tickets: number[] = [];
  for (const [fromOffset, epoch] of [
    [10, 4],
    [12, 6],
    [13, 7],
  ] as const) {
    lease.seeEpoch(fromOffset, epoch);
    tickets.push(lease.begin(fromOffset + 1));
  }
  expect(lease.positionEpoch).toBe(4);
  lease.done(tickets[0]!);
  expect([lease.position, lease.positionEpoch]).toEqual([11, 4]);
  lease.done(tickets[1]!);
  expect([lease.position, lease.positionEpoch]).toEqual([13, 6]);
  lease.done(tickets[2]!);
  expect([lease.position, lease.positionEpoch]).toEqual([14, 7]);
});

test("whoever waits for idleness waits for what is in work, and for nothing that was abandoned", async () => {
  const lease = new Lease(0);
  await lease.idle();
  const first = lease.begin(1);
  const second = lease.begin(2);
  let isIdle = false;
  const idle = lease.idle().then(() => (isIdle = true));
  expect(lease.signal.aborted).toBe(false);
  lease.revoke();
  expect(lease.signal.aborted).toBe(true);
  lease.abandon(second);
  await Promise.resolve();
  expect(isIdle).toBe(false);
  lease.done(first);
  await idle;
  expect(lease.position).toBe(1);
});
