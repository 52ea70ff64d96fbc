import { InlineWorkers } from "@millrace/base/inline-workers";
import type { Disk, World } from "@millrace/base/world";
import { SeededRandom } from "./seeded-random.ts";
import { SimulatedDisk } from "./simulated-disk.ts";
import { SimulatedNetwork } from "./simulated-network.ts";
import { VirtualClock } from "./virtual-clock.ts";

export interface SimulatedWorld extends World {
  readonly clock: VirtualClock;
  readonly network: SimulatedNetwork;
}

export interface SimulatedWorldOptions {
  readonly seed: number;
  /** A disk that has seen a crash, or one that records. */
  readonly disk?: Disk;
  readonly latencyMs?: number;
}

/** A world in which two runs with one seed are alike. */
export function simulatedWorld(options: SimulatedWorldOptions): SimulatedWorld {
  const clock = new VirtualClock();
  const { latencyMs = 0 } = options;
  const disk = options.disk ?? new SimulatedDisk({ clock });
  return {
    clock,
    disk,
    network: new SimulatedNetwork({ clock, latencyMs }),
    random: new SeededRandom(options.seed),
    workers: new InlineWorkers({ disk, clock }),
  };
}
