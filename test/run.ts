import { availableParallelism } from "node:os";
import { parseCLI, startVitest, type TestCase, type TestModule, type Vitest } from "vitest/node";
import { lastLine, tally, type Tally } from "./house/tally.ts";

/**
 * `npm test`: every test of every room in one vitest run, from the sources. Arguments go to vitest, so that
 * `npm test -- --project storage` runs one room and `npm test -- group-commit` the files with that name.
 *
 * The last line is always `N passed, N failed`, with `, N skipped` behind it where something was skipped. A file that
 * does not load, a hook that throws and an error that no test caught are failures like any other.
 */
async function run(args: readonly string[]): Promise<Tally> {
  const { filter, options } = parseCLI(["vitest", "run", ...args]);
  const vitest = await startVitest(filter, {
    maxWorkers: availableParallelism(),
    ...options,
    watch: false,
  });
  const result = resultOf(vitest);
  await vitest.close();
  return result;
}

function resultOf(vitest: Vitest): Tally {
  const modules = vitest.state.getTestModules();
  return tally({
    tests: modules.flatMap((module) => [...module.children.allTests()].map((test) => outcomeOf(module, test))),
    brokenSuites: modules.flatMap((module) => brokenSuitesOf(module)),
    unhandledErrors: vitest.state.getUnhandledErrors().length,
  });
}

function outcomeOf(module: TestModule, test: TestCase): Parameters<typeof tally>[0]["tests"][number] {
  const result = test.result();
  return {
    file: module.relativeModuleId,
    name: test.fullName,
    state: result.state,
    note: result.state === "skipped" ? result.note : undefined,
  };
}

/** A module or a `describe` that failed by itself: a syntax error, a missing import, a hook that threw. */
function brokenSuitesOf(module: TestModule): string[] {
  const suites = [...module.children.allSuites()].filter((suite) => suite.errors().length > 0);
  const names = suites.map((suite) => `${module.relativeModuleId} > ${suite.fullName}`);
  return module.errors().length > 0 ? [module.relativeModuleId, ...names] : names;
}

const result = await run(process.argv.slice(2)).catch((error: unknown) => {
  console.error(error);
  return tally({ tests: [], brokenSuites: ["the test run itself"], unhandledErrors: 0 });
});
for (const line of result.skippedLines) console.log(line);
if (result.passed + result.failed === 0) console.log("no test ran: is the name of the project or file right?");
console.log(lastLine(result));
process.exitCode = result.failed === 0 && result.passed > 0 ? 0 : 1;
// A handle that some test left open must not hold the command line; nothing is printed any more.
setTimeout(() => process.exit(), 2_000).unref();
