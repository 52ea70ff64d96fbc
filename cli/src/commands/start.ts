import { readFile } from "node:fs/promises";
import { nodeWorld } from "@millrace/base/node/node-world";
import { pinoLogger } from "@millrace/base/node/pino-logger";
import { startBroker } from "@millrace/broker/broker";
import { installNodeAccelerators } from "kafka-protocol-ts/node";
import { keyValues, wholeNumber } from "../arguments.ts";
import type { StartOptions } from "../program.ts";
import { UsageError } from "../usage-error.ts";

/** Runs a broker until a signal stops it; gives the exit code. */
export async function start(options: StartOptions): Promise<number> {
  const logger = pinoLogger({ output: "stderr" });
  const accelerators = installNodeAccelerators();
  const world = nodeWorld({ workerPreload: [import.meta.resolve("kafka-protocol-ts/install")] });
  const port = wholeNumber("--port", options.port);
  const given = keyValues(options.set);
  const config: Record<string, string> = {
    ...(options.data === undefined ? {} : { "log.dirs": options.data }),
    ...(port === undefined ? {} : { listeners: `PLAINTEXT://127.0.0.1:${port}` }),
    ...given,
  };
  const ended = Promise.withResolvers<number>();
  const broker = await startBroker({
    config,
    environment: process.env,
    ...(options.config === undefined ? {} : { file: await configFile(options.config) }),
    world,
    logger,
    onFatal: () => ended.resolve(1),
  });
  const { host, port: bound } = broker.address;
  // Counted from the start of the process, which is what whoever waits for the broker sees.
  process.stdout.write(`millrace ready on ${host}:${bound} in ${Math.round(performance.now())} ms\n`);
  world.native.load();
  logger.info("broker started", { nodeId: broker.nodeId, clusterId: broker.clusterId, accelerators });
  stopOnSignal(() => {
    logger.info("broker stopping");
    broker.stop().then(
      () => ended.resolve(0),
      (error: unknown) => {
        logger.error("the broker could not stop cleanly", { error });
        ended.resolve(1);
      },
    );
  });
  // While the broker stops, paused sockets and its own timers would let the process end before all is synced.
  const alive = setInterval(() => {}, 0x7fff_ffff);
  const exitCode = await ended.promise;
  if (exitCode !== 0) await broker.stop().catch(() => {});
  clearInterval(alive);
  return exitCode;
}

/** Ctrl-C under `npm start` comes twice: from the terminal, and from npm, which passes it on. */
const oneSignalMs = 300;

/** The first signal stops cleanly, a second one at once. */
function stopOnSignal(stop: () => void): void {
  let firstMs: number | null = null;
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      if (firstMs === null) {
        firstMs = performance.now();
        stop();
      } else if (performance.now() - firstMs > oneSignalMs) process.kill(process.pid, "SIGKILL");
    });
  }
}

async function configFile(path: string): Promise<{ readonly path: string; readonly text: string }> {
  try {
    return { path, text: await readFile(path, "utf8") };
  } catch (error) {
    throw new UsageError(`--config: ${(error as Error).message}`);
  }
}
