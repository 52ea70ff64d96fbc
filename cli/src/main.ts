#!/usr/bin/env node
import { enableCompileCache } from "node:module";
import { setThreadPoolSize } from "@millrace/base/node/thread-pool";

// Both before anything else is loaded: modules compiled once are kept, and the pool's size counts only before its first use.
enableCompileCache();
setThreadPoolSize();

const { runCommand } = await import("./program.ts");
process.exitCode = await runCommand(process.argv.slice(2));
