import type { Logger } from "@millrace/base/logger";
import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { Disk } from "@millrace/base/world";
import { DiskError } from "@millrace/base/world";
import type { NodeId } from "raft-ts-lite";
import { QuorumStore } from "../quorum/store.ts";
import type { StoredState } from "../quorum/store.ts";
import { readFormerLog, removeFormerLog } from "./former-log.ts";
import type { ReplayedImage } from "./image.ts";
import { UnknownMetadataRecord } from "./records.ts";
import { recordsOfSnapshot, snapshotFrames } from "./snapshot.ts";

export type OpenFailure = "corrupt" | "unknown-record" | "disk-failed";

export interface OpenedStore {
  readonly store: QuorumStore;
  readonly state: Omit<StoredState, "frames">;
}

/**
 * What the disk has of the metadata: its snapshot goes into the image, what is behind it comes by raft. A directory that is new, or
 * was written without a quorum, becomes that of a quorum with one voter.
 */
export async function openMetadataStore(options: {
  readonly disk: Disk;
  readonly directory: string;
  readonly logger: Logger;
  readonly own: NodeId;
  readonly image: ReplayedImage;
}): Promise<Result<OpenedStore, OpenFailure>> {
  const { disk, directory, logger, image } = options;
  const opened = await QuorumStore.open({ disk, directory, logger });
  if (!opened.ok) {
    const { failure, message } = opened;
    return failed(failure === "unknown-format" ? "unknown-record" : failure, message);
  }
  const { store, state } = opened.value;
  try {
    if (state !== null) {
      restore(image, state.frames);
      await removeFormerLog({ disk, directory });
      return ok({ store, state });
    }
    const former = await readFormerLog({ disk, directory, logger });
    if (!former.ok) {
      await store.close();
      return former;
    }
    const { snapshot, batches, offset } = former.value;
    if (snapshot !== null) image.restore(snapshot.records, snapshot.offset);
    for (const batch of batches) image.replay(batch);
    const hasRecords = offset >= 0;
    const point = { index: hasRecords ? 1 : 0, term: hasRecords ? 1 : 0, configuration: { voters: [options.own] } };
    await store.format(point, snapshotFrames(image));
    await removeFormerLog({ disk, directory });
    return ok({ store, state: store.state });
  } catch (error) {
    await store.close();
    if (error instanceof UnknownMetadataRecord) return failed("unknown-record", error.message);
    if (error instanceof DiskError) return failed("disk-failed", error.message);
    throw error;
  }
}

function restore(image: ReplayedImage, frames: readonly Buffer[]): void {
  if (frames.length === 0) return;
  const { records, offset } = recordsOfSnapshot(frames);
  if (offset >= 0) image.restore(records, offset);
}
