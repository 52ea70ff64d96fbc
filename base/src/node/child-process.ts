import { spawn } from "node:child_process";

/** How a process ended: one of the two is null. */
export interface ProcessEnd {
  readonly code: number | null;
  readonly signal: string | null;
}

/** A copy of this program with other arguments, in the same process group. */
export interface ChildProgram {
  readonly pid: number;
  readonly ended: Promise<ProcessEnd>;
  /** Lost where the child has gone away. */
  send(message: unknown): void;
  kill(signal: NodeJS.Signals): void;
}

/**
 * Starts this program once more, with other arguments. Its log and what it says on standard error go where ours go. It shares
 * a channel of messages with this process, which breaks when either of them ends.
 */
export function startChildProgram(args: readonly string[], onMessage: (message: unknown) => void): ChildProgram {
  const [executable = "", script = ""] = process.argv;
  const child = spawn(executable, [...process.execArgv, script, ...args], {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  child.on("message", onMessage);
  const ended = new Promise<ProcessEnd>((resolve) => {
    child.once("exit", (code, signal) => resolve({ code, signal }));
    // It could not even be started: as if it had ended at once.
    child.once("error", () => resolve({ code: 1, signal: null }));
  });
  return {
    pid: child.pid ?? 0,
    ended,
    send: (message) => {
      if (child.connected) child.send(message as object, () => undefined);
    },
    kill: (signal) => void child.kill(signal),
  };
}

/** The channel to the process that started this one; null: it was started by something else. */
export interface ParentChannel {
  send(message: unknown): void;
  onMessage(listener: (message: unknown) => void): void;
  /** The parent has gone away. */
  onLost(listener: () => void): void;
  /** An open channel keeps the process alive. */
  close(): void;
}

export function parentChannel(): ParentChannel | null {
  const { send } = process;
  if (send === undefined) return null;
  return {
    send: (message) => {
      if (process.connected) send.call(process, message, () => undefined);
    },
    onMessage: (listener) => void process.on("message", listener),
    onLost: (listener) => void process.on("disconnect", listener),
    close: () => {
      if (process.connected) process.disconnect?.();
    },
  };
}
