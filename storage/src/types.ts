import type { Brand } from "@millrace/base/brand";

/** Which record of a partition. */
export type Offset = Brand<number, "Offset">;
/** Which leadership of a partition: grows with each new leader (KIP-101). */
export type LeaderEpoch = Brand<number, "LeaderEpoch">;
/** Which byte of a file. */
export type FilePosition = Brand<number, "FilePosition">;

/** Milliseconds as a batch has them: a bigint only beyond ±2^53, where a number is not exact. `<` and `>` compare both kinds. */
export type ExactTimestamp = number | bigint;

/** Base64url without padding, 22 characters. */
export type Uuid = string;

export const NO_TIMESTAMP = -1;
export const NO_LEADER_EPOCH: LeaderEpoch = -1 as LeaderEpoch;
