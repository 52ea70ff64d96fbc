// Loaded by the broker bench into the Millrace process (`--import`), beside the broker and unknown to it: measures how late
// the event loop lets a timer come, and answers "reset" and "read" over the channel to the parent. Plain JavaScript, since a
// TypeScript file before the compile cache is on would load the type stripper, whose 14 MB would be counted as the broker's.
import { monitorEventLoopDelay } from "node:perf_hooks";

// Two hundred timers a second cost nothing that the bench could see; a thousand would be work of their own.
const resolutionMs = 5;
const histogram = monitorEventLoopDelay({ resolution: resolutionMs });
histogram.enable();

process.on("message", (question) => {
  if (question === "reset") return histogram.reset();
  // Another module may be loaded beside this one.
  if (question !== "read") return;
  // What it records is the time from one timer to the next: an idle loop shows the resolution.
  const beyond = (nanoseconds) => Math.max(0, nanoseconds / 1e6 - resolutionMs);
  const at = (percentile) => beyond(histogram.percentile(percentile));
  process.send?.({ p99Ms: at(99), p999Ms: at(99.9), maxMs: beyond(histogram.max) });
});
// It is no reason to stay alive.
process.channel?.unref();
