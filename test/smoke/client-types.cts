// The types that a program in CommonJS sees.
import client = require("@millrace/client");
import { msgpack } from "@millrace/client/serdes/msgpack";
import { Kafka } from "@millrace/client/kafkajs";

interface Order {
  readonly id: string;
}
const orders = client.topic("orders", { key: client.text(), value: client.json<Order>() });
export const cluster: client.Cluster = new client.Cluster({ brokers: [] });
export const sent: Promise<client.Delivered> = cluster.producer().send(orders, { key: "o1", value: { id: "o1" } });
export const kafka: Kafka = new Kafka({ brokers: [] });
export const packed: client.Serde<Order> = msgpack<Order>();
// @ts-expect-error -- a value of another type
void cluster.producer().send(orders, { key: "o1", value: { id: 1 } });
// @ts-expect-error -- not an entry of the package
export type Inside = import("@millrace/client/network/wire").Wire;
