import { median, rounded, verdict } from "../statistics.ts";
import type { Line, Measured } from "./bench.ts";

/** Median and maximum of what was measured of a cluster, under names that begin with the cluster's. */
export function figures(name: "millrace" | "kafka", measured: Measured | null, whats: readonly string[]): Line {
  const line: Line = {};
  for (const what of whats) {
    const values = measured?.[what] ?? [];
    if (values.length === 0) continue;
    const title = `${name}${what.charAt(0).toUpperCase()}${what.slice(1)}`;
    line[`${title}Median`] = rounded(median(values));
    line[`${title}Max`] = rounded(Math.max(...values));
  }
  return line;
}

export function maxOf(measured: Measured | null, whats: readonly string[]): number {
  return Math.max(0, ...whats.flatMap((what) => measured?.[what] ?? []));
}

export function sumOf(measured: Measured | null, whats: readonly string[]): number {
  return whats.flatMap((what) => measured?.[what] ?? []).reduce((sum, value) => sum + value, 0);
}

/** `value <= limit` in words. */
export function atMost(value: number, limit: number, unit: string): string {
  return verdict(value <= limit, `${rounded(value)} <= ${rounded(limit)} ${unit}`);
}
