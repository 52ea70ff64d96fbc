import { readStartOptions } from "./start-options.ts";

/**
 * Errors whose message says all a person needs: it names the setting, file, port, topic or record to look at. By name,
 * since their classes are loaded only with the command that throws them. Any other is a bug, and shows its stack.
 */
const plainErrors: ReadonlySet<string> = new Set([
  "UsageError",
  "KafkaError",
  "StartError",
  "NetworkError",
  "DiskError",
]);

/** Runs one command line; gives the exit code. Each command's code is loaded only when it is called. */
export async function run(args: readonly string[]): Promise<number> {
  // Whoever reads our output may stop early, as `head` does. Commands that write much look at `writable` and end.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
  });
  try {
    const startOptions = readStartOptions(args);
    if (startOptions !== null) {
      const { start } = await import("./commands/start.ts");
      return await start(startOptions);
    }
    const { runProgram } = await import("./program.ts");
    return await runProgram(args);
  } catch (error) {
    if (!(error instanceof Error) || !plainErrors.has(error.name)) throw error;
    process.stderr.write(`millrace: ${error.message}\n`);
    return 1;
  }
}
