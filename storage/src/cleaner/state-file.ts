import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import { partitionKey } from "../checkpoints.ts";
import type { CleanerState } from "./cleanable.ts";

const VERSION = "0";

/** What `millrace.cleaner` keeps of a log beside Kafka's `cleaner-offset-checkpoint`. */
export type KeptState = Pick<CleanerState, "doneRequest" | "nextHorizonMs">;

/** Version, count, then a line "topic partition doneRequest nextHorizonMs" each, with −1 for no horizon. */
export function encodeCleanerStates(
  states: readonly ({ readonly topic: string; readonly partition: number } & KeptState)[],
): string {
  const lines = states.map(
    ({ topic, partition, doneRequest, nextHorizonMs }) => `${topic} ${partition} ${doneRequest} ${nextHorizonMs ?? -1}`,
  );
  return [VERSION, lines.length, ...lines, ""].join("\n");
}

/** By `topic-partition`. */
export function decodeCleanerStates(text: string): Result<ReadonlyMap<string, KeptState>, "bad-checkpoint"> {
  const [version, count, ...lines] = text.trimEnd().split("\n");
  if (version !== VERSION) return failed("bad-checkpoint", `state of the cleaner of version "${version ?? ""}"`);
  if (Number(count) !== lines.length)
    return failed("bad-checkpoint", `it says ${count ?? ""} lines and has ${lines.length}`);
  const states = new Map<string, KeptState>();
  for (const line of lines) {
    const found = /^(\S+) (\d+) (\d+) (-1|\d+)$/.exec(line);
    const doneRequest = Number(found?.[3]);
    const horizon = Number(found?.[4]);
    if (found === null || !Number.isSafeInteger(doneRequest) || !Number.isSafeInteger(horizon))
      return failed("bad-checkpoint", `line "${line}"`);
    const nextHorizonMs = horizon < 0 ? null : horizon;
    states.set(partitionKey(found[1] ?? "", Number(found[2])), { doneRequest, nextHorizonMs });
  }
  return ok(states);
}
