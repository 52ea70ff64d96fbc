import { startChildProgram } from "@millrace/base/node/child-process";
import type { ChildProgram, ProcessEnd } from "@millrace/base/node/child-process";
import { nodeWorld } from "@millrace/base/node/node-world";
import { pinoLogger } from "@millrace/base/node/pino-logger";
import type { Logger } from "@millrace/base/logger";
import type { Clock, Timer } from "@millrace/base/world";
import { loadStaticConfig } from "@millrace/broker/config/static-config";
import { keyValues, wholeNumber } from "../arguments.ts";
import { canDecide, nodesMax, ofOneNode, settingsOfNode, suitedTo } from "../cluster-size.ts";
import type { StartOptions } from "../start-options.ts";
import { UsageError } from "../usage-error.ts";
import { nodeDirectory, openCluster, portMax } from "./cluster-directory.ts";
import type { LocalCluster } from "./cluster-directory.ts";
import { isMemberMessage } from "./member-messages.ts";
import type { MemberMessage, StopMessage } from "./member-messages.ts";
import { onStopSignal } from "./stop-signals.ts";

const defaultPort = 9092;
const restartMs = { first: 200, most: 10_000 };
/** A node that was up for so long starts again without a pause that has grown. */
const steadyMs = 10_000;

/** Runs several nodes, each a process, until a signal stops them; gives the exit code. */
export async function startNodes(options: StartOptions): Promise<number> {
  const nodes = wholeNumber("--nodes", options.nodes, { min: 1, max: nodesMax }) ?? 1;
  const port = wholeNumber("--port", options.port, { min: 0, max: portMax - nodes + 1 }) ?? defaultPort;
  const set = keyValues("--set", options.set);
  const misplaced = ofOneNode.find((key) => key in set);
  if (misplaced !== undefined)
    throw new UsageError(`--set: ${misplaced} is another for each node, and --nodes sets it`);
  const { data = "./data" } = options;
  if (data === "") throw new UsageError("--data: no directory is named");
  const world = nodeWorld();
  const weaker = await defaultsOf(options, set, nodes, (path) => world.disk.readFile(path));
  const cluster = await openCluster(world, { data, nodes, port });
  const given = { data, cluster, set: { ...weaker, ...set }, config: options.config };
  const logger = pinoLogger({ output: "stderr" });
  const ended = Promise.withResolvers<number>();
  const members: Member[] = [];
  const group = { isStopping: false, isAnnounced: false };
  const stopAll = async (exitCode: number): Promise<void> => {
    if (group.isStopping) return;
    group.isStopping = true;
    logger.info("nodes stopping", { nodes });
    let areClean = true;
    // One after the other: what the first of them led is led by those behind it.
    const { size } = cluster.controllerPorts;
    for (const [index, member] of [...members.entries()].reverse()) {
      const isHandedOver = canDecide(Math.min(index + 1, size), size);
      areClean = (await member.stop({ kind: "stop", isHandedOver })) && areClean;
    }
    ended.resolve(areClean ? exitCode : 1);
  };
  for (let nodeId = 1; nodeId <= nodes; nodeId++) {
    members.push(
      new Member({
        nodeId,
        logger: logger.with({ nodeId }),
        clock: world.clock,
        mayRestart: options.restart !== false,
        arguments: (lastPort) => memberArguments(given, nodeId, lastPort ?? (port === 0 ? 0 : port + nodeId - 1)),
        onReady: () => {
          const areReady = members.length === nodes && members.every(({ wasReady }) => wasReady);
          if (!areReady || group.isStopping || group.isAnnounced) return;
          group.isAnnounced = true;
          announce(members);
        },
        onEnded: (isRefused) => {
          const isAnyLeft = members.some(({ isEnded }) => !isEnded);
          if (isRefused || !isAnyLeft) void stopAll(1);
        },
      }),
    );
  }
  onStopSignal(
    () => void stopAll(0),
    () => {
      for (const member of members) member.kill();
    },
  );
  return ended.promise;
}

function announce(members: readonly Member[]): void {
  const addresses = members.map(({ address }) => address).join(",");
  const readyMs = Math.round(performance.now());
  const count = members.length === 1 ? "1 node" : `${members.length} nodes`;
  process.stdout.write(`millrace cluster ready on ${addresses} in ${readyMs} ms (${count})\n`);
}

