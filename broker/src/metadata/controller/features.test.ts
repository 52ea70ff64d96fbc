import { describe, expect, test } from "vitest";
import { ControllerWorld, outcome } from "../../../test/controller-world.ts";
import { registration } from "../../../test/metadata-world.ts";
import { clusterFeatures, supportedFeatures } from "../features.ts";
import { alterConfigs } from "./alter-configs.ts";
import type { ResourceChanges } from "./alter-configs.ts";
import { fenceBroker, unfenceBroker } from "./brokers.ts";
import { updateFeatures, UpgradeType } from "./features.ts";
import type { FeatureUpdate } from "./features.ts";
import { registerBroker } from "./registration.ts";

const elr = "eligible.leader.replicas.version";
const { UPGRADE, SAFE_DOWNGRADE, UNSAFE_DOWNGRADE } = UpgradeType;
const all = [...supportedFeatures, ...clusterFeatures];

function update(world: ControllerWorld, ...updates: readonly (readonly [string, number, number])[]): string {
  const wishes = updates.map(([feature, level, upgradeType]): FeatureUpdate => ({ feature, level, upgradeType }));
  return outcome(world.follow(updateFeatures(world.context, wishes, all)));
}

/** What a topic, or with an empty name all brokers, need in sync. */
function minInSync(name: string, value: string | null): ResourceChanges {
  const change = { name: "min.insync.replicas", operation: value === null ? 1 : 0, value };
  return { type: name === "" ? 4 : 2, name, changes: [change], replacesAll: false };
}

describe("UpdateFeatures", () => {
  test("finalises levels, and takes them back where that is allowed", () => {
    const world = new ControllerWorld([1]);
    expect(update(world, [elr, 1, UPGRADE], ["group.version", 1, UPGRADE])).toBe("ok");
    expect([...world.image.features]).toEqual([
      [elr, 1],
      ["group.version", 1],
    ]);
    const { offset } = world.image;
    expect(update(world, [elr, 1, UPGRADE])).toBe("ok");
    expect(world.image.offset).toBe(offset);
    expect(update(world, ["group.version", 0, SAFE_DOWNGRADE], [elr, 0, UNSAFE_DOWNGRADE])).toBe("ok");
    expect([...world.image.features]).toEqual([]);
  });

  test.for<[readonly (readonly [string, number, number])[], string]>([
    [
      [["nope", 1, UPGRADE]],
      "Invalid update version 1 for feature nope. Local controller 1 does not support this feature.",
    ],
    [[[elr, 2, UPGRADE]], `Invalid update version 2 for feature ${elr}. Local controller 1 only supports versions 0-1`],
    [[[elr, -1, UPGRADE]], `Invalid update version -1 for feature ${elr}. A feature version cannot be less than 0.`],
    [
      [[elr, 1, 0]],
      `Invalid update version 1 for feature ${elr}. The controller does not support the given upgrade type.`,
    ],
    [[[elr, 1, SAFE_DOWNGRADE]], `Invalid update version 1 for feature ${elr}. Can't downgrade to a newer version.`],
    [
      [["kraft.version", 0, UPGRADE]],
      "Invalid update version 0 for feature kraft.version. Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.",
    ],
    [
      [["kraft.version", 0, UNSAFE_DOWNGRADE]],
      "Invalid update version 0 for feature kraft.version. Can't downgrade the version of this feature.",
    ],
  ])("%j is refused", ([updates, message]) => {
    const world = new ControllerWorld([1]);
    update(world, ["kraft.version", 1, UPGRADE]);
    expect(update(world, ...updates)).toBe(`invalid-update-version: ${message}`);
  });

  test("one that cannot be made keeps the others from being made", () => {
    const world = new ControllerWorld([1]);
    expect(update(world, ["group.version", 1, UPGRADE], [elr, 9, UPGRADE])).toMatch(/^invalid-update-version/);
    expect(update(world, [elr, 1, UPGRADE], [elr, 1, UPGRADE])).toMatch(/^bad-request/);
    expect([...world.image.features]).toEqual([]);
  });

  test("every broker that is registered must know the level", () => {
    const world = new ControllerWorld([1]);
    const features = [{ name: elr, minVersion: 0, maxVersion: 0 }];
    world.follow(registerBroker(world.context, { ...registration(2), features }, { isAlive: () => false }));
    expect(update(world, [elr, 1, UPGRADE])).toBe(
      `invalid-update-version: Invalid update version 1 for feature ${elr}. Broker 2 only supports versions 0-0`,
    );
    expect(update(world, ["kraft.version", 1, UPGRADE])).toBe(
      "invalid-update-version: Invalid update version 1 for feature kraft.version. Broker 2 does not support this feature.",
    );
  });
});

