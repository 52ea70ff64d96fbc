import { must } from "@millrace/base/assert";
import { BrokerConfigs } from "@millrace/broker/config/broker-configs";
import { unfenceBroker } from "@millrace/broker/metadata/controller/brokers";
import type { Decision, DecisionContext, ItemResult } from "@millrace/broker/metadata/controller/decision";
import { updateFeatures, UpgradeType } from "@millrace/broker/metadata/controller/features";
import { newPartition } from "@millrace/broker/metadata/controller/replicas";
import { registerBroker } from "@millrace/broker/metadata/controller/registration";
import { clusterFeatures } from "@millrace/broker/metadata/features";
import { ReplayedImage } from "@millrace/broker/metadata/image";
import { registration } from "./metadata-world.ts";

/** A controller and what it has decided: brokers that are registered and unfenced. */
export class ControllerWorld {
  readonly image = new ReplayedImage();
  readonly context: DecisionContext;
  #topicIds = 0;

  constructor(brokers: readonly number[], settings: Readonly<Record<string, string>> = {}) {
    this.context = {
      image: this.image,
      configs: new BrokerConfigs({ nodeId: 1, texts: new Map(Object.entries(settings)), overrides: this.image }),
      newTopicId: () => {
        const id = Buffer.alloc(16);
        id.writeUInt32BE(this.#topicIds++, 0);
        return id.toString("base64url");
      },
    };
    for (const id of brokers) {
      this.register(id);
      this.follow(unfenceBroker(this.context, id));
    }
  }

  register(id: number, rack: string | null = null): void {
    this.follow(registerBroker(this.context, registration(id, rack), { isAlive: () => false }));
  }

  /** With partitions whose replicas these are, as many as they like; the first one that lives leads. */
  topic(name: string, ...replicas: readonly (readonly number[])[]): void {
    const id = this.context.newTopicId();
    const partitions = replicas.map((ids, index) =>
      must(newPartition(this.image, { topicId: id, index, replicas: ids }), "a broker that lives"),
    );
    this.follow({ response: null, records: [{ type: "topic", name, id }, ...partitions] });
  }

  keepEligibleLeaders(): void {
    const feature = "eligible.leader.replicas.version";
    const update = { feature, level: 1, upgradeType: UpgradeType.UPGRADE };
    this.follow(updateFeatures(this.context, [update], clusterFeatures));
  }

  /** Replays what was decided. */
  follow<T>({ response, records }: Decision<T>): T {
    if (records.length > 0) this.image.replay({ offset: this.image.offset + 1, timeMs: 0, records });
    return response;
  }

  /** `1* 2 (3) -4 +5`: 1 leads, 1 and 2 are in sync, 3 is not, 4 leaves, 5 comes. Then the leader epoch, and the ELR. */
  shown(name: string, index = 0): string {
    const partition = this.image.topic(name)?.partitions[index];
    if (partition === undefined) return "none";
    const { replicas, isr, leader, leaderEpoch, addingReplicas, removingReplicas, elr, lastKnownElr } = partition;
    const each = replicas.map((id) => {
      const sign = (addingReplicas.includes(id) ? "+" : "") + (removingReplicas.includes(id) ? "-" : "");
      const text = `${sign}${id}${id === leader ? "*" : ""}`;
      return isr.includes(id) ? text : `(${text})`;
    });
    const extras = [
      elr.length === 0 ? "" : ` elr ${elr.join(" ")}`,
      lastKnownElr.length === 0 ? "" : ` last ${lastKnownElr.join(" ")}`,
    ];
    return `${each.join(" ")} @${leaderEpoch}${extras.join("")}`;
  }

  brokers(): string[] {
    return [...this.image.brokers.values()].map(({ id, isFenced, isInControlledShutdown }) => {
      const state = isFenced ? "fenced" : "unfenced";
      return `${id} ${isInControlledShutdown ? "stopping" : state}`;
    });
  }
}

/** "ok", or the failure, and its message where there is one. */
export function outcome(result: ItemResult<unknown> | undefined): string {
  if (result === undefined) return "none";
  if (result.ok) return "ok";
  return result.message === undefined ? result.failure : `${result.failure}: ${result.message}`;
}
