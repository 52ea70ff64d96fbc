import { describe, expect, test } from "vitest";
import { silentLogger } from "@millrace/base/logger";
import { RecordingDisk } from "@millrace/simulator/recording-disk";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { ResourceType } from "../config/resources.ts";
import { metadataDirectory, metadataService, registration, wish } from "../../test/metadata-world.ts";
import { encodeFrame } from "./frames.ts";
import type { MetadataDelta } from "./image.ts";
import { MetadataUnavailable } from "./metadata.ts";
import type { MetadataService } from "./metadata.ts";
import { encodeBatch } from "./records.ts";

function setTopic(name: string, key: string, value: string): Parameters<MetadataService["alterConfigs"]>[0] {
  const changes = [{ name: key, operation: 0, value }];
  return [{ type: ResourceType.TOPIC, name, changes, replacesAll: false }];
}

/** Everything that the image says, for comparing two of them. */
function contents({ image }: MetadataService): unknown {
  return {
    offset: image.offset,
    topics: [...image.topics()],
    features: [...image.features],
    brokers: [...image.brokers.values()],
    nextProducerId: image.nextProducerId,
    configs: [...image.topics()].map(({ name }) => [...image.configsOf(ResourceType.TOPIC, name)]),
    cluster: [...image.configsOf(ResourceType.BROKER, "")],
  };
}

describe("a restart", () => {
  test("brings back the same image", async () => {
    const disk = new SimulatedDisk();
    const before = await metadataService({ disk });
    await before.createTopics([wish("a", { numPartitions: 3 }), wish("b")]);
    await before.alterConfigs(setTopic("a", "retention.ms", "5"));
    await before.deleteTopics([{ name: "b", id: null }]);
    await before.createPartitions([{ name: "a", count: 5, assignments: null }]);
    await before.allocateProducerIds();
    await before.ensureInternalTopic("__consumer_offsets");
    const expected = contents(before);
    await before.close();
    const after = await metadataService({ disk, isRegistered: false });
    expect(contents(after)).toEqual(expected);
    expect(after.configs.topic("a")["retention.ms"]).toBe(5);
    await after.close();
  });

  test("also from snapshots, taken as the log grows", async () => {
    const disk = new SimulatedDisk();
    const settings = { "metadata.log.max.record.bytes.between.snapshots": "2000" };
    const before = await metadataService({ disk, settings });
    for (let index = 0; index < 50; index++) await before.createTopics([wish(`t${index}`, { numPartitions: 3 })]);
    for (let index = 0; index < 40; index++) await before.deleteTopics([{ name: `t${index}`, id: null }]);
    const expected = contents(before);
    await before.close();
    const names = (await disk.list(metadataDirectory)).map(({ name }) => name);
    expect(names).toHaveLength(2);
    expect(names).toContain("quorum-snapshot");
    const after = await metadataService({ disk, settings, isRegistered: false });
    expect(contents(after)).toEqual(expected);
  });

  test("never gives a producer id twice", async () => {
    const disk = new SimulatedDisk();
    const before = await metadataService({ disk });
    expect(await before.allocateProducerIds()).toEqual({ firstId: 0, count: 1000 });
    await before.close();
    expect(await (await metadataService({ disk })).allocateProducerIds()).toEqual({ firstId: 1000, count: 1000 });
  });

  test("raises the leader epochs of the partitions that the broker leads", async () => {
    const disk = new SimulatedDisk();
    const before = await metadataService({ disk });
    await before.createTopics([wish("a")]);
    await before.close();
    const after = await metadataService({ disk });
    expect(after.image.topic("a")?.partitions[0]).toMatchObject({ leader: 1, leaderEpoch: 1 });
  });

  test("refuses metadata that a newer version has finalised a feature in", async () => {
    const disk = new SimulatedDisk();
    await disk.makeDirectory(metadataDirectory);
    const payload = encodeBatch({
      offset: 0,
      timeMs: 0,
      records: [{ type: "feature", name: "metadata.version", level: 31 }],
    });
    await disk.writeFile(`${metadataDirectory}/00000000000000000000.log`, Buffer.concat([...encodeFrame(payload)]));
    await expect(metadataService({ disk })).rejects.toThrow(
      `unsupported-feature: ${metadataDirectory} needs metadata.version at level 31, which this version cannot serve`,
    );
  });

  test("refuses the metadata of another node, or of this one with another disk, where it is to be alone", async () => {
    const disk = new SimulatedDisk();
    await (await metadataService({ disk })).close();
    await expect(metadataService({ disk, directoryId: "DDDDDDDDDDDDDDDDDDDDDQ" })).rejects.toThrow(
      `other-quorum: the metadata in ${metadataDirectory} is that of controllers 1:BBBBBBBBBBBBBBBBBBBBBQ, and this node, 1:DDDDDDDDDDDDDDDDDDDDDQ, is set up to be alone`,
    );
  });

  test("warns of a setting that is not valid any more, and goes on without it", async () => {
    const disk = new SimulatedDisk();
    const id = "CCCCCCCCCCCCCCCCCCCCCQ";
    const config = { type: "config", resourceType: 2, resourceName: "a", name: "segment.bytes", value: "1" } as const;
    const payload = encodeBatch({ offset: 0, timeMs: 0, records: [{ type: "topic", name: "a", id }, config] });
    await disk.makeDirectory(metadataDirectory);
    await disk.writeFile(`${metadataDirectory}/00000000000000000000.log`, Buffer.concat([...encodeFrame(payload)]));
    const warnings: unknown[] = [];
    const logger = { ...silentLogger, warn: (_: string, fields?: object) => void warnings.push(fields) };
    const after = await metadataService({ disk, logger });
    expect(warnings).toEqual([
      { topic: "a", reason: "Invalid value 1 for configuration segment.bytes: Value must be at least 1048576" },
    ]);
    expect(after.configs.topic("a")["segment.bytes"]).toBe(1_073_741_824);
  });
});

