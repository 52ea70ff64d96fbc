/** A new seed for each run, or that of `MILLRACE_SEED`; printed, so that a run can be had again. */
export function seedOf(what: string): number {
  const seed = Number(process.env["MILLRACE_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
  console.log(`${what}: seed ${seed} (MILLRACE_SEED=${seed} npm test -- --project journeys)`);
  return seed;
}
