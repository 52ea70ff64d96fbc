import { must } from "@millrace/base/assert";
import type { ReplayedImage } from "./image.ts";
import { decodeBatch, encodeBatch } from "./records.ts";
import type { MetadataRecord } from "./records.ts";

const recordsPerFrame = 1000;

/** The image as frames of a snapshot file. The first one says up to which record it goes. */
export function snapshotFrames(image: ReplayedImage): readonly Buffer[] {
  const records = [...image.records()];
  const frames = [encodeBatch({ offset: image.offset, timeMs: records.length, records: [] })];
  for (let from = 0; from < records.length; from += recordsPerFrame) {
    frames.push(encodeBatch({ offset: from, timeMs: 0, records: records.slice(from, from + recordsPerFrame) }));
  }
  return frames;
}

/** @throws UnknownMetadataRecord */
export function recordsOfSnapshot(frames: readonly Buffer[]): {
  readonly offset: number;
  readonly records: readonly MetadataRecord[];
} {
  const { offset } = decodeBatch(must(frames[0], "the first frame of a snapshot"));
  const records: MetadataRecord[] = [];
  for (const frame of frames.slice(1)) records.push(...decodeBatch(frame).records);
  return { offset, records };
}
