import { nodeWorld } from "@millrace/base/node/node-world";
import { pinoLogger } from "@millrace/base/node/pino-logger";
import { formatNode, parseInitialControllers } from "@millrace/broker/startup/format";
import type { InitialControllers } from "@millrace/broker/startup/format";
import { randomUuid } from "@millrace/storage/meta-properties";
import { installNodeAccelerators } from "kafka-protocol-ts/node";
import { keyValues } from "../arguments.ts";
import type { FormatOptions } from "../program.ts";
import { UsageError } from "../usage-error.ts";

/** Makes a node's directory, and says so. */
export async function format(options: FormatOptions): Promise<void> {
  installNodeAccelerators();
  const world = nodeWorld();
  const { config: path, data, clusterId } = options;
  const set = { ...keyValues("--set", options.set), ...(data === undefined ? {} : { "log.dirs": data }) };
  const file = path === undefined ? {} : { file: { path, text: (await world.disk.readFile(path)).toString() } };
  const settings = {
    ...file,
    environment: process.env,
    set: Object.entries(set).map(([key, value]) => `${key}=${value}`),
  };
  const formatted = await formatNode({
    world,
    logger: pinoLogger({ output: "stderr", level: "warn" }),
    settings,
    clusterId,
    controllers: controllersOf(options),
    ignoresFormatted: options.ignoreFormatted ?? false,
  });
  const { nodeId, directoryId, isOld } = formatted;
  const what = isOld ? "was formatted already" : "is formatted";
  process.stdout.write(
    `${formatted.path} ${what}: cluster ${formatted.clusterId}, node ${nodeId}, directory id ${directoryId}\n`,
  );
}

export function printUuid(): void {
  process.stdout.write(`${randomUuid(nodeWorld().random)}\n`);
}

function controllersOf({ standalone, initialControllers }: FormatOptions): InitialControllers {
  const given = [standalone, initialControllers].filter((each) => each !== undefined);
  if (given.length !== 1) {
    throw new UsageError("format needs one of --standalone, --initial-controllers and --no-initial-controllers");
  }
  if (initialControllers === false) return { kind: "join" };
  if (initialControllers === undefined) return { kind: "standalone" };
  const parsed = parseInitialControllers(initialControllers);
  if (!parsed.ok) throw new UsageError(`--initial-controllers: ${parsed.message ?? parsed.failure}`);
  return { kind: "members", members: parsed.value };
}
