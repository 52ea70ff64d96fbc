import { silentLogger } from "@millrace/base/logger";
import type { Prng } from "@millrace/base/prng";
import { QuorumStore } from "@millrace/broker/quorum/store";
import { hardStateLeft } from "@millrace/broker/quorum/store-recovery";

import type { RottenBit, SimulatedDisk } from "../simulated-disk.ts";
import type { VirtualClock } from "../virtual-clock.ts";
import { dataDirectory } from "./node.ts";
import type { Node } from "./node.ts";
import type { Story } from "./story.ts";

const directory = `${dataDirectory}/metadata`;
const triesMax = 50;
/** Of virtual time: between two of them, on the average. */
const pauseMs = 1_500;

export interface MetadataLossOptions {
  readonly nodes: readonly Node[];
  readonly clock: VirtualClock;
  readonly prng: Prng;
  readonly story: Story;
}

/**
 * Bits of what nodes have on their disks of the metadata turn over while they are down: of one node at a time, and of the next when that one
 * has all again. So the controllers that have lost nothing are a majority whenever all are there, and in the end everybody gets on.
 */
export class MetadataLoss {
  count = 0;
  readonly #options: MetadataLossOptions;
  #isActive = false;

  constructor(options: MetadataLossOptions) {
    this.#options = options;
  }

  begin(): void {
    this.#isActive = true;
    this.#later();
  }

  end(): void {
    this.#isActive = false;
  }

  #later(): void {
    const { clock, prng } = this.#options;
    clock.schedule(2 * pauseMs * prng.fraction(), () => {
      if (!this.#isActive) return;
      void this.#step();
      this.#later();
    });
  }

  async #step(): Promise<void> {
    const { nodes, prng, story } = this.#options;
    if (nodes.some(({ hasLostMetadata }) => hasLostMetadata)) return;
    const node = prng.pick(nodes);
    if (node.isRunning && !node.isPaused) node.crash("process");
    if (node.state !== "down") return;
    const { platter } = node;
    const rotten = await spoiltBit(platter, prng);
    if (rotten === null || node.state !== "down" || node.platter !== platter) return;
    loseMetadata(node, rotten);
    story.tell(`${node.name}: bit ${rotten.bit} of ${rotten.path} turns over`);
    this.count++;
  }
}

export function loseMetadata(node: Node, rotten: RottenBit): void {
  node.platter.flipBit(rotten);
  node.hasLostMetadata = true;
}

/**
 * A bit that a start finds, and after which the term and the vote are known: not one of the last persist where that has no mark, which nobody
 * can tell from what was being written when the power went.
 */
export async function spoiltBit(
  platter: SimulatedDisk,
  prng: Prng,
  matches: (path: string) => boolean = () => true,
): Promise<RottenBit | null> {
  for (let tries = 0; tries < triesMax; tries++) {
    const copy = platter.afterProcessDeath();
    const rotten = copy.rot(directory, prng, (path) => /\/quorum-(\d+\.log|snapshot)$/.test(path) && matches(path));
    if (rotten === null) return null;
    const opened = await QuorumStore.open({ disk: copy.afterProcessDeath(), directory, logger: silentLogger });
    if (!opened.ok && (await hardStateLeft(copy, directory)) !== null) return rotten;
  }
  return null;
}
