import { flushCompileCache } from "node:module";
import { parentChannel } from "@millrace/base/node/child-process";
import type { ParentChannel } from "@millrace/base/node/child-process";
import { nodeWorld } from "@millrace/base/node/node-world";
import { pinoLogger } from "@millrace/base/node/pino-logger";
import type { Logger } from "@millrace/base/logger";
import { startBroker } from "@millrace/broker/broker";
import type { StopOptions } from "@millrace/broker/broker";
import { installNodeAccelerators } from "kafka-protocol-ts/node";
import { keyValues, wholeNumber } from "../arguments.ts";
import type { StartOptions } from "../start-options.ts";
import { UsageError } from "../usage-error.ts";
import { dataOf, portMax, refuseClusterDirectory } from "./cluster-directory.ts";
import type { MemberMessage } from "./member-messages.ts";
import { isStopMessage } from "./member-messages.ts";
import { onStopSignal } from "./stop-signals.ts";

/** Runs a broker, or several, until a signal stops them; gives the exit code. */
export async function start(options: StartOptions): Promise<number> {
  if (options.nodes !== undefined) {
    const { startNodes } = await import("./start-nodes.ts");
    return startNodes(options);
  }
  const config = settings(options);
  const { member } = options;
  using membership = member === undefined ? null : new Membership(parentChannel());
  const logger = member === undefined ? pinoLogger({ output: "stderr" }) : memberLogger(member);
  const world = nodeWorld({
    // Large compressed batches are walked in worker threads, which need the codecs too.
    workerPreload: [import.meta.resolve("kafka-protocol-ts/install")],
    onAcceptFailure: ({ message }) => logger.warn("connection not accepted", { reason: message }),
  });
  const accelerators = installNodeAccelerators();
  const { config: path } = options;
  const file = path === undefined ? {} : { file: { path, text: (await world.disk.readFile(path)).toString() } };
  if (member === undefined) await refuseClusterDirectory(world.disk, dataOf(options));
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
  const stop = (how: StopOptions = {}): void => {
    logger.info("broker stopping");
    broker.stop(how).then(
      () => ended.resolve(0),
      (error: unknown) => {
        logger.error("the broker could not stop cleanly", { error });
        ended.resolve(1);
      },
    );
  };
  const { address, nodeId, clusterId } = broker;
  // Counted from the start of the process, which is what whoever waits for the broker sees.
  const readyMs = Math.round(performance.now());
  if (membership === null) {
    onStopSignal(stop);
    process.stdout.write(`millrace ready on ${address.host}:${address.port} in ${readyMs} ms\n`);
  } else membership.ready({ kind: "ready", ...address, readyMs }, stop);
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

function memberLogger(nodeId: string): Logger {
  return pinoLogger({ output: "stderr" }).with({ nodeId: Number(nodeId) });
}

/**
 * The process that watches over the nodes says when to stop, and stopping is what its end means, too. A Ctrl-C reaches all
 * processes of a terminal at once, so it is left to that one; SIGTERM is for this node.
 */
class Membership implements Disposable {
  readonly #parent: ParentChannel;
  #stop: ((how?: StopOptions) => void) | null = null;
  #isStopping = false;

  constructor(parent: ParentChannel | null) {
    if (parent === null) throw new UsageError("--member is for nodes that --nodes has started");
    this.#parent = parent;
    process.on("SIGINT", () => undefined);
    parent.onLost(() => this.#stopOnce());
    parent.onMessage((message) => {
      if (isStopMessage(message)) this.#stopOnce(message);
    });
  }

  ready(message: MemberMessage, stop: (how?: StopOptions) => void): void {
    this.#stop = stop;
    process.on("SIGTERM", () => this.#stopOnce());
    this.#parent.send(message);
  }

  [Symbol.dispose](): void {
    this.#isStopping = true;
    this.#parent.close();
  }

  #stopOnce(how: StopOptions = {}): void {
    if (this.#isStopping) return;
    this.#isStopping = true;
    // A start that is broken off is a crash, and every start can follow one.
    if (this.#stop === null) process.kill(process.pid, "SIGTERM");
    else this.#stop(how);
  }
}
