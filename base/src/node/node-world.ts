import type { NetworkError, World } from "../world.ts";
import { Native } from "./native.ts";
import { NodeDisk } from "./node-disk.ts";
import { NodeWorkers } from "./node-workers.ts";
import { systemClock } from "./system-clock.ts";
import { systemRandom } from "./system-random.ts";
import { TcpNetwork } from "./tcp-network.ts";

export interface NodeWorldOptions {
  /** `false` never loads native code: slices are read and written, and every dirty file is synced by itself. */
  readonly isNativeWanted?: boolean;
  /** See NodeDisk. */
  readonly syncFilesMax?: number;
  readonly workerThreadsMax?: number;
  /** See NodeWorkers. */
  readonly workerPreload?: readonly string[];
  /** See TcpNetwork. */
  readonly onAcceptFailure?: (error: NetworkError) => void;
}

export interface NodeWorld extends World {
  /** An entry point calls `native.load()` once it is ready, and may show what came of it. */
  readonly native: Native;
}

export function nodeWorld(options: NodeWorldOptions = {}): NodeWorld {
  const native = new Native({ isWanted: options.isNativeWanted ?? true });
  const { syncFilesMax, workerThreadsMax, workerPreload, onAcceptFailure } = options;
  return {
    native,
    clock: systemClock,
    disk: new NodeDisk({ native, ...(syncFilesMax === undefined ? {} : { syncFilesMax }) }),
    network: new TcpNetwork({ native, ...(onAcceptFailure === undefined ? {} : { onAcceptFailure }) }),
    random: systemRandom,
    workers: new NodeWorkers({
      ...(workerThreadsMax === undefined ? {} : { threadsMax: workerThreadsMax }),
      ...(workerPreload === undefined ? {} : { preload: workerPreload }),
    }),
  };
}