describe("a change", () => {
  test("is on the disk and told to every listener before it is answered", async () => {
    const inner = new SimulatedDisk();
    const disk = await RecordingDisk.over(inner, ".");
    const service = await metadataService({ disk });
    const order: string[] = [];
    service.onChange(async ({ changedTopics }: MetadataDelta, image) => {
      expect(image.topic("a")).toBe(changedTopics[0]);
      await Promise.resolve();
      order.push("listener");
    });
    const release = disk.faults.holdSyncs();
    const answer = service.createTopics([wish("a")]).then(() => order.push("answer"));
    for (let turn = 0; turn < 20; turn++) await Promise.resolve();
    expect(order).toEqual([]);
    expect(service.image.topic("a")).toBeUndefined();
    order.push("synced");
    release();
    await answer;
    expect(order).toEqual(["synced", "listener", "answer"]);
  });

  test("is decided from an image that holds the one before", async () => {
    const service = await metadataService();
    const results = await Promise.all([service.createTopics([wish("a")]), service.createTopics([wish("a")])]);
    expect(results.map(([result]) => (result?.ok === true ? "ok" : result?.failure))).toEqual(["ok", "topic-exists"]);
  });

  test("that is only validated changes nothing", async () => {
    const service = await metadataService();
    const { offset } = service.image;
    const [result] = await service.createTopics([wish("a")], { validateOnly: true });
    expect(result).toMatchObject({ ok: true, value: { numPartitions: 1 } });
    await service.createTopics([wish("b")]);
    await service.createPartitions([{ name: "b", count: 2, assignments: null }], { validateOnly: true });
    await service.alterConfigs(setTopic("b", "retention.ms", "5"), { validateOnly: true });
    expect(service.image.topic("a")).toBeUndefined();
    expect(service.image.offset).toBe(offset + 2);
  });

  test("that finds no room on the disk is refused; the next one is taken", async () => {
    const disk = await RecordingDisk.over(new SimulatedDisk(), ".");
    const service = await metadataService({ disk });
    disk.faults.failNextWrite({ code: "ENOSPC" });
    expect(await service.createTopics([wish("a"), wish("b")])).toMatchObject([
      { ok: false, failure: "metadata-unavailable" },
      { ok: false, failure: "metadata-unavailable" },
    ]);
    expect(await service.createTopics([wish("a")])).toMatchObject([{ ok: true }]);
  });

  test("that could not be synced stops the broker", async () => {
    const disk = await RecordingDisk.over(new SimulatedDisk(), ".");
    const fatal: unknown[] = [];
    const service = await metadataService({ disk, fatal: (error) => void fatal.push(error) });
    disk.faults.failNextSync();
    await expect(service.allocateProducerIds()).rejects.toThrow(MetadataUnavailable);
    expect(fatal).toHaveLength(1);
    expect(await service.createTopics([wish("a")])).toMatchObject([{ failure: "metadata-unavailable" }]);
    expect(service.image.topic("a")).toBeUndefined();
  });

  test("is made even if a listener cannot follow it", async () => {
    const errors: unknown[] = [];
    const logger = { ...silentLogger, error: (message: string) => void errors.push(message) };
    const service = await metadataService({ logger });
    service.onChange(() => {
      throw new Error("no room for the log");
    });
    expect(await service.createTopics([wish("a")])).toMatchObject([{ ok: true }]);
    expect(errors).toEqual(["a metadata change could not be followed"]);
  });

  test("is refused while the broker stops", async () => {
    const service = await metadataService();
    const last = service.createTopics([wish("a")]);
    const closed = service.close();
    const late = service.createTopics([wish("b")]);
    expect(await last).toMatchObject([{ ok: true }]);
    expect(await late).toMatchObject([{ failure: "metadata-unavailable" }]);
    await closed;
  });

  test("a snapshot that cannot be written is tried again later", async () => {
    const disk = await RecordingDisk.over(new SimulatedDisk(), ".");
    const settings = { "metadata.log.max.record.bytes.between.snapshots": "3000" };
    const service = await metadataService({ disk, settings });
    for (let index = 0; index < 200; index++) {
      if (index < 40) disk.faults.failNextWrite({ code: "ENOSPC", matches: (path) => path.endsWith(".tmp") });
      expect(await service.createTopics([wish(`t${index}`)])).toMatchObject([{ ok: true }]);
    }
    await service.close();
    const after = await metadataService({ disk, settings, isRegistered: false });
    expect(after.image.topicCount).toBe(200);
  });
});

