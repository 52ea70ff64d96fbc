import { expect, test } from "vitest";
import { noStorms, storm } from "../../test/replication-storm.ts";

/* What fails names its seed. More of them, or one again: REPLICATION_SEED=7 REPLICATION_STORMS=1000 npx vitest run --project broker storm */

const from = Number(process.env["REPLICATION_SEED"] ?? 1);
const count = Number(process.env["REPLICATION_STORMS"] ?? 12);
const steps = Number(process.env["REPLICATION_STEPS"] ?? 150);

test(
  "in bad weather nothing that was acknowledged is lost, and all replicas agree in the end",
  { timeout: 3_600_000 },
  async () => {
    const counts = noStorms();
    for (let seed = from; seed < from + count; seed++) {
      try {
        await storm(seed, steps, counts);
      } catch (error) {
        throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
      }
    }
    if (count > 100) console.log(counts);
    expect(counts.acknowledged).toBeGreaterThan(count * 10);
    expect(counts.crashes).toBeGreaterThan(count);
    expect(counts.truncations).toBeGreaterThan(0);
    expect(counts.badBatches).toBeGreaterThan(0);
  },
);
