import { ErrorCode, errorName } from "kafka-protocol-ts/errors";
import { createTopic } from "../../../bench/ask.ts";
import { RawClient } from "../../journeys/raw-client.ts";
import { noProducer, Producer, topic } from "./client.ts";
import { after, ended, haveCoordinators, initialized } from "./script.ts";

/** The epochs of a producer id are an int16; the coordinator never gives the highest one to a producer. */
const nearlyUsedUp = 32_764;

type Story = (producer: Producer, say: (line: string) => void) => Promise<void>;

/** What happens when the epochs of a producer id are used up: each way to get a next one, when there is none. */
const stories: Readonly<Record<string, Story>> = {
  "new processes": async (producer, say) => {
    for (let time = 0; time < 4; time++) say(`InitProducerId: ${await initialized(producer)}`);
    say(await after(producer));
  },
  "the same process": async (producer, say) => {
    let claimed = producer.identity;
    for (let time = 0; time < 4; time++) {
      say(`InitProducerId: ${await initialized(producer, claimed)}`);
      say(`once more: ${await initialized(producer, claimed)}`);
      const { producerId, producerEpoch } = await producer.init(claimed);
      claimed = { producerId, producerEpoch };
    }
    say(await after(producer));
  },
  "version 2": async (producer, say) => {
    for (let time = 0; time < 4; time++) {
      const code = await producer.produce(12, { partition: 0, sequence: 0 });
      say(`Produce: ${errorName(code)}`);
      const old = producer.identity;
      const { producerId, producerEpoch } = await producer.end(true, 5);
      await producer.describe();
      say(`EndTxn: ${producerId === old.producerId ? "the same id" : "another id"} epoch ${producerEpoch}`);
      say(`once more: ${await ended(producer, producer, true, 5)}`);
      say(await after(producer));
      if (producerId >= 0) producer.identity = { producerId, producerEpoch };
    }
  },
  "fenced in a transaction": async (producer, say) => {
    await producer.init();
    const { producerId, producerEpoch } = await producer.init();
    producer.identity = { producerId, producerEpoch };
    say(`epoch ${producerEpoch}: ${await producer.addPartitions([[topic, 0]])}`);
    say(`Produce: ${errorName(await producer.produce(11, { partition: 0, sequence: 0 }))}`);
    say(`InitProducerId: ${await initialized(producer)}`);
    say(await after(producer));
    say(`EndTxn of the old one: ${await ended(producer, producer, false, 5)}`);
  },
};

export async function usedUpEpochs(port: number): Promise<readonly string[]> {
  await createTopic(port, topic, 2);
  const told = Object.entries(stories).map(async ([name, tell]) => {
    await using client = await RawClient.connect({ host: "127.0.0.1", port });
    await haveCoordinators(client);
    const producer = new Producer(client, `epochs-${name}`);
    for (let epoch = -1; epoch < nearlyUsedUp; epoch = producer.identity.producerEpoch) {
      const { errorCode, producerId, producerEpoch } = await producer.init(noProducer);
      if (errorCode !== ErrorCode.NONE) throw new Error(`InitProducerId at epoch ${epoch}: ${errorName(errorCode)}`);
      producer.identity = { producerId, producerEpoch };
    }
    const lines: string[] = [];
    await tell(producer, (line) => lines.push(`${name} | ${line}`));
    return lines;
  });
  return (await Promise.all(told)).flat();
}
