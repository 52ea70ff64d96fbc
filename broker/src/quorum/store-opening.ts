import type { Disk } from "@millrace/base/world";
import {
  CorruptStore,
  partName,
  readLog,
  readLogHead,
  readSnapshot,
  sequenceOf,
  snapshotName,
  temporarySuffix,
} from "./store-format.ts";
import type { ReadLog, ReadSnapshot } from "./store-format.ts";
import { markerName } from "./store-recovery.ts";

/** What lies in a store's directory. */
export interface FoundStore {
  /** Null: nothing is there yet, or a crash kept the first snapshot from being there. */
  readonly current: FoundState | null;
  /** What a crash kept from being removed, or from being completed. */
  readonly leftovers: readonly string[];
  readonly nextSequence: number;
}

export interface FoundState {
  readonly snapshot: ReadSnapshot;
  readonly log: ReadLog;
  readonly logPath: string;
  readonly logBytes: number;
}

interface LogName {
  readonly name: string;
  readonly sequence: number;
}

/**
 * Reads what is there, and changes nothing.
 *
 * The log that counts is the newest one that begins behind the snapshot: one that begins elsewhere was made for a snapshot
 * that did not come, or stands before one that did.
 * @throws CorruptStore, UnknownStoreFormat, DiskError
 */
export async function readStore(disk: Disk, directory: string): Promise<FoundStore> {
  const names = (await disk.list(directory)).filter(({ kind }) => kind === "file").map(({ name }) => name);
  const logs = names
    .flatMap((name): LogName[] => {
      const sequence = sequenceOf(name);
      return sequence === null ? [] : [{ name, sequence }];
    })
    .sort((a, b) => b.sequence - a.sequence);
  const current = await readCurrent(disk, directory, { names, logs });
  const nextSequence = current === null ? 0 : (logs[0]?.sequence ?? 0) + 1;
  const leftovers = names
    .filter((name) => isOurs(name) && name !== snapshotName)
    .map((name) => `${directory}/${name}`)
    .filter((path) => path !== current?.logPath);
  return { current, leftovers, nextSequence };
}

async function readCurrent(
  disk: Disk,
  directory: string,
  { names, logs }: { readonly names: readonly string[]; readonly logs: readonly LogName[] },
): Promise<FoundState | null> {
  const snapshotPath = `${directory}/${snapshotName}`;
  const snapshot = names.includes(snapshotName) ? readSnapshot(snapshotPath, await disk.readFile(snapshotPath)) : null;
  for (const { name, sequence } of logs) {
    const logPath = `${directory}/${name}`;
    const bytes = await disk.readFile(logPath);
    const { start } = readLogHead(logPath, bytes);
    if (snapshot !== null && start.index === snapshot.point.index && start.term === snapshot.point.term) {
      return { snapshot, log: readLog(logPath, bytes), logPath, logBytes: bytes.length };
    }
    // Nothing is written to a log before its snapshot is there, and the first snapshot comes with the first log.
    const isUsed = readLog(logPath, bytes).beginBytes < bytes.length || (snapshot === null && sequence > 0);
    if (isUsed) {
      const found = snapshot === null ? "is missing" : `ends at entry ${snapshot.point.index}`;
      const wanted = `${logPath} begins behind entry ${start.index} of term ${start.term}`;
      throw new CorruptStore(`${snapshotPath} ${found}, and ${wanted}; nothing was changed`);
    }
  }
  if (snapshot === null) return null;
  const { index, term } = snapshot.point;
  const missing = `no log begins behind entry ${index} of term ${term}, where ${snapshotPath} ends`;
  throw new CorruptStore(`${missing}; nothing was changed`);
}

function isOurs(name: string): boolean {
  const base = name.endsWith(temporarySuffix) ? name.slice(0, -temporarySuffix.length) : name;
  return (
    base === snapshotName || name === partName || name === markerName + temporarySuffix || sequenceOf(base) !== null
  );
}