/** What suits so many nodes better than the defaults of one, where nothing is said of it anywhere. */
async function defaultsOf(
  { config: path }: StartOptions,
  set: Readonly<Record<string, string>>,
  nodes: number,
  read: (path: string) => Promise<Buffer>,
): Promise<Record<string, string>> {
  const file = path === undefined ? {} : { file: { path, text: (await read(path)).toString() } };
  const texts = Object.entries(set).map(([key, value]) => `${key}=${value}`);
  const given = loadStaticConfig({ set: texts, environment: process.env, ...file });
  if (!given.ok) throw new UsageError(given.message ?? given.failure);
  return Object.fromEntries(Object.entries(suitedTo(nodes)).filter(([key]) => !given.value.texts.has(key)));
}

function memberArguments(
  given: {
    readonly data: string;
    readonly cluster: LocalCluster;
    readonly set: Readonly<Record<string, string>>;
    readonly config: string | undefined;
  },
  nodeId: number,
  port: number,
): readonly string[] {
  const own = settingsOfNode({ nodeId, port, controllerPorts: given.cluster.controllerPorts });
  const settings = { ...given.set, ...own };
  return [
    ...["start", "--member", String(nodeId), "--data", nodeDirectory(given.data, nodeId)],
    ...(given.config === undefined ? [] : ["--config", given.config]),
    ...Object.entries(settings).map(([key, value]) => `--set=${key}=${value}`),
  ];
}

interface MemberOptions {
  readonly nodeId: number;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly mayRestart: boolean;
  /** Of its process; `lastPort` is the one at which clients have found it. */
  arguments(lastPort: number | null): readonly string[];
  onReady(): void;
  /** It is not started again; `isRefused`: it never came up, and has said why. */
  onEnded(isRefused: boolean): void;
}

/** One node: its process, and the next one where that has ended without being told to. */
class Member {
  readonly #options: MemberOptions;
  #child: ChildProgram;
  #ready: MemberMessage | null = null;
  #readySinceMs: number | null = null;
  #pauseMs = restartMs.first;
  #next: Timer | null = null;
  #isStopping = false;
  #isEnded = false;

  constructor(options: MemberOptions) {
    this.#options = options;
    this.#child = this.#start();
  }

  get wasReady(): boolean {
    return this.#ready !== null;
  }
  get isEnded(): boolean {
    return this.#isEnded;
  }
  get address(): string {
    return this.#ready === null ? "" : `${this.#ready.host}:${this.#ready.port}`;
  }

  /** True where it has ended cleanly, or was not running. */
  async stop(message: StopMessage): Promise<boolean> {
    this.#isStopping = true;
    this.#next?.cancel();
    if (this.#isEnded || this.#next !== null) return true;
    this.#child.send(message);
    const { code, signal } = await this.#child.ended;
    // One that was not ready yet ends at once.
    return code === 0 || signal === "SIGTERM";
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  #start(): ChildProgram {
    this.#next = null;
    const { nodeId, clock } = this.#options;
    const child = startChildProgram(this.#options.arguments(this.#ready?.port ?? null), (message) => {
      if (!isMemberMessage(message)) return;
      this.#ready = message;
      this.#readySinceMs = clock.monotonicMs();
      process.stdout.write(`millrace ready on ${this.address} in ${message.readyMs} ms (node ${nodeId})\n`);
      this.#options.onReady();
    });
    this.#options.logger.info("node starting", { pid: child.pid });
    void child.ended.then((end) => this.#ended(end));
    return child;
  }

  #ended({ code, signal }: ProcessEnd): void {
    const { logger, clock, mayRestart, onEnded } = this.#options;
    if (this.#isStopping) {
      this.#isEnded = true;
      return;
    }
    const upMs = this.#readySinceMs === null ? 0 : clock.monotonicMs() - this.#readySinceMs;
    this.#readySinceMs = null;
    const isRefused = this.#ready === null && signal === null;
    const how = signal === null ? { code } : { signal };
    if (isRefused || !mayRestart) {
      logger.error(isRefused ? "the node does not start" : "the node has ended, and is not started again", how);
      this.#isEnded = true;
      return onEnded(isRefused);
    }
    if (upMs >= steadyMs || code === 0) this.#pauseMs = restartMs.first;
    const pauseMs = this.#pauseMs;
    this.#pauseMs = Math.min(pauseMs * 2, restartMs.most);
    logger.warn("the node has ended, and is started again", { ...how, pauseMs });
    this.#next = clock.schedule(pauseMs, () => void (this.#child = this.#start()), { isAwaited: true });
  }
}
