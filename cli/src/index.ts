export { startBroker } from "@millrace/broker/broker";
export type { Broker, BrokerOptions, StopOptions } from "@millrace/broker/broker";
export type { Fault, FaultHook, FaultRequest } from "@millrace/broker/faults/faults";
export { startCluster } from "./embedded/cluster.ts";
export type { ClusterBroker, ClusterFaultRequest, ClusterOptions, EmbeddedCluster } from "./embedded/cluster.ts";
