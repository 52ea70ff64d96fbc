import { InlineWorkers } from "@millrace/base/inline-workers";
import type { World } from "@millrace/base/world";
import { startBroker } from "@millrace/broker/broker";
import type { Broker } from "@millrace/broker/broker";
import { FramePool } from "@millrace/broker/network/frame-pool";
import { RecordingDisk } from "@millrace/simulator/recording-disk";
import { SeededRandom } from "@millrace/simulator/seeded-random";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { SimulatedNetwork } from "@millrace/simulator/simulated-network";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import { installNodeAccelerators } from "kafka-protocol-ts/node";
import { LogBook } from "./fixture.ts";
import { RawClient } from "./raw-client.ts";

/** Where the simulated broker has its data. */
export const dataDirectory = "/data";

export interface SimulatedBroker extends AsyncDisposable {
  readonly broker: Broker;
  readonly clock: VirtualClock;
  /** What the broker sees. */
  readonly disk: RecordingDisk;
  /** What lies below the recording: for looking at files behind the broker's back, and for changing them. */
  readonly platter: SimulatedDisk;
  readonly log: LogBook;
  /** What the broker could not go on after. */
  readonly fatal: unknown[];
  client(clientId?: string): Promise<RawClient>;
  /** Lets everything happen that needs no time. */
  settle(): Promise<void>;
}

export interface SimulationOptions {
  readonly config?: Readonly<Record<string, string>>;
  readonly platter?: SimulatedDisk;
}

/** A whole broker in virtual time, on a disk that fails when a test says so. */
export async function simulated({ config = {}, platter = new SimulatedDisk() }: SimulationOptions = {}) {
  installNodeAccelerators();
  const clock = new VirtualClock();
  const disk = await RecordingDisk.over(platter, dataDirectory);
  const workers = new InlineWorkers({ disk, clock });
  // Real time must not pass in a simulation for it.
  await workers.load(import.meta.resolve("@millrace/storage/cleaner/clean-task"));
  const world: World = {
    clock,
    disk: disk,
    network: new SimulatedNetwork({ clock }),
    random: new SeededRandom(1),
    workers,
  };
  const log = new LogBook();
  const fatal: unknown[] = [];
  const broker = await startBroker({
    config: { listeners: "PLAINTEXT://127.0.0.1:0", "log.dirs": dataDirectory, ...config },
    world,
    logger: log,
    framePool: new FramePool({ isOverwriting: true }),
    onFatal: (error) => fatal.push(error),
  });
  return {
    ...{ broker, clock, disk, platter, log, fatal },
    client: async (clientId = "raw") => RawClient.connect(broker.address, { network: world.network, clientId }),
    settle: async () => {
      // An answer needs several turns: received, appended, written, synced, told, sent.
      for (let turn = 0; turn < 20; turn++) await clock.settle();
    },
    [Symbol.asyncDispose]: async () => broker.stop(),
  } satisfies SimulatedBroker;
}
