import type { Logger } from "@millrace/base/logger";
import type { Address, Clock, Disk } from "@millrace/base/world";
import type { HardState, NodeId } from "raft-ts-lite";
import type { FormationAnswer } from "../quorum/formation.ts";
import { raftIdOf } from "../quorum/node-ids.ts";
import { hardStateLeft, setAside } from "../quorum/store-recovery.ts";
import { StartError } from "./start-error.ts";

export interface LostMetadataOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly logger: Logger;
  /** `<data>/metadata`. */
  readonly directory: string;
  /** Why it cannot be opened. */
  readonly reason: string;
  readonly nodeId: number;
  readonly own: NodeId;
  readonly clusterId: string;
  /** It may have voted. */
  readonly isController: boolean;
  readonly controllers: ReadonlyMap<number, Address>;
  /** Null: no answer. */
  ask(nodeId: number, address: Address): Promise<FormationAnswer | null>;
}

const pauseMs = 200;
/** Between two lines of the log that say for whom it waits. */
const patienceMs = 5_000;

/**
 * A node of a cluster whose metadata is damaged: the files are put aside, and all is to come again from the leader. That is possible where the
 * node knows what it has voted for, and where the voters that have lost nothing are a majority: they alone elect a leader until then.
 * @throws StartError where it is not; then nothing is changed
 */
export async function giveUpMetadata(options: LostMetadataOptions): Promise<void> {
  const { disk, directory, logger, reason } = options;
  const hardState = await stateOrRefuse(options);
  const voters = await whoVotes(options);
  const kept = await setAside(disk, directory, { hardState, voters });
  logger.error(
    "the metadata of this node is damaged: it is kept aside, and fetched again from the active controller. Look after the disk; what is kept may be removed when the metadata is here again",
    { reason, kept },
  );
}

async function stateOrRefuse({ disk, directory, reason, isController }: LostMetadataOptions): Promise<HardState> {
  const left = await hardStateLeft(disk, directory);
  if (left !== null) return left;
  // Nobody has ever asked it for a vote, and nobody will under this directory id.
  if (!isController) return { term: 0, votedFor: null };
  throw new StartError(
    `${reason}. It cannot be read either for whom this node has voted, so it may not come back under its directory id: start it with an empty directory, remove the vote of the former one (remove-controller), and add this one (add-controller)`,
  );
}

/** Who votes, as a controller says that has lost nothing. Waits until one answers. */
async function whoVotes(options: LostMetadataOptions): Promise<readonly NodeId[]> {
  const { clock, logger, reason, nodeId, own, clusterId, controllers, ask } = options;
  const others = [...controllers].filter(([id]) => id !== nodeId);
  if (others.length === 0) throw new StartError(`${reason}. No other controller is there to fetch the metadata from`);
  const lost = new Set<NodeId>([own]);
  let toldMs = clock.monotonicMs() - patienceMs;
  for (;;) {
    let voters: readonly NodeId[] | null = null;
    for (const [id, address] of others) {
      const answer = await ask(id, address);
      if (answer?.clusterId !== clusterId) continue;
      const name = raftIdOf(answer);
      if (answer.voters.length === 0) lost.add(name);
      else {
        lost.delete(name);
        voters = answer.voters;
      }
    }
    const left = voters?.filter((voter) => !lost.has(voter)) ?? [];
    if (voters !== null && left.length > voters.length / 2) return voters;
    if (voters !== null || lost.size > others.length) throw new StartError(tooFew(reason, lost));
    if (clock.monotonicMs() - toldMs >= patienceMs) {
      toldMs = clock.monotonicMs();
      const nodes = others.map(([id, { host, port }]) => `${id}@${host}:${port}`);
      logger.warn("the metadata of this node is damaged; it waits for controllers to fetch it from", { reason, nodes });
    }
    await new Promise<void>((resolve) => clock.schedule(pauseMs, resolve, { isAwaited: true }));
  }
}

function tooFew(reason: string, lost: ReadonlySet<NodeId>): string {
  return `${reason}. There is nobody to fetch the metadata from: ${[...lost].join(", ")} have lost it, and without them the controllers are no majority`;
}
