import type { CampaignReport, CrashFailure } from "./campaign.ts";

export function reportLine(seed: number, { points, secondCrashes, events, marks, failures }: CampaignReport): string {
  const told = Object.entries(marks).map(([kind, count]) => `${kind} ${count}`);
  const crashes = `${points} crashes, ${secondCrashes} of them twice, in ${events} disk events`;
  return `seed ${seed}: ${crashes} (${told.join(", ")}): ${failures.length} failed`;
}

export function failureText({ position, secondPosition, violations }: CrashFailure): string {
  const where = secondPosition === null ? `${position}` : `${position} and ${secondPosition} of the recovery`;
  const some = violations.slice(0, 10).map(({ kind, what }) => `  ${kind}: ${what}`);
  const more = violations.length > some.length ? [`  and ${violations.length - some.length} more`] : [];
  return [`crash at event ${where}`, ...some, ...more].join("\n");
}

/** How to have the same crashes again. */
export function replayCommand(seed: number, points: number): string {
  return `npm run simulate -- --seed ${seed} --points ${points}`;
}
