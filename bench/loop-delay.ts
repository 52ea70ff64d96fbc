import { monitorEventLoopDelay } from "node:perf_hooks";

/**
 * Loaded by the broker bench into the Millrace process (`--import`), beside the broker and unknown to it: measures how long the
 * event loop kept a timer waiting, and answers over the channel to the parent.
 */
export type LoopDelayQuestion = "reset" | "read";

export interface LoopDelay {
  readonly p99Ms: number;
  readonly maxMs: number;
}

const resolutionMs = 5;
const histogram = monitorEventLoopDelay({ resolution: resolutionMs });
histogram.enable();

process.on("message", (question: LoopDelayQuestion) => {
  if (question === "reset") return histogram.reset();
  // What it records is the time between two timers.
  const beyond = (nanoseconds: number): number => Math.max(0, nanoseconds / 1e6 - resolutionMs);
  const answer: LoopDelay = { p99Ms: beyond(histogram.percentile(99)), maxMs: beyond(histogram.max) };
  process.send?.(answer);
});
// It is no reason to stay alive.
process.channel?.unref();
