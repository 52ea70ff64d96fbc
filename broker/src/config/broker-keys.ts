import type { ConfigOf } from "./key.ts";
import { coordinatorKeys } from "./keys/coordinator-keys.ts";
import { logKeys } from "./keys/log-keys.ts";
import { networkKeys } from "./keys/network-keys.ts";
import { nodeKeys } from "./keys/node-keys.ts";
import { securityKeys } from "./keys/security-keys.ts";
import { transactionKeys } from "./keys/transaction-keys.ts";

/** The settings of a broker. Kafka's names, defaults, bounds and modes; a row that differs says why. */
export const brokerKeys: typeof nodeKeys &
  typeof networkKeys &
  typeof logKeys &
  typeof coordinatorKeys &
  typeof transactionKeys &
  typeof securityKeys = {
  ...nodeKeys,
  ...networkKeys,
  ...logKeys,
  ...coordinatorKeys,
  ...transactionKeys,
  ...securityKeys,
};

export type BrokerConfig = ConfigOf<typeof brokerKeys>;
