import { chosenTarget } from "./target.ts";
import type { TargetName } from "./target.ts";

/** What `npm run interop` was asked for. */

/** With `--long`: also what takes minutes. */
export const isLong = process.env["MILLRACE_INTEROP_LONG"] === "1";

/** The broker that `--target` names; where there is none, these. */
export function targetsOr(others: readonly TargetName[]): readonly TargetName[] {
  return process.env["MILLRACE_INTEROP_TARGET"] === undefined ? others : [chosenTarget()];
}
