import type { Logger } from "@millrace/base/logger";
import type { Address, Clock } from "@millrace/base/world";
import type { Uuid } from "@millrace/storage/types";
import type { NodeId } from "raft-ts-lite";
import { parseRaftId, raftIdOf } from "./node-ids.ts";

/** What a node says of itself to one that would found a cluster with it. */
export interface FormationAnswer {
  readonly nodeId: number;
  readonly directoryId: Uuid;
  /** Null: it belongs to none yet. */
  readonly clusterId: string | null;
  /** Empty: it belongs to no cluster, or has lost its metadata and does not know. */
  readonly voters: readonly NodeId[];
}

export interface Formed {
  readonly clusterId: string;
  readonly voters: readonly NodeId[];
}

export interface FormationOptions {
  readonly nodeId: number;
  readonly directoryId: Uuid;
  /** By node id, where the controllers are; this node among them, where it is one. */
  readonly controllers: ReadonlyMap<number, Address>;
  /** Null: no answer. */
  ask(nodeId: number, address: Address): Promise<FormationAnswer | null>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** False: this node joins a cluster that is there, and waits for one. Default true. */
  readonly mayFound?: boolean;
}

/** Addresses and names do not agree: somebody has to look at the settings. */
export class FormationRefused extends Error {
  override readonly name = "FormationRefused";
}

const pauseMs = 100;
/** Between two lines of the log that say for whom it waits. */
const patienceMs = 5_000;

/**
 * How nodes that have never worked become a cluster. Each asks all controllers for their directory ids. Where one of them
 * belongs to a cluster, so does whoever asks. Where none does and all have answered, each comes to the same voters by
 * itself, and to the same cluster id, which is made of them: had two of them seen different ones, they would refuse each other.
 */
export async function form(options: FormationOptions): Promise<Formed> {
  const { nodeId, directoryId, controllers, clock, logger, mayFound = true } = options;
  const answers = new Map<number, FormationAnswer>();
  if (controllers.has(nodeId)) answers.set(nodeId, { nodeId, directoryId, clusterId: null, voters: [] });
  let toldMs = clock.monotonicMs();
  for (;;) {
    for (const [id, address] of controllers) {
      if (id === nodeId) continue;
      const answer = await options.ask(id, address);
      if (answer === null) continue;
      if (answer.nodeId !== id) {
        const where = `${address.host}:${address.port}`;
        throw new FormationRefused(
          `controller.quorum.voters names node ${id} at ${where}, where node ${answer.nodeId} answers`,
        );
      }
      if (answer.clusterId !== null && answer.voters.length === 0) continue;
      if (answer.clusterId !== null) return joined(options, { clusterId: answer.clusterId, voters: answer.voters });
      answers.set(id, answer);
    }
    // A broker that is no controller founds nothing.
    if (mayFound && controllers.has(nodeId) && answers.size === controllers.size) return founded([...answers.values()]);
    if (clock.monotonicMs() - toldMs >= patienceMs) {
      toldMs = clock.monotonicMs();
      const missing = [...controllers].filter(([id]) => !answers.has(id));
      const nodes = missing.map(([id, { host, port }]) => `${id}@${host}:${port}`);
      logger.info("waiting for controllers, to found a cluster with them or to join theirs", { nodes });
    }
    await new Promise<void>((resolve) => clock.schedule(pauseMs, resolve, { isAwaited: true }));
  }
}

function joined({ nodeId, directoryId, logger }: FormationOptions, formed: Formed): Formed {
  const own = raftIdOf({ nodeId, directoryId });
  const former = formed.voters.find((voter) => {
    const parsed = parseRaftId(voter);
    return parsed.ok && parsed.value.nodeId === nodeId;
  });
  if (former !== undefined && former !== own) {
    logger.warn("this node voted with another disk: with this one it follows, until it is added as a controller", {
      voter: former,
      now: own,
    });
  }
  return formed;
}

/** The cluster id is made of the directory ids, which are random: each node comes to the same by itself. */
function founded(answers: readonly FormationAnswer[]): Formed {
  const members = [...answers].sort((a, b) => a.nodeId - b.nodeId);
  const id = Buffer.alloc(idBytes);
  for (const { nodeId, directoryId } of members) {
    const bytes = Buffer.from(directoryId, "base64url");
    // Shifted by the node: of one disk another id comes than that of the disk.
    for (let at = 0; at < idBytes; at++) id[at] = (id[at] ?? 0) ^ (bytes[(at + nodeId + 1) % idBytes] ?? 0);
  }
  // Kafka's ids never begin with a dash: a command line would take them for an option.
  id[0] = (id[0] ?? 0) & 0x7f;
  return { clusterId: id.toString("base64url"), voters: members.map(raftIdOf) };
}

const idBytes = 16;
