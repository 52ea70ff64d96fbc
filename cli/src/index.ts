export { startBroker } from "@millrace/broker/broker";
export type { Broker, BrokerOptions } from "@millrace/broker/broker";
