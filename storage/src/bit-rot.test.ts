import { expect, test } from "vitest";
import { endings, makeScene, rot } from "../test/bit-rot.ts";

/* What fails names its seed, and the command that comes to it again; a larger MILLRACE_ROT_SEEDS takes more of them. */

const seeds = Number(process.env["MILLRACE_ROT_SEEDS"] ?? 400);

test.for(endings)(
  "a bit that turns over is not seen, or it is named: after a stop that was %s",
  { timeout: 600_000 },
  async (ending) => {
    const scene = await makeScene(ending);
    const files = new Set<string>();
    const wrong: string[] = [];
    let seenCount = 0;
    for (let seed = 1; seed <= seeds; seed++) {
      const { rotten, findings, wrong: text } = await rot(scene, seed);
      files.add(rotten.path.replace(/.*\/(\d{20})?/, ""));
      if (findings.length > 0) seenCount += 1;
      if (text !== null) wrong.push(`seed ${seed}: ${rotten.path} bit ${rotten.bit}: ${text}`);
    }
    expect(wrong, `MILLRACE_ROT_SEEDS=${seeds} npx vitest run storage/src/bit-rot.test.ts -t "${ending}"`).toEqual([]);
    // A test that never hits a kind of file, or whose bits are never seen by anybody, proves nothing.
    const kinds = [
      ".index",
      ".log",
      ".snapshot",
      ".timeindex",
      ".txnindex",
      "leader-epoch-checkpoint",
      "partition.metadata",
    ];
    for (const kind of [...kinds, "meta.properties", "log-start-offset-checkpoint"]) expect(files).toContain(kind);
    expect(seenCount).toBeGreaterThan(seeds / 20);
  },
);
