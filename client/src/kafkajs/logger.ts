import type { LogFields, Logger as BaseLogger } from "@millrace/base/logger";
import { writeConsole } from "@millrace/base/node/process-output";
import type { ConsoleMethod } from "@millrace/base/node/process-output";
import type { Clock } from "@millrace/base/world";
import { logLevel } from "./enums.ts";

export interface LoggerEntryContent {
  readonly timestamp: string;
  readonly message: string;
  // oxlint-disable-next-line typescript/no-explicit-any -- as in KafkaJS's types, or a logCreator written for those does not compile
  [key: string]: any;
}

export interface LogEntry {
  namespace: string;
  level: logLevel;
  label: string;
  log: LoggerEntryContent;
}

/** Called once with the level that is set; what it gives is called with each line of that level or a graver one. */
export type logCreator = (level: logLevel) => (entry: LogEntry) => void;

export interface Logger {
  info: (message: string, extra?: object) => void;
  error: (message: string, extra?: object) => void;
  warn: (message: string, extra?: object) => void;
  debug: (message: string, extra?: object) => void;
  namespace: (namespace: string, level?: logLevel) => Logger;
  setLogLevel: (level: logLevel) => void;
}

type Label = Exclude<keyof typeof logLevel, "NOTHING">;

const consoleMethods: Readonly<Record<Label, ConsoleMethod>> = {
  ERROR: "error",
  WARN: "warn",
  INFO: "info",
  DEBUG: "log",
};

/** JSON on the console, with the namespace before the message. */
export const consoleLogCreator: logCreator = () => (entry) => {
  const { namespace, label, log } = entry;
  const message = namespace === undefined ? log.message : `[${namespace}] ${log.message}`;
  writeConsole(consoleMethods[label as Label], JSON.stringify({ level: label, ...log, message }, plain));
};

/** Errors have no fields of their own that JSON would show. */
function plain(_key: string, value: unknown): unknown {
  return value instanceof Error ? `${value.name}: ${value.message}` : value;
}

/** KAFKAJS_LOG_LEVEL, where it names a level, overrides what the program sets. */
export function createLogger(options: {
  readonly level: number;
  readonly logCreator: logCreator;
  readonly clock: Pick<Clock, "now">;
  readonly forcedLevel?: string | undefined;
}): Logger {
  const { clock, forcedLevel = "" } = options;
  const forced = (logLevel as Readonly<Record<string, logLevel>>)[forcedLevel.toUpperCase()];
  let level = forced ?? (options.level as logLevel);
  const write = options.logCreator(level);

  const named = (namespace: string | undefined, own?: logLevel): Logger => {
    const line =
      (label: Label) =>
      (message: string, extra: object = {}): void => {
        if (logLevel[label] > (forced ?? own ?? level)) return;
        // The name that filters and tests of programs know.
        const log = { timestamp: new Date(clock.now()).toISOString(), logger: "kafkajs", message, ...extra };
        // KafkaJS's type says text, and its root logger has none.
        write({ namespace: namespace as string, level: logLevel[label], label, log });
      };
    return {
      info: line("INFO"),
      error: line("ERROR"),
      warn: line("WARN"),
      debug: line("DEBUG"),
      namespace: named,
      setLogLevel: (next) => {
        level = next;
      },
    };
  };
  return named(undefined);
}

/** The same lines, for the parts of the client that write them. */
export function asBaseLogger(logger: Logger, fields: LogFields = {}): BaseLogger {
  const line =
    (write: (message: string, extra?: object) => void) =>
    (message: string, extra: LogFields = {}): void =>
      write(message, { ...fields, ...extra });
  return {
    debug: line(logger.debug),
    info: line(logger.info),
    warn: line(logger.warn),
    error: line(logger.error),
    with: (more) => asBaseLogger(logger, { ...fields, ...more }),
  };
}
