import { failed } from "@millrace/base/result";
import type { Failed } from "@millrace/base/result";
import type { NodeServices } from "../services.ts";

/** A change of the quorum that is meant for another cluster; null in a request: for whichever this is. */
export function clusterFault(
  { identity }: Pick<NodeServices, "identity">,
  clusterId: string | null,
): Failed<"inconsistent-cluster-id"> | null {
  if (clusterId === null || clusterId === identity.clusterId) return null;
  return failed("inconsistent-cluster-id", `this is cluster ${identity.clusterId}, and not ${clusterId}`);
}
