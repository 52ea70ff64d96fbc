import { replaceFile } from "@millrace/base/replace-file";
import type { Disk } from "@millrace/base/world";
import { ResourceType } from "../config/resources.ts";
import type { BrokerConfigs } from "../config/broker-configs.ts";
import type { MetadataImage } from "../metadata/image.ts";

const fileName = "broker-epoch";

/**
 * The epoch of this broker's last life, where it still has every record that it acknowledged then: under durability fsync
 * nothing is acknowledged before it is on the disk, so that a crash takes none of it. Else -1: records may be missing (KIP-966).
 */
export async function lastEpoch(
  disk: Disk,
  directory: string,
  { image, configs }: { readonly image: MetadataImage; readonly configs: BrokerConfigs },
): Promise<number> {
  if (!isAllSynced(image, configs)) return -1;
  const path = `${directory}/${fileName}`;
  if ((await disk.stat(path)) === null) return -1;
  const epoch = Number((await disk.readFile(path)).toString());
  return Number.isSafeInteger(epoch) ? epoch : -1;
}

/** Before anything is acknowledged under it. */
export function noteEpoch(disk: Disk, directory: string, epoch: number): Promise<void> {
  return replaceFile(disk, `${directory}/${fileName}`, Buffer.from(`${epoch}\n`));
}

function isAllSynced(image: MetadataImage, configs: BrokerConfigs): boolean {
  if (configs.broker["millrace.durability"] !== "fsync") return false;
  for (const topic of image.configuredResources(ResourceType.TOPIC)) {
    if (configs.topic(topic)["millrace.durability"] !== "fsync") return false;
  }
  return true;
}
