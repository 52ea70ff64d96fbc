import type { Decision, DecisionContext } from "./decision.ts";

/** As many ids as Kafka's controller gives a broker at a time. */
const blockLength = 1000;

export interface ProducerIdBlock {
  readonly firstId: number;
  readonly count: number;
}

/** The next block: used up once it is given, whatever becomes of the broker. */
export function allocateProducerIds({ image, configs }: DecisionContext): Decision<ProducerIdBlock> {
  const firstId = image.nextProducerId;
  return {
    response: { firstId, count: blockLength },
    records: [{ type: "producer-ids", brokerId: configs.nodeId, nextId: firstId + blockLength }],
  };
}
