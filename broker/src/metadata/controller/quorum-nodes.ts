import { areSameEndpoints } from "../image-difference.ts";
import type { ControllerImage } from "../image.ts";
import type { Decision, DecisionContext } from "./decision.ts";

/** Where a node of the quorum is reached is known to all nodes. */
export function registerQuorumNode(
  { image }: Pick<DecisionContext, "image">,
  { id, directoryId, endpoints }: ControllerImage,
): Decision<null> {
  const before = image.controllers.get(id);
  const isSame = before?.directoryId === directoryId && areSameEndpoints(before.endpoints, endpoints);
  return { response: null, records: isSame ? [] : [{ type: "controller", id, directoryId, endpoints }] };
}

/** A node that votes no more. Under another directory it may vote by now: that one stays. */
export function forgetQuorumNode(
  { image }: Pick<DecisionContext, "image">,
  { id, directoryId }: Pick<ControllerImage, "id" | "directoryId">,
): Decision<null> {
  const isKnown = image.controllers.get(id)?.directoryId === directoryId;
  return { response: null, records: isKnown ? [{ type: "controller-removed", id }] : [] };
}
