import { describe, expect, test } from "vitest";
import { ControllerStorm } from "../../test/controller-storm.ts";
import { ResourceType } from "../config/resources.ts";
import { ReplayedImage } from "./image.ts";
import type { MetadataImage } from "./image.ts";
import type { MetadataRecord } from "./records.ts";

/** Everything that an image says. */
function contents(image: MetadataImage): unknown {
  const types = Object.values(ResourceType);
  return {
    offset: image.offset,
    counts: [image.topicCount, image.partitionCount, image.nextProducerId],
    topics: [...image.topics()],
    byId: [...image.topics()].map(({ id }) => image.topicById(id)),
    byName: [...image.topics()].map(({ name }) => image.topic(name)),
    collisions: [...image.topics()].map(({ name }) => image.collidingTopic(name.replaceAll("t", "."))),
    features: [...image.features],
    brokers: [...image.brokers],
    controllers: [...image.controllers],
    partitions: [1, 2, 3, 4, 5].map((id) => [...image.partitionsOf(id)]),
    configs: types.map((type) =>
      [...image.configuredResources(type)].map((name) => [name, [...image.configsOf(type, name)]]),
    ),
  };
}

/** Names of what two images do not say in the same words. */
function differing(before: MetadataImage, after: MetadataImage): unknown {
  const text = (value: unknown): string => JSON.stringify(value) ?? "";
  const configs = (image: MetadataImage, type: ResourceType, name: string): string =>
    text([...image.configsOf(type, name)].map((entry) => entry.join("=")).toSorted());
  const changed = [...after.topics()].filter(({ id }) => text(before.topicById(id)) !== text(after.topicById(id)));
  const kept = [...after.topics()].filter(({ id }) => text(before.topicById(id)) === text(after.topicById(id)));
  const brokers = new Set([...before.brokers.keys(), ...after.brokers.keys()]);
  return {
    deletedTopics: [...before.topics()].filter(({ id }) => after.topicById(id) === undefined),
    changedTopics: changed,
    reconfiguredTopics: kept
      .map(({ name }) => name)
      .filter((name) => configs(before, ResourceType.TOPIC, name) !== configs(after, ResourceType.TOPIC, name)),
    isBrokerReconfigured: configs(before, ResourceType.BROKER, "") !== configs(after, ResourceType.BROKER, ""),
    changedBrokers: [...brokers].filter((id) => text(before.brokers.get(id)) !== text(after.brokers.get(id))),
  };
}

function restored(records: readonly MetadataRecord[], offset: number): ReplayedImage {
  const image = new ReplayedImage();
  image.restore(records, offset);
  return image;
}

/** A storm changes few settings by itself. */
function configureOldest(image: ReplayedImage, retentionMs: number): void {
  const [topic] = image.topics();
  if (topic === undefined) return;
  const setting = { resourceType: ResourceType.TOPIC, resourceName: topic.name, name: "retention.ms" };
  const record = { type: "config", ...setting, value: String(retentionMs) } as const;
  image.replay({ offset: image.offset + 1, timeMs: 0, records: [record] });
}

describe("an image that is replaced by a snapshot", () => {
  test("is that of the snapshot, and the delta is what differs", () => {
    const firstSeed = Math.floor(Math.random() * 2 ** 32);
    const seen = { deleted: 0, changed: 0, reconfigured: 0, brokerReconfigured: 0, brokers: 0, kept: 0 };
    for (let seed = firstSeed; seed < firstSeed + 120; seed++) {
      const storm = new ControllerStorm(seed);
      for (let step = 0; step < 60; step++) storm.step();
      for (const distance of [1, 3, 10, 100]) {
        const { offset } = storm.image;
        const old = [...storm.image.records()];
        for (let step = 0; step < distance; step++) storm.step();
        configureOldest(storm.image, distance);
        const image = restored(old, offset);
        const { configVersion } = image;
        const fresh = restored([...storm.image.records()], storm.image.offset);
        const delta = image.replaceBy([...storm.image.records()], storm.image.offset);
        const where = `seed ${seed}, ${distance} steps`;
        expect(contents(image), where).toEqual(contents(fresh));
        expect(delta, where).toEqual(differing(restored(old, offset), fresh));
        expect(image.configVersion, where).toBeGreaterThan(configVersion);
        for (const topic of delta.changedTopics) expect(image.topicById(topic.id)).toBe(topic);
        seen.deleted += delta.deletedTopics.length;
        seen.changed += delta.changedTopics.length;
        seen.reconfigured += delta.reconfiguredTopics.length;
        seen.brokerReconfigured += Number(delta.isBrokerReconfigured);
        seen.brokers += delta.changedBrokers.length;
        seen.kept += image.topicCount - delta.changedTopics.length;
      }
    }
    for (const [what, count] of Object.entries(seen))
      expect(count, `${what}, first seed ${firstSeed}`).toBeGreaterThan(0);
  }, 60_000);

  test("goes on from there", () => {
    const image = restored([{ type: "topic", name: "a", id: "AAAAAAAAAAAAAAAAAAAAAA" }], 5);
    image.replaceBy([{ type: "topic", name: "b", id: "BAAAAAAAAAAAAAAAAAAAAA" }], 9);
    const records = [{ type: "topic-removed", id: "BAAAAAAAAAAAAAAAAAAAAA" }] as const;
    image.replay({ offset: 10, timeMs: 0, records });
    expect([image.topicCount, image.offset]).toEqual([0, 10]);
  });

  test("does not go back", () => {
    expect(() => restored([], 5).replaceBy([], 4)).toThrow("a snapshot at 4 follows 5");
  });

  test("a topic of the same name and another id is another topic", () => {
    const image = restored([{ type: "topic", name: "a", id: "AAAAAAAAAAAAAAAAAAAAAA" }], 5);
    const delta = image.replaceBy([{ type: "topic", name: "a", id: "BAAAAAAAAAAAAAAAAAAAAA" }], 9);
    expect(delta.deletedTopics.map(({ id }) => id)).toEqual(["AAAAAAAAAAAAAAAAAAAAAA"]);
    expect(delta.changedTopics.map(({ id }) => id)).toEqual(["BAAAAAAAAAAAAAAAAAAAAA"]);
  });
});
