import { Cluster, topic } from "@millrace/client";
import { Shredded, Withheld } from "@millrace/client/serdes/encryption/hidden";
import { ringOf, transferSerde } from "../encryption/transfers.ts";

/**
 * `millrace-transfers.ts KEYS BOOTSTRAP TOPIC [BOOTSTRAP TOPIC ...]`: reads topics of transfers from their beginnings to their
 * ends, with the keys of a file ("none": without any), as a process that has never seen them. A line for each topic: its
 * transfers by amount, "shredded" or "withheld" in the place of what cannot be read.
 */
const [keyFile = "none", ...places] = process.argv.slice(2);

const value = transferSerde(keyFile === "none" ? null : ringOf(keyFile));
const legible = (field: unknown): unknown => {
  if (field instanceof Shredded) return "shredded";
  return field instanceof Withheld ? "withheld" : field;
};

for (let at = 0; at < places.length; at += 2) {
  const [bootstrap = "", name = ""] = places.slice(at, at + 2);
  await using cluster = new Cluster({ brokers: [bootstrap], clientId: "transfers" });
  const found = [];
  for await (const { value: transfer } of cluster.consumer().records(topic(name, { value }), { untilEnd: true })) {
    const { user, account, phone, amount } = transfer;
    found.push({ user: legible(user), account: legible(account), phone: legible(phone), amount });
  }
  console.log(JSON.stringify(found.sort((a, b) => a.amount - b.amount)));
}
