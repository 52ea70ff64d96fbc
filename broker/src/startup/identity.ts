import type { Logger } from "@millrace/base/logger";
import { makeDirectoryDurably, replaceFile } from "@millrace/base/replace-file";
import type { Address, Clock, Disk, Random } from "@millrace/base/world";
import { fileNames } from "@millrace/storage/file-names";
import { decodeMetaProperties, randomUuid } from "@millrace/storage/meta-properties";
import type { Uuid } from "@millrace/storage/types";
import type { NodeId } from "raft-ts-lite";
import { form } from "../quorum/formation.ts";
import type { FormationAnswer } from "../quorum/formation.ts";
import { QuorumStore } from "../quorum/store.ts";

/** Of a node of a cluster: which cluster, and which disk. */
export interface Identity {
  readonly clusterId: string;
  readonly directoryId: Uuid;
}

/** The disk says what cannot be true. */
export class IdentityRefused extends Error {
  override readonly name = "IdentityRefused";
}

/**
 * Under `metadata/` until a node's first start is over: the directory id that it has told the others, and below it the id of the
 * cluster that it has to join, where one was given.
 */
const formingFile = "forming";

/**
 * Who this node is: what its disk says, or what comes of its first start. The store of the quorum is there before
 * `meta.properties` is: a directory with the second and without the first has lost what it voted for, and does not take part.
 */
export async function identify(options: {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** The first log directory. */
  readonly path: string;
  readonly nodeId: number;
  readonly controllers: ReadonlyMap<number, Address>;
  /** Tells it, from then on, to the others that ask. */
  onKnown(answer: FormationAnswer): void;
  ask(own: FormationAnswer, nodeId: number, address: Address): Promise<FormationAnswer | null>;
}): Promise<Identity> {
  const { disk, path, nodeId, clock, logger, controllers } = options;
  const directory = `${path}/${fileNames.metadataDirectory}`;
  const metaPath = `${path}/${fileNames.metaProperties}`;
  if ((await disk.stat(metaPath)) !== null) {
    const decoded = decodeMetaProperties((await disk.readFile(metaPath)).toString());
    if (!decoded.ok) throw new IdentityRefused(`${path}: ${decoded.message ?? decoded.failure}`);
    if ((await disk.stat(directory)) === null) {
      throw new IdentityRefused(
        `${path} has no ${fileNames.metadataDirectory}/ any more: what this node has voted for is lost. Start it with an empty directory, and add it as a controller`,
      );
    }
    const { clusterId, directoryId } = decoded.value;
    return { clusterId, directoryId };
  }
  const { directoryId, clusterId: wanted } = await ownDirectoryId(options, directory);
  const own: FormationAnswer = { nodeId, directoryId, clusterId: null, voters: [] };
  options.onKnown(own);
  const founder: ReadonlyMap<number, Address> =
    controllers.size > 0 ? controllers : new Map([[nodeId, { host: "", port: 0 }]]);
  const formed = await form({
    nodeId,
    directoryId,
    controllers: founder,
    ask: (id, address) => options.ask(own, id, address),
    clock,
    logger,
    mayFound: wanted === null,
  });
  if (wanted !== null && formed.clusterId !== wanted) {
    throw new IdentityRefused(`${path} is to join cluster ${wanted}; the controllers are those of ${formed.clusterId}`);
  }
  await formatStore({ disk, directory, logger, voters: formed.voters });
  options.onKnown({ ...own, ...formed });
  return { clusterId: formed.clusterId, directoryId };
}

/** What a node knows of itself before its first start. */
interface Forming {
  readonly directoryId: Uuid;
  /** Null: whichever cluster the controllers are of, or a new one. */
  readonly clusterId: string | null;
}

async function ownDirectoryId(
  { disk, random }: { readonly disk: Disk; readonly random: Random },
  directory: string,
): Promise<Forming> {
  const found = await readForming(disk, directory);
  if (found !== null) return found;
  const forming = { directoryId: randomUuid(random), clusterId: null };
  await writeForming(disk, directory, forming);
  return forming;
}

/** Null: no start was begun. */
export async function readForming(disk: Disk, directory: string): Promise<Forming | null> {
  const path = `${directory}/${formingFile}`;
  if ((await disk.stat(path)) === null) return null;
  const [directoryId = "", clusterId = ""] = (await disk.readFile(path)).toString().split("\n");
  return { directoryId, clusterId: clusterId === "" ? null : clusterId };
}

export async function writeForming(disk: Disk, directory: string, { directoryId, clusterId }: Forming): Promise<void> {
  await makeDirectoryDurably(disk, directory);
  const lines = clusterId === null ? [directoryId] : [directoryId, clusterId];
  await replaceFile(disk, `${directory}/${formingFile}`, Buffer.from(`${lines.join("\n")}\n`));
}

/** The first snapshot of the quorum's store, where there is none. */
export async function formatStore(options: {
  readonly disk: Disk;
  readonly directory: string;
  readonly logger: Logger;
  readonly voters: readonly NodeId[];
}): Promise<void> {
  const { disk, directory, logger, voters } = options;
  const opened = await QuorumStore.open({ disk, directory, logger });
  if (!opened.ok) throw new IdentityRefused(opened.message ?? opened.failure);
  const { store, state } = opened.value;
  if (state === null) await store.format({ index: 0, term: 0, configuration: { voters } }, []);
  await store.close();
}
