import { flushCompileCache } from "node:module";
import { nodeWorld } from "@millrace/base/node/node-world";
import { pinoLogger } from "@millrace/base/node/pino-logger";
import { startBroker } from "@millrace/broker/broker";
import { installNodeAccelerators } from "kafka-protocol-ts/node";
import { keyValues, wholeNumber } from "../arguments.ts";
import type { StartOptions } from "../start-options.ts";
import { UsageError } from "../usage-error.ts";

const portMax = 65_535;

/** Runs a broker until a signal stops it; gives the exit code. */
export async function start(options: StartOptions): Promise<number> {
  const config = settings(options);
  const logger = pinoLogger({ output: "stderr" });
  const world = nodeWorld({
    // Large compressed batches are walked in worker threads, which need the codecs too.
    workerPreload: [import.meta.resolve("kafka-protocol-ts/install")],
    onAcceptFailure: ({ message }) => logger.warn("connection not accepted", { reason: message }),
  });
  const accelerators = installNodeAccelerators();
  const { config: path } = options;
  const file = path === undefined ? {} : { file: { path, text: (await world.disk.readFile(path)).toString() } };
  const ended = Promise.withResolvers<number>();
  // Up to here a signal ends the process at once: a start that was broken off is a crash, and every start can follow one.
  const broker = await startBroker({
    config,
    environment: process.env,
    ...file,
    world,
    logger,
    onFatal: () => ended.resolve(1),
  });
  onStopSignal(() => {
    logger.info("broker stopping");
    broker.stop().then(
      () => ended.resolve(0),
      (error: unknown) => {
        logger.error("the broker could not stop cleanly", { error });
        ended.resolve(1);
      },
    );
  });
  const { address, nodeId, clusterId } = broker;
  // Counted from the start of the process, which is what whoever waits for the broker sees.
  process.stdout.write(`millrace ready on ${address.host}:${address.port} in ${Math.round(performance.now())} ms\n`);
  // What takes long and is not needed before the first client has come.
  world.native.load();
  const sendfile = world.native.reason ?? "native";
  logger.info("broker started", { nodeId, clusterId, crc32c: accelerators.crc32c, sendfile });
  // A broker may live for months and be killed in the end: what was compiled is kept now.
  flushCompileCache();
  const exitCode = await ended.promise;
  if (exitCode !== 0) await broker.stop().catch(() => {});
  return exitCode;
}

/** What the command line says, as settings. */
function settings({ port: portText, data, set }: StartOptions): Record<string, string> {
  const port = wholeNumber("--port", portText, { min: 0, max: portMax });
  if (data === "") throw new UsageError("--data: no directory is named");
  return {
    ...(data === undefined ? {} : { "log.dirs": data }),
    ...(port === undefined ? {} : { listeners: `PLAINTEXT://127.0.0.1:${port}` }),
    ...keyValues("--set", set),
  };
}

/** npm passes a Ctrl-C on that the terminal has sent to all of its processes already: it comes twice. */
const npmEchoMs = 300;

/** The first SIGTERM or SIGINT stops cleanly, a second one ends the process at once. */
function onStopSignal(stop: () => void): void {
  const echoMs = process.env["npm_lifecycle_event"] === undefined ? 0 : npmEchoMs;
  const signals = ["SIGTERM", "SIGINT"] as const;
  let firstMs: number | null = null;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (firstMs === null) {
      firstMs = performance.now();
      stop();
    } else if (performance.now() - firstMs >= echoMs) {
      for (const each of signals) process.removeListener(each, onSignal);
      process.kill(process.pid, signal);
    }
  };
  for (const signal of signals) process.on(signal, onSignal);
}
