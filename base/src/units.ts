import type { Brand } from "./brand.ts";

/** Milliseconds since 1970, UTC: stamps records and decides retention by time; never measures a duration. */
export type TimeMs = Brand<number, "TimeMs">;

export const KiB = 1024;
export const MiB: number = 1024 * KiB;
export const GiB: number = 1024 * MiB;

export const seconds = (count: number): number => count * 1000;
export const minutes = (count: number): number => count * 60_000;
export const hours = (count: number): number => count * 3_600_000;
export const days = (count: number): number => count * 86_400_000;
