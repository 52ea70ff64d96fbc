import { parseArgs } from "node:util";

export interface StartOptions {
  readonly port?: string;
  readonly data?: string;
  readonly config?: string;
  readonly set?: readonly string[];
  readonly nodes?: string;
  /** False: a node that ends is not started again. */
  readonly restart?: boolean;
  /** One node of several, by its id, started by the process that watches over them. */
  readonly member?: string;
}

/**
 * The options of a plain `start`, or null for whatever else is asked: that is left to the program of all commands.
 * A start is what people and tests wait for, and the library behind that program takes some 20 ms.
 */
export function readStartOptions(args: readonly string[]): StartOptions | null {
  const [command, ...rest] = args;
  if (command !== "start") return null;
  try {
    const { values } = parseArgs({
      args: rest,
      allowNegative: true,
      options: {
        port: { type: "string", short: "p" },
        data: { type: "string", short: "d" },
        config: { type: "string", short: "c" },
        set: { type: "string", short: "s", multiple: true },
        nodes: { type: "string", short: "n" },
        restart: { type: "boolean" },
        member: { type: "string" },
      },
    });
    return values;
  } catch {
    return null;
  }
}
