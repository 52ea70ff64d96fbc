import type { Logger } from "@millrace/base/logger";
import { MalformedMessage } from "kafka-protocol-ts/malformed";
import type { JoinGroupResponseMember } from "kafka-protocol-ts/messages/11-join-group";
import { KafkaError } from "../../errors.ts";
import type { Assignor, AssignorMember, AsyncAssignor, AssignorTopic } from "../assignors/assignor.ts";
import { assignmentBytes, readSubscription } from "../assignors/embedded-protocol.ts";
import { withheld } from "../assignors/sticky.ts";
import { changeOf } from "./topics-watch.ts";
import type { TopicsWatch } from "./topics-watch.ts";

/** What the leader of a classic group assigns from: its members, and all topics that any of them reads. */
export class GroupTopics {
  readonly members: readonly AssignorMember[];
  topics: ReadonlyMap<string, AssignorTopic> = new Map();
  /** As SyncGroup carries them. */
  assignments: readonly { readonly memberId: string; readonly assignment: Uint8Array }[] = [];
  readonly #names: readonly string[];

  /** A member whose bytes cannot be read is given nothing: the others need not suffer from it. */
  constructor(members: readonly JoinGroupResponseMember[], logger: Logger) {
    this.members = members.flatMap(({ memberId, groupInstanceId: instanceId, metadata }): readonly AssignorMember[] => {
      try {
        return [{ memberId, instanceId, ...readSubscription(metadata) }];
      } catch (error) {
        if (!(error instanceof MalformedMessage)) throw error;
        logger.warn("a member of the group cannot be understood, and is given nothing", { memberId, error });
        return [];
      }
    });
    this.#names = [...new Set(this.members.flatMap(({ topics }) => topics))].sort();
  }

  get isAnyMissing(): boolean {
    return this.#names.some((name) => !this.topics.has(name));
  }

  async describe(watch: TopicsWatch): Promise<void> {
    this.topics = await watch.describe(this.#names);
  }

  /** What is different from what was assigned, in words; null where nothing is. */
  async changed(watch: TopicsWatch): Promise<string | null> {
    return changeOf(this.topics, await watch.describe(this.#names));
  }
}

/** @throws KafkaError ASSIGNOR_FAILED where an assignor throws, or forgets the rules. */
export async function assignmentsFor(
  assignor: Assignor | AsyncAssignor,
  { members, topics }: GroupTopics,
  logger: Logger,
): Promise<GroupTopics["assignments"]> {
  let assignments;
  try {
    assignments = await assignor.assign(members, topics);
  } catch (error) {
    const sentence = `assignor ${assignor.name}: ${(error as Error).message}`;
    throw new KafkaError("ASSIGNOR_FAILED", sentence, { cause: error });
  }
  // Whoever wrote the assignor: nobody is given what another one still reads.
  if (assignor.protocol === "cooperative") assignments = withheld(members, assignments);
  const counts = Array.from(assignments, ([memberId, partitions]) => `${memberId}: ${partitions.length}`);
  logger.debug("the partitions of the group are shared out", { assignor: assignor.name, counts });
  return Array.from(assignments, ([memberId, partitions]) => ({ memberId, assignment: assignmentBytes(partitions) }));
}
