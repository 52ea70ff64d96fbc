import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import { makeDirectoryDurably, replaceFile } from "@millrace/base/replace-file";
import type { Disk, DiskLock, Random } from "@millrace/base/world";
import { fileNames } from "./file-names.ts";
import { decodeFormat, encodeFormat, FORMAT_VERSION } from "./format-version.ts";
import type { Format } from "./format-version.ts";
import { decodeMetaProperties, encodeMetaProperties, randomUuid } from "./meta-properties.ts";
import type { MetaProperties } from "./meta-properties.ts";
import type { Uuid } from "./types.ts";

/**
 * Why a directory is not taken. Nothing in it was changed.
 * - locked: another process works in it
 * - other-cluster, other-node: it belongs to someone else
 * - newer-format: a newer broker has written it
 * - foreign: Apache Kafka's, or something that is not a log directory
 * - broken-journal: what it had made durable cannot be read back whole
 * - unreadable: a file that says how to read the rest cannot be read
 */
export type DirectoryRefusal =
  | "locked"
  | "other-cluster"
  | "other-node"
  | "newer-format"
  | "foreign"
  | "broken-journal"
  | "unreadable";

export interface Claim {
  readonly meta: MetaProperties;
  readonly lock: DiskLock;
  /** The last stop was clean: no log needs a recovery. */
  readonly isClean: boolean;
  /** The largest bound under which anything in the directory may have been written. */
  readonly unsyncedBytesMax: number;
}

export interface ClaimOptions {
  readonly disk: Disk;
  readonly random: Random;
  readonly path: string;
  /** Null takes the id that is there, or makes one. */
  readonly clusterId: string | null;
  /** Of a directory that is new. Absent, it makes one. */
  readonly directoryId?: Uuid | null;
  readonly nodeId: number;
  readonly unsyncedBytesMax: number;
}

/** Locks a directory, and makes sure that it is ours and that we can read it; sets up an empty one. */
export async function claimDirectory(options: ClaimOptions): Promise<Result<Claim, DirectoryRefusal>> {
  const { disk, path } = options;
  await makeDirectoryDurably(disk, path);
  const lock = await disk.lock(`${path}/${fileNames.lock}`);
  if (lock === null) return failed("locked", `the data directory ${path} is locked by another process`);
  let isClaimed = false;
  try {
    const claimed = await claimLocked(options, lock);
    isClaimed = claimed.ok;
    return claimed;
  } finally {
    if (!isClaimed) await lock.release();
  }
}

async function claimLocked(options: ClaimOptions, lock: DiskLock): Promise<Result<Claim, DirectoryRefusal>> {
  const { disk, path, unsyncedBytesMax } = options;
  const names = new Set((await disk.list(path)).map(({ name }) => name));
  const format = await readFormat(options, names);
  if (!format.ok) return format;
  const meta = await readMeta(options, names);
  if (!meta.ok) return meta;

  const before = format.value;
  const bound = Math.max(unsyncedBytesMax, before?.unsyncedBytesMax ?? 0);
  // First of all: a version that cannot read what comes must not find it under a number that it knows.
  if (before === null || before.version < FORMAT_VERSION || bound > before.unsyncedBytesMax) {
    const text = encodeFormat({ version: FORMAT_VERSION, unsyncedBytesMax: bound });
    await replaceFile(disk, `${path}/${fileNames.format}`, Buffer.from(text));
  }
  if (!names.has(fileNames.metaProperties)) {
    await replaceFile(disk, `${path}/${fileNames.metaProperties}`, Buffer.from(encodeMetaProperties(meta.value)));
  }
  const isClean = names.has(fileNames.cleanShutdown);
  return ok({ meta: meta.value, lock, isClean, unsyncedBytesMax: bound });
}

/** Null for a directory that is new. */
async function readFormat(
  { disk, path }: ClaimOptions,
  names: ReadonlySet<string>,
): Promise<Result<Format | null, DirectoryRefusal>> {
  if (!names.has(fileNames.format)) {
    if (!names.has(fileNames.metaProperties)) return ok(null);
    return failed(
      "foreign",
      `${path} has a ${fileNames.metaProperties} but no ${fileNames.format}: it is another broker's, or an import that did not end`,
    );
  }
  const decoded = decodeFormat((await disk.readFile(`${path}/${fileNames.format}`)).toString());
  if (!decoded.ok) return failed("unreadable", `${path}: ${decoded.message ?? decoded.failure}`);
  const { version } = decoded.value;
  if (version <= FORMAT_VERSION) return ok(decoded.value);
  return failed(
    "newer-format",
    `${path} has format version ${version}; this broker reads up to ${FORMAT_VERSION}: use a newer one`,
  );
}

async function readMeta(
  options: ClaimOptions,
  names: ReadonlySet<string>,
): Promise<Result<MetaProperties, DirectoryRefusal>> {
  const { disk, path, random, clusterId, directoryId = null, nodeId } = options;
  if (!names.has(fileNames.metaProperties)) {
    return ok({ clusterId: clusterId ?? randomUuid(random), nodeId, directoryId: directoryId ?? randomUuid(random) });
  }
  const decoded = decodeMetaProperties((await disk.readFile(`${path}/${fileNames.metaProperties}`)).toString());
  if (!decoded.ok) return failed("unreadable", `${path}: ${decoded.message ?? decoded.failure}`);
  const meta = decoded.value;
  if (clusterId !== null && meta.clusterId !== clusterId) {
    return failed("other-cluster", `${path} belongs to cluster ${meta.clusterId}, not to ${clusterId}`);
  }
  if (meta.nodeId !== nodeId) return failed("other-node", `${path} belongs to node ${meta.nodeId}, not to ${nodeId}`);
  return ok(meta);
}