test("topics that clients ask for have the defaults; internal ones what they need", async () => {
  const service = await metadataService({ settings: { "num.partitions": "4" } });
  expect(await service.createMissingTopics(["a", "__consumer_offsets", "x y"])).toMatchObject([
    { ok: true, value: { numPartitions: 4 } },
    { ok: true, value: { numPartitions: 50 } },
    { ok: false, failure: "invalid-topic-name" },
  ]);
});

test("the features are finalised at the first start, and once", async () => {
  const disk = new SimulatedDisk();
  const first = await metadataService({ disk, isRegistered: false });
  expect(first.image.features).toEqual(
    new Map([
      ["metadata.version", 30],
      ["group.version", 1],
      ["transaction.version", 2],
    ]),
  );
  const { offset } = first.image;
  await first.close();
  expect((await metadataService({ disk, isRegistered: false })).image.offset).toBe(offset);
});

test("a second broker's registration leaves the first one's partitions alone", async () => {
  const service = await metadataService();
  await service.createTopics([wish("a")]);
  const { brokerEpoch } = await service.registerBroker(registration(2));
  expect(brokerEpoch).toBe(service.image.brokers.get(2)?.epoch);
  expect(service.image.topic("a")?.partitions[0]).toMatchObject({ leader: 1, leaderEpoch: 0 });
});
