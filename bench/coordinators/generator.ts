import { installNodeAccelerators } from "kafka-protocol-ts/node";
import { runCommits, runHeartbeats, runRebalance } from "./groups.ts";
import type { CoordinatorPlan } from "./plan.ts";
import { runTransactions } from "./transactions.ts";

/** The coordinators' load generator, a process of its own: `node generator.ts '<plan as JSON>'`. */
installNodeAccelerators();
const plan = JSON.parse(process.argv[2] ?? "null") as CoordinatorPlan;
switch (plan.kind) {
  case "txn-throughput":
  case "txn-rate":
  case "txn-latency":
    await runTransactions(plan);
    break;
  case "rebalance":
    await runRebalance(plan);
    break;
  case "heartbeats":
    await runHeartbeats(plan);
    break;
  case "commits":
    await runCommits(plan);
    break;
}
