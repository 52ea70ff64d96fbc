import { readFileSync } from "node:fs";

/** Of the clock in /proc/PID/stat: 100 on every Linux that Node runs on. */
const ticksPerSecond = 100;

/** CPU seconds of a process so far, in user and system mode, all its threads. */
export function cpuSecondsOf(pid: number): number {
  // The name in parentheses may hold blanks.
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

export function rssMegabytesOf(pid: number): number {
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return Number(kilobytes) / 1024;
}
