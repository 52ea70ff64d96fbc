import { stderr, stdout } from "node:process";
import { destination as fileDestination, pino, stdSerializers } from "pino";
import type { DestinationStream, Logger as PinoLogger } from "pino";
import type { LogFields, Logger } from "../logger.ts";
import { lineFormatter } from "./log-line.ts";

export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";

export interface LoggerOptions {
  readonly level?: LogLevel;
  /** `auto` takes readable lines in a terminal and JSON elsewhere. */
  readonly format?: "auto" | "line" | "json";
  /** A stream of the process, or a function that is given each line with its end. */
  readonly output?: "stdout" | "stderr" | ((line: string) => void);
}

/** The log of a process. Lines are written before the call returns, so that the last words before a crash are there. */
export function pinoLogger(options: LoggerOptions = {}): Logger {
  const { level = "info", format = "auto", output = "stdout" } = options;
  const stream = output === "stderr" ? stderr : stdout;
  const isTerminal = typeof output === "string" && stream.isTTY;
  const isLine = format === "line" || (format === "auto" && isTerminal);
  const sink: DestinationStream =
    typeof output === "string" ? fileDestination({ dest: stream.fd, sync: true }) : { write: output };
  // A formatter of our own: pino-pretty takes 20-40 ms and 2.5 MB at start-up for what these lines do not need.
  const formatLine = lineFormatter({ isColored: isTerminal && process.env["NO_COLOR"] === undefined });
  const target: DestinationStream = isLine ? { write: (json) => sink.write(formatLine(json)) } : sink;
  const settings = {
    level,
    base: null,
    messageKey: "message",
    formatters: { level: (label: string) => ({ level: label }) },
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    serializers: { error: stdSerializers.err, cause: stdSerializers.err, reason: stdSerializers.err },
  };
  return new PinoAdapter(pino(settings, target));
}

class PinoAdapter implements Logger {
  readonly #pino: PinoLogger;

  constructor(pino: PinoLogger) {
    this.#pino = pino;
  }

  debug(message: string, fields: LogFields = {}): void {
    this.#pino.debug(fields, message);
  }

  info(message: string, fields: LogFields = {}): void {
    this.#pino.info(fields, message);
  }

  warn(message: string, fields: LogFields = {}): void {
    this.#pino.warn(fields, message);
  }

  error(message: string, fields: LogFields = {}): void {
    this.#pino.error(fields, message);
  }

  with(fields: LogFields): Logger {
    return new PinoAdapter(this.#pino.child(fields));
  }
}
