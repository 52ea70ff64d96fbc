import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { runScript } from "../test/script.ts";

/*
 * Each file in testdata/ is a story: commands, `----`, what happened. test/script.ts lists the commands.
 * `REWRITE_SCRIPTS=1 npx vitest run --project raft scripts` writes what happens now; read the diff before it is kept.
 */
const directory = new URL("testdata/", import.meta.url);
const isRewriting = process.env["REWRITE_SCRIPTS"] === "1";

test.for(readdirSync(directory).filter((name) => name.endsWith(".txt")))("%s", (name) => {
  const file = new URL(name, directory);
  const script = readFileSync(file, "utf8");
  const happened = runScript(script);
  if (isRewriting) writeFileSync(file, happened);
  else expect(happened).toBe(script);
});
