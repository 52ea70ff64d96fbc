/**
 * `npm run bench -- codec|records|log|broker|coordinators|partitions [options]`: measurements, never part of the tests. Each prints one line of
 * JSON a result; the broker's and the coordinators' (see broker.ts and coordinators/bench.ts for their options) end with a table.
 */
const benches: Readonly<Record<string, (args: readonly string[]) => Promise<void>>> = {
  codec: async () => await (await import("./codec.ts")).run(),
  records: async () => await (await import("./records.ts")).run(),
  log: async ([only]) => await (await import("./log.ts")).run(only),
  broker: async (args) => await (await import("./broker.ts")).run(args),
  coordinators: async (args) => await (await import("./coordinators/bench.ts")).run(args),
  partitions: async (args) => await (await import("./partitions.ts")).run(args),
};

const [name = "", ...args] = process.argv.slice(2);
const bench = benches[name];
if (bench === undefined) {
  console.error(`unknown bench ${name}: choose from ${Object.keys(benches).join(", ")}`);
  process.exitCode = 2;
} else {
  await bench(args);
}
