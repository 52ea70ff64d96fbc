#!/usr/bin/env node
// The command line from the sources. Plain JavaScript, since the first TypeScript file that is not in the compile cache
// loads the type stripper (some 20 MB and 100 ms): the cache must be on before. The published program is dist/main.js.
import { enableCompileCache } from "node:module";

enableCompileCache();
await import("./src/main.ts");
