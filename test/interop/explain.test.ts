import { spawnSync } from "node:child_process";
import { Cluster } from "@millrace/client";
import { expect, test } from "vitest";
import { createTopic } from "../journeys/calls.ts";
import { RawClient } from "../journeys/raw-client.ts";
import { TransactionalProducer } from "../journeys/transactional.ts";
import { skipWhenMissing } from "./journey.ts";
import { javaClassPath, whyMissing } from "./runtimes.ts";
import { Target } from "./target.ts";

test("the command that is proposed ends a hanging transaction", async (context) => {
  skipWhenMissing(context, whyMissing("java"));
  await using target = await Target.start({
    name: "millrace",
    settings: { "transaction.partition.verification.enable": "false" },
  });
  await using client = await RawClient.connect({ host: "127.0.0.1", port: target.port });
  await using cluster = new Cluster({ brokers: [target.address] });
  await createTopic(client, "to-be-read");
  const producer = new TransactionalProducer(client, "payments");
  expect(await producer.init()).toBe(0);
  // Its partition was never named: no coordinator will end it.
  expect((await producer.send(["a"], { topic: "to-be-read", version: 11 })).errorCode).toBe(0);
  const hanging = (await cluster.admin().explain("partition", "to-be-read-0")).reasons.join("\n");
  const [, args] = /kafka-transactions\.sh (--bootstrap-server .*)$/m.exec(hanging) ?? [];
  expect(args, hanging).toBeDefined();
  const java = ["-Xmx256m", "-cp", javaClassPath(), "org.apache.kafka.tools.TransactionsCommand"];
  const ended = spawnSync("java", [...java, ...args!.split(" ")], { encoding: "utf8", timeout: 60_000 });
  expect(ended.status, `${ended.stdout}${ended.stderr}`).toBe(0);
  const { summary, reasons } = await cluster.admin().explain("partition", "to-be-read-0");
  expect(summary).toBe("offsets 0 to 2, nothing is held back");
  expect(reasons).toEqual([expect.stringMatching(/^Nothing is held back/)]);
});
