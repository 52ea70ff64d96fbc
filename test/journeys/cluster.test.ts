import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { runCluster } from "@millrace/simulator/cluster/run";
import { failureText } from "./cluster/report.ts";
import { seedOf } from "./seed.ts";

const entry = fileURLToPath(new URL("./crash-command.ts", import.meta.url));
/** On a machine that has nothing else to do it takes 76 s for them; a slower one does as many as it can. */
const seedsWanted = 200;
const secondsMax = 120;
/** The same ones each time: new seeds are for the command, which goes through thousands. */
const firstSeed = 200_100;

test("a seed brings back the whole run of a cluster", async () => {
  const seed = seedOf("a cluster twice");
  const [once_, again] = [await runCluster({ seed }), await runCluster({ seed })];
  expect(again.hash).toBe(once_.hash);
  expect(again.lines).toEqual(once_.lines);
  expect(once_.problems, failureText(once_, 100)).toEqual([]);
});

test("a commit whose marker is late, as its broker could not be reached, is no torn transaction", async () => {
  const report = await runCluster({ seed: 320_178 });
  expect(report.problems, failureText(report, 100)).toEqual([]);
});

/** `npm run simulate -- --cluster --seeds 10000` goes through a night's worth. */
test("clusters keep their promises while nodes crash, disks fail and the network breaks", async () => {
  const seed = Number(process.env["MILLRACE_SEED"] ?? firstSeed);
  const args = [
    "--cluster",
    "--seed",
    `${seed}`,
    "--seeds",
    `${seedsWanted}`,
    "--jobs",
    "2",
    "--seconds",
    `${secondsMax}`,
  ];
  const child = spawn(process.execPath, ["--conditions=source", entry, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
  const [code] = (await once(child, "close")) as [number | null];
  const lines = text.split("\n");
  console.log(lines.at(-2));
  const failures = lines.filter((line) => !/^seed \d+: ok/.test(line)).slice(0, -2);
  expect({ code, failures: failures.join("\n") }).toEqual({ code: 0, failures: "" });
}, 240_000);
