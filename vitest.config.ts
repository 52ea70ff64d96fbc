import { defineConfig } from "vitest/config";

interface Timing {
  readonly timeoutMs?: number;
  /** Projects of a higher group begin when those of the lower ones have ended. */
  readonly group?: number;
  /** For tests that keep the machine busy with processes of their own: one file at a time. */
  readonly isAlone?: boolean;
}

/** One project a room, so that `npx vitest --project storage` runs a room alone. Sources are taken, never dist. */
const project = (name: string, include: string[], { timeoutMs = 20_000, group = 0, isAlone = false }: Timing = {}) => ({
  resolve: { conditions: ["source"] },
  ssr: { resolve: { conditions: ["source"] } },
  test: {
    name,
    include,
    testTimeout: timeoutMs,
    hookTimeout: timeoutMs,
    sequence: { groupOrder: group },
    ...(isAlone ? { maxWorkers: 1 } : {}),
  },
});

const rooms = ["base", "protocol", "raft", "storage", "broker", "client", "cli", "simulator"];

export default defineConfig({
  test: {
    projects: [
      ...rooms.map((name) => project(name, [`${name}/src/**/*.test.ts`, `${name}/test/**/*.test.ts`])),
      project("house", ["test/*.test.ts", "test/house/**/*.test.ts", "test/conformance/**/*.test.ts"], {
        timeoutMs: 60_000,
      }),
      project("journeys", ["test/journeys/**/*.test.ts"], { timeoutMs: 120_000, group: 1, isAlone: true }),
      project("interop", ["test/interop/**/*.test.ts"], { timeoutMs: 240_000, group: 2, isAlone: true }),
    ],
    execArgv: ["--conditions=source"],
    passWithNoTests: true,
  },
});
