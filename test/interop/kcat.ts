import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";

/** A running kcat, whose standard input may still be fed. */
export interface Kcat {
  readonly process: ChildProcess;
  /** What it printed, once it has ended well; any other end is an error with what it complained of. */
  readonly output: Promise<string>;
}

export function startKcat(address: string, args: readonly string[], timeoutMs = 60_000): Kcat {
  const child = spawn("kcat", ["-b", address, ...args], { stdio: ["pipe", "pipe", "pipe"] });
  // When it ends early its exit says why.
  child.stdin.on("error", () => undefined);
  const timer = setTimeout(() => child.kill("SIGKILL"), timeoutMs);
  const finish = async (): Promise<string> => {
    const [output, log] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
    clearTimeout(timer);
    if (child.exitCode === 0) return output;
    throw new Error(`kcat ${args.join(" ")} ended with ${child.exitCode ?? child.signalCode}\n${log.slice(-4_096)}`);
  };
  return { process: child, output: finish() };
}

export async function runKcat(address: string, args: readonly string[], timeoutMs?: number): Promise<string> {
  const kcat = startKcat(address, args, timeoutMs);
  kcat.process.stdin?.end();
  return await kcat.output;
}
