import { makeDirectoryDurably, replaceFile } from "@millrace/base/replace-file";
import { NetworkError } from "@millrace/base/world";
import type { Disk, Network, Random } from "@millrace/base/world";
import { fileNames } from "@millrace/storage/file-names";
import { formatProperties, parseProperties } from "@millrace/storage/properties";
import { keyValues } from "../arguments.ts";
import { controllersOf, nodesMax } from "../cluster-size.ts";
import type { StartOptions } from "../start-options.ts";
import { UsageError } from "../usage-error.ts";

export const portMax = 65_535;

/** In the directory of a cluster that `--nodes` has started: how many nodes, and where the controllers among them listen. */
const clusterFile = "millrace.cluster";

/** The nodes that `--nodes` runs on this machine. */
export interface LocalCluster {
  readonly nodes: number;
  /** By node id, the port of a controller. They stay as they were at the first start: nodes find each other by them. */
  readonly controllerPorts: ReadonlyMap<number, number>;
}

/** Where the data lies unless a file or the environment says something else. */
export function dataOf({ data, config, set }: StartOptions): string | null {
  if (data !== undefined) return data;
  const given = keyValues("--set", set);
  const isSaid = config !== undefined || "log.dirs" in given || "log.dir" in given;
  const isInEnvironment = "MILLRACE_LOG_DIRS" in process.env || "MILLRACE_LOG_DIR" in process.env;
  return isSaid || isInEnvironment ? null : "./data";
}

/** @throws UsageError where the directory is that of a cluster: a single node would begin an empty one of its own there. */
export async function refuseClusterDirectory(disk: Disk, data: string | null): Promise<void> {
  // What cannot be looked at the start itself refuses, by its own words.
  const found = data === null ? null : await disk.stat(data).catch(() => null);
  const cluster = data === null || found?.kind !== "directory" ? null : await readCluster(disk, data);
  if (cluster === null) return;
  throw new UsageError(`${data} holds a cluster of ${counted(cluster.nodes)}: start it with --nodes ${cluster.nodes}`);
}

export function nodeDirectory(data: string, nodeId: number): string {
  return `${data}/node-${nodeId}`;
}

/**
 * The cluster of a directory, which begins here where there is none. It may grow: nodes beyond the first are brokers.
 *
 * @throws UsageError where the directory belongs to a single node, or had more nodes.
 */
export async function openCluster(
  { disk, network, random }: { readonly disk: Disk; readonly network: Network; readonly random: Random },
  { data, nodes, port }: { readonly data: string; readonly nodes: number; readonly port: number },
): Promise<LocalCluster> {
  const found = await readCluster(disk, data);
  if (found === null && (await disk.stat(`${data}/${fileNames.metaProperties}`)) !== null) {
    throw new UsageError(`${data} belongs to a single node: start it without --nodes, or give a directory of its own`);
  }
  if (found !== null && nodes < found.nodes) {
    throw new UsageError(
      `${data} holds a cluster of ${counted(found.nodes)}: with --nodes ${nodes} replicas would be left behind`,
    );
  }
  if (found?.nodes === nodes) return found;
  const controllerPorts = found?.controllerPorts ?? (await choosePorts({ network, random }, { nodes, port }));
  const cluster = { nodes, controllerPorts };
  await makeDirectoryDurably(disk, data);
  await replaceFile(disk, `${data}/${clusterFile}`, Buffer.from(encode(cluster)));
  return cluster;
}

// --- Ports ------------------------------------------------------------------------------------------------------------

const portsBelow = 32_768;
const portsFrom = 20_000;
const distance = 10_000;

/**
 * Free ports, from 10000 above the clients' on: 19092 for 9092. Where that is among the ports that systems give to outgoing
 * connections, one of which may take it while a node is down, they begin at another place.
 */
async function choosePorts(
  { network, random }: { readonly network: Network; readonly random: Random },
  { nodes, port }: { readonly nodes: number; readonly port: number },
): Promise<ReadonlyMap<number, number>> {
  const room = portsBelow - portsFrom;
  const isBelow = port > 0 && port + distance + nodesMax < portsBelow;
  let candidate = isBelow ? port + distance : portsFrom + Math.floor(random.fraction() * room);
  const ports = new Map<number, number>();
  for (let tried = 0; ports.size < controllersOf(nodes) && tried < room; tried++) {
    if (await isFree(network, candidate)) ports.set(ports.size + 1, candidate);
    candidate = candidate + 1 < portsBelow ? candidate + 1 : portsFrom;
  }
  if (ports.size < controllersOf(nodes)) throw new UsageError(`no port for controllers is free below ${portsBelow}`);
  return ports;
}

async function isFree(network: Network, port: number): Promise<boolean> {
  try {
    const listener = await network.listen({ host: "127.0.0.1", port }, (connection) => connection.destroy());
    await listener.close();
    return true;
  } catch (error) {
    if (error instanceof NetworkError) return false;
    throw error;
  }
}

// --- The file ---------------------------------------------------------------------------------------------------------

async function readCluster(disk: Disk, data: string): Promise<LocalCluster | null> {
  const path = `${data}/${clusterFile}`;
  if ((await disk.stat(path)) === null) return null;
  const properties = parseProperties((await disk.readFile(path)).toString());
  const nodes = Number(properties.get("nodes"));
  const ports = (properties.get("controller.ports") ?? "").split(",").map(Number);
  const isWhole = nodes >= 1 && nodes <= nodesMax && ports.every((port) => port >= 1 && port <= portMax);
  if (!isWhole || properties.get("version") !== "1") {
    throw new UsageError(
      `${path} is not what --nodes has written: it has to say version=1, nodes and controller.ports`,
    );
  }
  return { nodes, controllerPorts: new Map(ports.map((port, index) => [index + 1, port])) };
}

function encode({ nodes, controllerPorts }: LocalCluster): string {
  return formatProperties({ version: 1, nodes, "controller.ports": [...controllerPorts.values()].join(",") });
}

function counted(nodes: number): string {
  return nodes === 1 ? "1 node" : `${nodes} nodes`;
}
