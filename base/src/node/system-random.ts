import type { Random } from "../world.ts";

export const systemRandom: Random = {
  // The module is loaded at the first use, since it brings 6 MB and 10 ms with it.
  bytes: (count) => process.getBuiltinModule("node:crypto").randomBytes(count),
  fraction: () => Math.random(),
};
