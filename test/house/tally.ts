/** What one run of the tests came to. */
export interface Tally {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** One line for each reason, so that nobody mistakes a test that could not run for one that passed. */
  readonly skippedLines: readonly string[];
}

interface Run {
  readonly tests: readonly {
    readonly file: string;
    readonly name: string;
    readonly state: "passed" | "failed" | "skipped" | "pending";
    readonly note: string | undefined;
  }[];
  readonly brokenSuites: readonly string[];
  readonly unhandledErrors: number;
}

/** A test that is still pending at the end (its worker died) has failed. */
export function tally(run: Run): Tally {
  const count = (state: Run["tests"][number]["state"]): number =>
    run.tests.filter((test) => test.state === state).length;
  return {
    passed: count("passed"),
    failed: count("failed") + count("pending") + run.brokenSuites.length + run.unhandledErrors,
    skipped: count("skipped"),
    skippedLines: skippedLines(run.tests),
  };
}

function skippedLines(tests: Run["tests"]): string[] {
  const counts = new Map<string, number>();
  for (const test of tests) {
    if (test.state !== "skipped") continue;
    const reason = test.note?.replace(/^skipped:\s*/, "") ?? test.name;
    const line = `skipped: ${test.file}: ${reason}`;
    counts.set(line, (counts.get(line) ?? 0) + 1);
  }
  return [...counts].map(([line, count]) => (count === 1 ? line : `${line} (${count} tests)`));
}

/** What `npm test` and the CI end with. */
export function lastLine({ passed, failed, skipped }: Tally): string {
  const skippedPart = skipped === 0 ? "" : `, ${skipped} skipped`;
  return `${passed} passed, ${failed} failed${skippedPart}`;
}
