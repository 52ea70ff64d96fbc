/** A feature level that clients and brokers agree on (KIP-584), as this version of the broker can serve it. */
export interface SupportedFeature {
  readonly name: string;
  readonly minVersion: number;
  readonly maxVersion: number;
}

/**
 * A feature stands here once it is built, and is finalised at the next start; what is missing counts as level 0.
 * metadata.version 30 is Apache Kafka's 4.3-IV0; group.version 1 means groups of the consumer protocol (KIP-848).
 */
export const supportedFeatures: readonly SupportedFeature[] = [
  { name: "metadata.version", minVersion: 30, maxVersion: 30 },
  { name: "group.version", minVersion: 0, maxVersion: 1 },
  { name: "transaction.version", minVersion: 0, maxVersion: 2 },
];

/**
 * Eligible leader replicas (KIP-966), and voters that come and go while the quorum runs (KIP-853). They are finalised when nodes
 * found a cluster; elsewhere by UpdateFeatures: a directory that was written without them keeps what its settings mean, and a node
 * by itself has nobody who could be eligible or come.
 */
export const clusterFeatures: readonly SupportedFeature[] = [
  { name: "eligible.leader.replicas.version", minVersion: 0, maxVersion: 1 },
  { name: "kraft.version", minVersion: 0, maxVersion: 1 },
];

/** All that a node of this version takes as finalised. */
export const servedFeatures: readonly SupportedFeature[] = [...supportedFeatures, ...clusterFeatures];
