import { nodeWorld } from "@millrace/base/node/node-world";
import { DiskError } from "@millrace/base/world";
import type { Disk, DiskLock } from "@millrace/base/world";
import { fileNames } from "@millrace/storage/file-names";
import { verifyDirectory } from "@millrace/storage/verify";
import type { Problem, VerifiedLog } from "@millrace/storage/verify";
import { installNodeAccelerators } from "kafka-protocol-ts/node";
import { UsageError } from "../usage-error.ts";

/** What each kind of finding means to the person who reads it. */
const consequences: Readonly<Record<Problem["kind"], string>> = {
  tail: "left by a crash: the next start cuts it off",
  corrupt: "corrupt: the next start takes the partition offline and cuts nothing",
  repairable: "the next start makes it anew",
};

/** Reads a whole data directory and prints what it found; gives the exit code, 1 with findings. */
export async function verify(directory: string): Promise<number> {
  installNodeAccelerators();
  const { disk } = nodeWorld();
  const print = (line: string): void => void process.stdout.write(`${line}\n`);
  const found = await disk.stat(directory);
  if (found?.kind !== "directory") throw new UsageError(`verify: ${directory} is not a directory`);
  const claim = await keepBrokersAway(disk, directory);
  if (claim === "held") {
    print(`note: a broker works in ${directory}; what it is writing meanwhile may look damaged`);
  }
  const { logs, problems, unknown } = await verifyDirectory(disk, directory, (log) => print(logLine(log)));
  for (const name of unknown) print(`note: ${directory}/${name} is nobody's, and was not read`);
  for (const problem of problems) print(problemLine(problem));
  const bytes = logs.reduce((sum, log) => sum + log.bytes, 0);
  const batches = logs.reduce((sum, log) => sum + log.batches, 0);
  const outcome = problems.length === 0 ? "nothing is wrong" : counted(problems.length, "finding");
  print(`${directory}: ${counted(logs.length, "partition")}, ${counted(batches, "batch")}, ${bytes} bytes: ${outcome}`);
  if (typeof claim === "object") await claim.release();
  return problems.length === 0 ? 0 : 1;
}

/**
 * Holds the directory's lock, if it has one and we may: no broker starts in the middle. Nothing is made where there is
 * none, and a directory that may only be read is read.
 */
async function keepBrokersAway(disk: Disk, directory: string): Promise<DiskLock | "held" | "none"> {
  const path = `${directory}/${fileNames.lock}`;
  if ((await disk.stat(path)) === null) return "none";
  try {
    return (await disk.lock(path)) ?? "held";
  } catch (error) {
    if (error instanceof DiskError) return "none";
    throw error;
  }
}

function logLine({ topic, partition, segments, batches, bytes, firstOffset, endOffset }: VerifiedLog): string {
  const content = `${counted(segments, "segment")}, ${counted(batches, "batch")}, ${bytes} bytes`;
  return `${topic}-${partition}: offsets ${firstOffset} to ${endOffset}, ${content}`;
}

/** "data/orders-0/00000000000000000000.log, position 4096, offset 17: the batch fails its checksum (corrupt: ...)" */
function problemLine({ path, position, offset, message, kind }: Problem): string {
  const place = [
    path,
    ...(position === null ? [] : [`position ${position}`]),
    ...(offset === null ? [] : [`offset ${offset}`]),
  ];
  return `${place.join(", ")}: ${message} (${consequences[kind]})`;
}

function counted(count: number, what: "batch" | "finding" | "partition" | "segment"): string {
  const plural = what === "batch" ? "batches" : `${what}s`;
  return `${count} ${count === 1 ? what : plural}`;
}
