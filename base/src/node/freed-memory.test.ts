import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";

const header = (process.report.getReport() as { readonly header: { readonly glibcVersionRuntime?: string } }).header;
/** Twenty times 20 MB of buffers, freed one after the other. */
const program = `
  const rounds = 20;
  const round = () => {
    const buffers = Array.from({ length: 20 }, () => new Uint8Array(1_000_000).fill(1));
    for (const { buffer } of buffers) buffer.transfer(0);
  };
  for (let count = 0; count < 3; count++) round();
  const before = process.resourceUsage().minorPageFault;
  for (let count = 0; count < rounds; count++) round();
  console.log((process.resourceUsage().minorPageFault - before) / rounds);
`;

function faultsPerRound(prologue: string): number {
  const args = ["--conditions=source", "--input-type=module", "--eval", prologue + program];
  const env = {
    ...process.env,
    GLIBC_TUNABLES: "",
    MALLOC_TRIM_THRESHOLD_: undefined,
    MALLOC_MMAP_THRESHOLD_: undefined,
  };
  const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8", env });
  if (stdout === "") throw new Error(stderr);
  return Number(stdout);
}

test.skipIf(header.glibcVersionRuntime === undefined)("freed memory is used again, and not asked of the system", () => {
  const path = join(import.meta.dirname, "freed-memory.ts");
  const without = faultsPerRound("");
  const kept = faultsPerRound(`import { keepFreedMemory } from ${JSON.stringify(path)}; keepFreedMemory();`);
  expect(without).toBeGreaterThan(1_000);
  expect(kept).toBeLessThan(without / 4);
});
