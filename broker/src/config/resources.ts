/** Kafka's numbers for what settings belong to. */
export const ResourceType = { TOPIC: 2, BROKER: 4, BROKER_LOGGER: 8, CLIENT_METRICS: 16, GROUP: 32 } as const;
export type ResourceType = (typeof ResourceType)[keyof typeof ResourceType];

export function isResourceType(code: number): code is ResourceType {
  return (Object.values(ResourceType) as number[]).includes(code);
}

/** Kafka's numbers for where a value comes from. */
export const ConfigSource = {
  TOPIC: 1,
  BROKER: 2,
  CLUSTER: 3,
  STATIC: 4,
  DEFAULT: 5,
  LOGGER: 6,
  CLIENT_METRICS: 7,
  GROUP: 8,
} as const;
export type ConfigSource = (typeof ConfigSource)[keyof typeof ConfigSource];

/** The name under which values for all brokers are kept. */
export const allBrokers = "";

/** Settings that were changed while brokers ran, as the metadata image keeps them. */
export interface Overrides {
  /** Grows with each change of any setting. */
  readonly configVersion: number;
  configsOf(type: ResourceType, name: string): ReadonlyMap<string, string>;
}
