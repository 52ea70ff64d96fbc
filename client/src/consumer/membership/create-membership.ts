import type { Wire } from "../../network/wire.ts";
import { ClassicMembership } from "./classic.ts";
import { ConsumerMembership } from "./consumer-protocol.ts";
import type { Membership, Owner } from "./membership.ts";
import { membershipSettings } from "./options.ts";
import type { MembershipOptions } from "./options.ts";

/**
 * A membership that has not begun: `start` joins.
 *
 *     const membership = createMembership(wire, { groupId: "billing", subscription }, owner);
 *     membership.start();
 *     ...
 *     await membership.leave();
 *
 * @throws KafkaError INVALID_CONFIG, naming the option.
 */
export function createMembership(wire: Wire, options: MembershipOptions, owner: Owner): Membership {
  const settings = membershipSettings(options);
  const { subscription } = options;
  return settings.protocol === "consumer"
    ? new ConsumerMembership(wire, settings, subscription, owner)
    : new ClassicMembership(wire, settings, subscription, owner);
}
