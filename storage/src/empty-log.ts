import { LeaderEpochs } from "./leader-epochs.ts";
import type { LogState } from "./log-writer.ts";
import { ProducerStates } from "./producer-state.ts";
import { Segment } from "./segment.ts";
import { Segments } from "./segments.ts";
import type { Offset } from "./types.ts";

/** Of a log that was just created, or of one that cannot be read: then with the offsets that are known of it. */
export function emptyLog(
  directory: string,
  { recoveryPoint, logStartOffset }: { readonly recoveryPoint: Offset; readonly logStartOffset: Offset } = {
    recoveryPoint: 0 as Offset,
    logStartOffset: 0 as Offset,
  },
): { readonly state: LogState; readonly logStartOffset: Offset } {
  const segments = new Segments();
  segments.add(new Segment(directory, 0 as Offset, { sizeBytes: 0, isNew: false }));
  segments.active.aborted = [];
  const endOffset = 0 as Offset;
  return {
    state: {
      directory,
      segments,
      producers: new ProducerStates(),
      epochs: new LeaderEpochs(),
      endOffset,
      recoveryPoint,
      snapshotOffset: null,
      rollTimestamp: null,
      uncheckedBytes: 0,
    },
    logStartOffset,
  };
}
