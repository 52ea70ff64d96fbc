export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const [low = 0, high = 0] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  return (low + high) / 2;
}

/** Four digits are more than a bench knows. */
export function rounded(value: number): number {
  return Number(value.toPrecision(4));
}

export function verdict(isMet: boolean, bar: string): string {
  return `${bar} ${isMet ? "met" : "MISSED"}`;
}

/** The median of the rounds' ratios; null where one side was not measured. */
export function ratioOf<Sample>(
  ours: readonly Sample[] | undefined,
  theirs: readonly Sample[] | undefined,
  of: (sample: Sample) => number,
): number | null {
  if (ours === undefined || theirs === undefined) return null;
  return median(ours.map((sample, round) => of(sample) / of(theirs[round] ?? sample)));
}
