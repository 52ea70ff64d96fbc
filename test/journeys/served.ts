import { deleteTopics } from "kafka-protocol-ts/messages/20-delete-topics";
import { installNodeAccelerators } from "kafka-protocol-ts/node";
import type { Target } from "../interop/target.ts";
import { describeTopics, isKafka } from "./calls.ts";
import { running, temporaryDirectory } from "./fixture.ts";
import { RawClient } from "./raw-client.ts";

export interface Served extends AsyncDisposable {
  client(clientId?: string): Promise<RawClient>;
  /** A clean stop, and a start on the same data. */
  restart(): Promise<void>;
}

const quick = { "group.initial.rebalance.delay.ms": "0", "offsets.topic.num.partitions": "1" };

/**
 * A broker with these settings: ours in this process. With `MILLRACE_JOURNEYS_TARGET=kafka` (and `npm run interop:prepare
 * -- java` before) it is Apache Kafka in another: the tests of what a Kafka broker answers are proven against it, and that
 * is where they come from. `MILLRACE_JOURNEYS_TARGET=kafka npx vitest run --project journeys fetch groups metadata produce`
 */
export async function served(settings: Readonly<Record<string, string>> = {}): Promise<Served> {
  return isKafka ? servedByKafka({ ...quick, ...settings }) : servedByUs({ ...quick, ...settings });
}

async function servedByUs(settings: Readonly<Record<string, string>>): Promise<Served> {
  const directory = await temporaryDirectory();
  let it = await running(directory.path, settings);
  return {
    client: async (clientId = "raw") => RawClient.connect(it.broker.address, { clientId }),
    restart: async () => {
      await it.broker.stop();
      it = await running(directory.path, settings);
    },
    [Symbol.asyncDispose]: async () => {
      await it.broker.stop();
      await directory[Symbol.asyncDispose]();
    },
  };
}

/** Apache Kafka needs seconds to start: one process serves all tests of a file, and loses its topics after each. */
const kafkas = new Map<string, Promise<Target>>();

async function servedByKafka(settings: Readonly<Record<string, string>>): Promise<Served> {
  const known = Object.fromEntries(Object.entries(settings).filter(([key]) => !key.startsWith("millrace.")));
  const key = JSON.stringify(known);
  const starting = kafkas.get(key) ?? startKafka(known);
  kafkas.set(key, starting);
  const target = await starting;
  const client = async (clientId = "raw") => RawClient.connect({ host: "127.0.0.1", port: target.port }, { clientId });
  return {
    client,
    restart: async () => {
      await target.stop();
      await target.start();
    },
    [Symbol.asyncDispose]: async () => {
      await using cleaner = await client();
      await deleteAll(cleaner);
    },
  };
}

async function startKafka(settings: Readonly<Record<string, string>>): Promise<Target> {
  installNodeAccelerators();
  const { Target } = await import("../interop/target.ts");
  return Target.start({ name: "kafka", settings });
}

async function deleteAll(client: RawClient): Promise<void> {
  const mine = (await describeTopics(client, null)).filter(({ isInternal }) => !isInternal);
  const topics = mine.map(({ topicId }) => ({ name: null, topicId }));
  await client.request(deleteTopics, 6, { topics, timeoutMs: 30_000 });
}
