import { describe, expect, test } from "vitest";
import type { MemberEvent } from "./contract.ts";
import { Ownership } from "./ownership.ts";

/** The judge of the groups' logs is judged: each fault that it is there for is found. */
describe("what the log of a group says", () => {
  const faultsOf = (...events: readonly (MemberEvent & { readonly member: string })[]): readonly string[] => {
    const ownership = new Ownership();
    for (const event of events) ownership.add(event);
    return ownership.faults;
  };
  const assigned = (member: string) => ({ member, event: "assigned", partitions: [0] }) as const;
  const revoked = (member: string) => ({ member, event: "revoked", partitions: [0] }) as const;
  const records = (member: string, from: number, to: number) =>
    ({ member, event: "records", partition: 0, from, to }) as const;
  const commit = (member: string, event: "committing" | "committed", offset: number) =>
    ({ member, event, offsets: { "0": offset } }) as const;
  const processed = [assigned("A"), records("A", 0, 5), commit("A", "committing", 5)];

  test("a partition is handed over where its last commit was", () => {
    const handedOver = [...processed, commit("A", "committed", 5), records("A", 5, 7), revoked("A"), assigned("B")];
    expect(faultsOf(...handedOver, records("B", 5, 9), records("B", 9, 10))).toEqual([]);
    expect(faultsOf(...handedOver, records("B", 7, 9))).toEqual(["B went on in 0 at 7, where 5 was due"]);
    expect(faultsOf(...handedOver, records("B", 0, 9))).toEqual(["B went on in 0 at 0, where 5 was due"]);
  });

  test("a commit that nobody saw answered may count or not", () => {
    const killed = [...processed, { member: "A", event: "dead" } as const, assigned("B")];
    expect(faultsOf(...killed, records("B", 5, 9))).toEqual([]);
    expect(faultsOf(...killed, records("B", 0, 9))).toEqual([]);
    expect(faultsOf(...killed, records("B", 3, 9))).toEqual(["B went on in 0 at 3, where 0 or 5 was due"]);
  });

  test("two owners at once are found, and work without owning", () => {
    expect(faultsOf(assigned("A"), assigned("B"))).toEqual(["0 was assigned to B while A had it"]);
    expect(faultsOf(assigned("A"), revoked("A"), records("A", 0, 1))).toContain(
      "A processed 0 from 0 on, which undefined had",
    );
  });

  test("who leaves may be succeeded before it says that it has left, and works no more then", () => {
    const closing = { member: "A", event: "closing" } as const;
    const left = [...processed, commit("A", "committed", 5), closing, assigned("B")];
    expect(faultsOf(...left, { member: "A", event: "closed" }, records("B", 5, 9))).toEqual([]);
    expect(faultsOf(...left, records("A", 5, 6))).toEqual(["A processed 0 from 5 on, which B had"]);
    expect(faultsOf(...left, { member: "A", event: "closed" }, assigned("A"))).toEqual([
      "0 was assigned to A while B had it",
    ]);
  });

  test("records that are left out are found", () => {
    const faults = faultsOf(...processed, commit("A", "committed", 5), records("A", 6, 7));
    expect(faults).toEqual(["A went on in 0 at 6, where 5 was due", "A left out 5 to 6 of 0"]);
  });
});
