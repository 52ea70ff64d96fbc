import { KafkaError } from "../../errors.ts";
import type { Assignor, AsyncAssignor } from "./assignor.ts";
import { range } from "./range.ts";
import { roundRobin } from "./round-robin.ts";
import { cooperativeSticky, sticky } from "./sticky.ts";

/** The assignors that are here, by the names that Java gives them. */
export const assignors: Readonly<Record<AssignorName, Assignor>> = {
  range,
  roundrobin: roundRobin,
  sticky,
  "cooperative-sticky": cooperativeSticky,
};

/** The assignors that come with the client, by Java's names. */
export type AssignorName = "range" | "roundrobin" | "sticky" | "cooperative-sticky";

/** @throws KafkaError INVALID_CONFIG where there is none, one is not known, or a name comes twice. */
export function assignorsOf(
  chosen: readonly (AssignorName | Assignor | AsyncAssignor)[],
): readonly (Assignor | AsyncAssignor)[] {
  const found = chosen.map((each) => {
    if (typeof each !== "string") return each;
    const assignor: Assignor | undefined = assignors[each];
    if (assignor !== undefined) return assignor;
    const known = Object.keys(assignors).join(", ");
    throw new KafkaError("INVALID_CONFIG", `assignors: ${each} is not known; choose from ${known}`);
  });
  const names = new Set(found.map(({ name }) => name));
  if (names.size === 0) throw new KafkaError("INVALID_CONFIG", "assignors: at least one is needed");
  if (names.size === found.length) return found;
  throw new KafkaError("INVALID_CONFIG", `assignors: ${found.map(({ name }) => name).join(", ")}: a name comes twice`);
}
