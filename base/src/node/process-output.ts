/** The process's console and environment, for what takes them from there by long custom. */

export type ConsoleMethod = "debug" | "info" | "log" | "warn" | "error";

/** One line, as `console.info(line)` and its like. */
export function writeConsole(method: ConsoleMethod, line: string): void {
  console[method](line);
}

/** Undefined where the environment does not hold it. */
export function environmentVariable(name: string): string | undefined {
  return process.env[name];
}