test("a broker that is registered may have settings of its own, whichever node decides", () => {
  const { context } = new ControllerWorld([1, 2]);
  const changes = [{ name: "leader.replication.throttled.rate", operation: 0, value: "5" }];
  const resources = ["2", "3"].map((name) => ({ type: 4, name, changes, replacesAll: false }));
  expect(alterConfigs(context, resources).response.map(outcome)).toEqual([
    "ok",
    "bad-request: Unexpected broker id, expected 1, but received 3",
  ]);
});

describe("with eligible leader replicas (KIP-966)", () => {
  /** Partition 0 of topic a: 1 leads alone, and 2 is eligible. */
  function tooFewInSync(): ControllerWorld {
    const world = new ControllerWorld([1, 2], { "min.insync.replicas": "2" });
    world.keepEligibleLeaders();
    world.topic("a", [1, 2]);
    world.topic("b", [1, 2]);
    world.follow(fenceBroker(world.context, 2));
    expect([world.shown("a"), world.shown("b")]).toEqual(["1* (2) @0 elr 2", "1* (2) @0 elr 2"]);
    return world;
  }

  test("the log says how many must be in sync, for all brokers", () => {
    const world = new ControllerWorld([1], { "min.insync.replicas": "2" });
    world.follow(alterConfigs(world.context, [{ ...minInSync("", "3"), name: "1" }]));
    world.keepEligibleLeaders();
    expect([...world.image.configsOf(4, "")]).toEqual([["min.insync.replicas", "3"]]);
    expect([...world.image.configsOf(4, "1")]).toEqual([]);
  });

  test("no broker may differ from the others in it", () => {
    const { context } = tooFewInSync();
    const results = alterConfigs(context, [{ ...minInSync("", "2"), name: "1" }, minInSync("", null)]).response;
    expect(results.map(outcome)).toEqual([
      "invalid-config: Broker-level min.insync.replicas cannot be altered while ELR is enabled.",
      "invalid-config: Cluster-level min.insync.replicas cannot be removed while ELR is enabled.",
    ]);
  });

  test("nobody is eligible any more where fewer must be in sync", () => {
    const world = tooFewInSync();
    world.follow(alterConfigs(world.context, [minInSync("a", "1")]));
    expect([world.shown("a"), world.shown("b")]).toEqual(["1* (2) @0", "1* (2) @0 elr 2"]);
    world.follow(alterConfigs(world.context, [minInSync("b", "2"), minInSync("", "1")]));
    expect(world.shown("b")).toBe("1* (2) @0 elr 2");
    world.follow(alterConfigs(world.context, [minInSync("b", null)]));
    expect(world.shown("b")).toBe("1* (2) @0");
  });

  test("a number for all brokers counts where the topic has none, once for each partition", () => {
    const world = tooFewInSync();
    world.follow(alterConfigs(world.context, [minInSync("", "1"), minInSync("a", "1")]));
    expect([world.shown("a"), world.shown("b")]).toEqual(["1* (2) @0", "1* (2) @0"]);
  });

  test("given up, nobody is eligible but where nobody is in sync", () => {
    const world = tooFewInSync();
    world.topic("c", [1]);
    expect(update(world, [elr, 0, SAFE_DOWNGRADE])).toBe("ok");
    expect(world.shown("a")).toBe("1* (2) @0");
    world.keepEligibleLeaders();
    world.follow(fenceBroker(world.context, 1));
    expect(world.shown("c")).toBe("(1) @1 elr 1 last 1");
    update(world, [elr, 0, SAFE_DOWNGRADE]);
    expect(world.shown("c")).toBe("(1) @1 elr 1 last 1");
    world.follow(unfenceBroker(world.context, 1));
    expect(world.shown("c")).toBe("1* @2");
  });
});
