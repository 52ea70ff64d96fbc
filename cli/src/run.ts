import { systemClock } from "@millrace/base/node/system-clock";
import type { Timer } from "@millrace/base/world";
import { diskReason } from "./disk-reason.ts";
import { readStartOptions } from "./start-options.ts";

/**
 * Errors whose message says all a person needs: it names the setting, file, port, topic or record to look at. By name,
 * since their classes are loaded only with the command that throws them. Any other is a bug, and shows its stack.
 */
const plainErrors: ReadonlySet<string> = new Set([
  "UsageError",
  "KafkaError",
  "StartError",
  "IdentityRefused",
  "FormationRefused",
  "RegistrationRefused",
  "ImportRefused",
  "NetworkError",
  "DiskError",
]);

/** Runs one command line; gives the exit code. Each command's code is loaded only when it is called. */
export async function run(args: readonly string[]): Promise<number> {
  // Whoever reads our output may stop early, as `head` does. Commands that write much look at `writable` and end.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
  });
  const alive = keepAlive();
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
    process.stderr.write(`millrace: ${sentenceOf(error)}\n`);
    return 1;
  } finally {
    alive.cancel();
  }
}

/** What a disk refuses ends with the system's word for it, under whatever name it is told on. */
function sentenceOf({ message }: Error): string {
  return message.replace(/(?<=: )E[A-Z]+$/, (code) => diskReason(code) ?? code);
}

const holdMs = 2 ** 31 - 1;

/**
 * A command runs until it is done. Without this, one that only waits for a timer or for a connection that is not being
 * read would look finished to the platform.
 */
function keepAlive(): Timer {
  let timer = systemClock.schedule(holdMs, again, { isAwaited: true });
  function again(): void {
    timer = systemClock.schedule(holdMs, again, { isAwaited: true });
  }
  return { cancel: () => timer.cancel() };
}
