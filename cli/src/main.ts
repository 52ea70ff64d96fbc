#!/usr/bin/env node
import { enableCompileCache } from "node:module";

// In this order, and before anything else is loaded: modules that were compiled once are kept on the disk, and the
// thread pool takes its size at its first use.
enableCompileCache();
const { setThreadPoolSize } = await import("@millrace/base/node/thread-pool");
setThreadPoolSize();

const { run } = await import("./run.ts");
process.exitCode = await run(process.argv.slice(2));
