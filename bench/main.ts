/**
 * `npm run bench -- codec|records|log|broker|coordinators|partitions|client [options]`: measurements, never part of the tests. Each prints one line of
 * JSON a result; the broker's, the coordinators' and the client's (see broker.ts, coordinators/bench.ts
 * and client/bench.ts for their options) end with a table. `failover|controlled|rolling|create|replicated` are of clusters of three
 * nodes (cluster/bench.ts).
 */
const clusterBenches = ["failover", "controlled", "rolling", "create", "replicated"] as const;

const benches: Readonly<Record<string, (args: readonly string[]) => Promise<void>>> = {
  codec: async () => await (await import("./codec.ts")).run(),
  records: async () => await (await import("./records.ts")).run(),
  log: async ([only]) => await (await import("./log.ts")).run(only),
  broker: async (args) => await (await import("./broker.ts")).run(args),
  coordinators: async (args) => await (await import("./coordinators/bench.ts")).run(args),
  client: async (args) => await (await import("./client/bench.ts")).run(args),
  ...Object.fromEntries(
    clusterBenches.map((name) => [
      name,
      async (args: readonly string[]) => await (await import("./cluster/bench.ts")).run(name, args),
    ]),
  ),
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
