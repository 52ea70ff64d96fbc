import type { Logger } from "@millrace/base/logger";
import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { World } from "@millrace/base/world";
import { fileNames } from "@millrace/storage/file-names";
import { decodeMetaProperties, randomUuid } from "@millrace/storage/meta-properties";
import { BrokerConfigs } from "../config/broker-configs.ts";
import { loadStaticConfig } from "../config/static-config.ts";
import type { ConfigSources } from "../config/static-config.ts";
import { raftIdOf } from "../quorum/node-ids.ts";
import type { QuorumMember } from "../quorum/node-ids.ts";
import { openLogDirectories } from "./data.ts";
import { formatStore, readForming, writeForming } from "./identity.ts";
import { nodePlan } from "./plan.ts";
import type { NodePlan } from "./plan.ts";
import { logDirectories } from "./settings.ts";
import { orRefuse, StartError } from "./start-error.ts";

/**
 * - standalone: this node is the only controller of a new cluster
 * - members: the first controllers of a new cluster; each of them is formatted with the same
 * - join: the cluster is there; its controllers are asked for the rest at the first start
 */
export type InitialControllers =
  | { readonly kind: "standalone" }
  | { readonly kind: "members"; readonly members: readonly QuorumMember[] }
  | { readonly kind: "join" };

export interface FormatOptions {
  readonly world: World;
  readonly logger: Logger;
  readonly settings: ConfigSources;
  readonly clusterId: string;
  readonly controllers: InitialControllers;
  /** A directory that is formatted is left as it is. */
  readonly ignoresFormatted: boolean;
}

export interface Formatted {
  readonly path: string;
  readonly nodeId: number;
  readonly directoryId: string;
  readonly clusterId: string;
  /** It was there. */
  readonly isOld: boolean;
}

const defaultNodeId = 1;
const uuid = /^[A-Za-z0-9_][A-Za-z0-9_-]{21}$/;

/**
 * Makes a node's directories as its first start would have made them, with a cluster id, directory ids and voters that are given.
 *
 * @throws StartError
 */
export async function formatNode(options: FormatOptions): Promise<Formatted> {
  const { world, logger, clusterId, controllers } = options;
  if (!uuid.test(clusterId)) throw new StartError(`cluster id "${clusterId}" is not 22 characters of base64url`);
  const { texts } = orRefuse(loadStaticConfig(options.settings));
  const nodeId = Number(texts.get("node.id") ?? defaultNodeId);
  const configs = new BrokerConfigs({ nodeId, texts, overrides: { configVersion: 0, configsOf: () => new Map() } });
  const plan = orRefuse(nodePlan(nodeId, configs.broker));
  const paths = logDirectories(configs.broker);
  const [path = ""] = paths;
  const directory = `${path}/${fileNames.metadataDirectory}`;
  const former = await formerOf(options, paths);
  if (former !== null) {
    const { path: where, clusterId: of } = former;
    if (options.ignoresFormatted && of === clusterId) return { ...former, nodeId, isOld: true };
    throw new StartError(`${where} is formatted already, for cluster ${of}`);
  }
  const voters = votersOf(controllers, plan);
  const own = voters.find((voter) => voter.nodeId === nodeId);
  const directoryId =
    own?.directoryId ?? (await readForming(world.disk, directory))?.directoryId ?? randomUuid(world.random);
  const formatted = { path, nodeId, directoryId, clusterId, isOld: false };
  if (controllers.kind === "join") {
    await writeForming(world.disk, directory, { directoryId, clusterId });
    return formatted;
  }
  const members = controllers.kind === "standalone" ? [{ nodeId, directoryId }] : voters;
  await formatStore({ disk: world.disk, directory, logger, voters: members.map(raftIdOf) });
  await using undo = new AsyncDisposableStack();
  const identity = { clusterId, directoryId };
  const failure: { error: unknown } = { error: null };
  const fatal = (error: unknown): void => void (failure.error = error);
  const given = { world, logger, nodeId, identity, configs: () => configs, fatal, onOffline: () => undefined };
  await openLogDirectories(given, undo);
  return formatted;
}

/** The first directory that belongs to a cluster, or is to. */
async function formerOf(
  { world: { disk } }: FormatOptions,
  paths: readonly string[],
): Promise<Pick<Formatted, "path" | "clusterId" | "directoryId"> | null> {
  for (const path of paths) {
    const metaPath = `${path}/${fileNames.metaProperties}`;
    if ((await disk.stat(metaPath)) !== null) {
      const decoded = decodeMetaProperties((await disk.readFile(metaPath)).toString());
      if (!decoded.ok) throw new StartError(`${path}: ${decoded.message ?? decoded.failure}`);
      const { clusterId, directoryId } = decoded.value;
      return { path, clusterId, directoryId };
    }
    const forming = await readForming(disk, `${path}/${fileNames.metadataDirectory}`);
    if (forming !== null && forming.clusterId !== null) {
      return { path, clusterId: forming.clusterId, directoryId: forming.directoryId };
    }
  }
  return null;
}

function votersOf(controllers: InitialControllers, plan: NodePlan): readonly QuorumMember[] {
  const { nodeId, isController, isClustered } = plan;
  if (controllers.kind === "join") {
    if (plan.controllers.size > 0) return [];
    throw new StartError("controller.quorum.voters has to say where the controllers of the cluster are");
  }
  if (!isController || !isClustered) {
    throw new StartError(
      "a controller of a cluster needs a listener for it: one of controller.listener.names in listeners",
    );
  }
  if (controllers.kind === "standalone") return [];
  const { members } = controllers;
  if (members.some((member) => member.nodeId === nodeId)) return members;
  throw new StartError(`node ${nodeId} is not among the initial controllers; more nodes take no-initial-controllers`);
}

/** `1@host:port:directory-id,2@...`. The addresses are those of `controller.quorum.voters`, which nodes find each other by. */
export function parseInitialControllers(text: string): Result<readonly QuorumMember[], "malformed"> {
  const members: QuorumMember[] = [];
  for (const each of text.split(",")) {
    const match = /^(\d{1,10})@(?:\[[^\]]+\]|[^:]+):\d{1,5}:([A-Za-z0-9_-]{22})$/.exec(each.trim());
    const [, id = "", directoryId = ""] = match ?? [];
    if (match === null) return failed("malformed", `"${each}" is not ID@HOST:PORT:DIRECTORY-ID`);
    const isTwice = members.some((member) => member.nodeId === Number(id) || member.directoryId === directoryId);
    if (isTwice) return failed("malformed", `"${each}" has the id of another`);
    members.push({ nodeId: Number(id), directoryId });
  }
  return ok(members);
}
