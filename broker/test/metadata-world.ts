import { silentLogger } from "@millrace/base/logger";
import type { Disk } from "@millrace/base/world";
import { MetadataService } from "@millrace/broker/metadata/metadata";
import type { MetadataOptions } from "@millrace/broker/metadata/metadata";
import type { TopicWish } from "@millrace/broker/metadata/controller/create-topics";
import { SeededRandom } from "@millrace/simulator/seeded-random";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { VirtualClock } from "@millrace/simulator/virtual-clock";

export const metadataDirectory = "data/metadata";
export const directoryId = "BBBBBBBBBBBBBBBBBBBBBQ";

/** A metadata service on a virtual disk, with broker 1 registered. */
export async function metadataService(
  options: {
    readonly disk?: Disk;
    readonly settings?: Readonly<Record<string, string>>;
    readonly seed?: number;
    readonly isRegistered?: boolean;
  } & Partial<Pick<MetadataOptions, "directoryId" | "fatal" | "logger">> = {},
): Promise<MetadataService> {
  const { disk = new SimulatedDisk(), settings = {}, seed = 1, isRegistered = true } = options;
  const opened = await MetadataService.open({
    disk,
    clock: new VirtualClock(),
    random: new SeededRandom(seed),
    logger: options.logger ?? silentLogger,
    directory: metadataDirectory,
    nodeId: 1,
    directoryId: options.directoryId ?? directoryId,
    texts: new Map(Object.entries(settings)),
    fatal:
      options.fatal ??
      ((error) => {
        throw error;
      }),
  });
  if (!opened.ok) throw new Error(`${opened.failure}: ${opened.message}`);
  if (isRegistered) await opened.value.registerBroker(registration(1));
  return opened.value;
}

let incarnations = 0;

/** Of another process each time. */
export function registration(id: number, rack: string | null = null): Parameters<MetadataService["registerBroker"]>[0] {
  const incarnation = Buffer.alloc(16);
  incarnation.writeUInt32BE(++incarnations, 12);
  return {
    id,
    incarnationId: incarnation.toString("base64url"),
    rack,
    endpoints: [{ listener: "PLAINTEXT", host: `host${id}`, port: 9092 }],
  };
}

/** A topic with the defaults, but for what is given. */
export function wish(name: string, given: Partial<TopicWish> = {}): TopicWish {
  return { name, numPartitions: -1, replicationFactor: -1, assignments: [], configs: [], ...given };
}
