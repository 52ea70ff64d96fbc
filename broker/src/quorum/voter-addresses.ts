import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { Address } from "@millrace/base/world";

/** `controller.quorum.voters`: by node id, where its controller listener is. */
export function parseVoterAddresses(texts: readonly string[]): Result<ReadonlyMap<number, Address>, "invalid-config"> {
  const addresses = new Map<number, Address>();
  for (const text of texts) {
    const match = /^(\d{1,10})@(\[[^\]]+\]|[^:]+):(\d{1,5})$/.exec(text.trim());
    const [, id = "", host = "", portText = ""] = match ?? [];
    const port = Number(portText);
    if (match === null || port === 0 || port > 65_535)
      return failed("invalid-config", `controller.quorum.voters: "${text}" is not ID@HOST:PORT`);
    if (addresses.has(Number(id))) return failed("invalid-config", `controller.quorum.voters names node ${id} twice`);
    addresses.set(Number(id), { host: host.replace(/^\[|\]$/g, ""), port });
  }
  return ok(addresses);
}
