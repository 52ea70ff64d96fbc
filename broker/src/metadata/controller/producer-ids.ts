import { ok } from "@millrace/base/result";
import { senderOf } from "./decision.ts";
import type { Decision, DecisionContext, ItemResult } from "./decision.ts";

/** As many ids as Kafka's controller gives a broker at a time. */
const blockLength = 1000;

export interface ProducerIdBlock {
  readonly firstId: number;
  readonly count: number;
}

/** The next block, for this node: used up once it is given, whatever becomes of the broker. */
export function allocateProducerIds(context: DecisionContext): Decision<ProducerIdBlock> {
  return nextBlock(context, context.configs.nodeId);
}

/** AllocateProducerIds (67): the next block, for a broker that is the one that is registered. */
export function allocateProducerIdsFor(
  context: DecisionContext,
  sender: { readonly brokerId: number; readonly brokerEpoch: number },
): Decision<ItemResult<ProducerIdBlock>> {
  const known = senderOf(context.image, sender);
  if (!known.ok) return { response: known, records: [] };
  const { response, records } = nextBlock(context, sender.brokerId);
  return { response: ok(response), records };
}

function nextBlock({ image }: DecisionContext, brokerId: number): Decision<ProducerIdBlock> {
  const firstId = image.nextProducerId;
  return {
    response: { firstId, count: blockLength },
    records: [{ type: "producer-ids", brokerId, nextId: firstId + blockLength }],
  };
}
