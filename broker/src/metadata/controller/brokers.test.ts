import { describe, expect, test } from "vitest";
import { ControllerWorld, outcome } from "../../../test/controller-world.ts";
import { registration } from "../../../test/metadata-world.ts";
import { beginShutdown, fenceBroker, unfenceBroker, unregisterBroker } from "./brokers.ts";
import { registerBroker } from "./registration.ts";
import type { BrokerRegistration, RegistrationOptions } from "./registration.ts";

describe("a broker that is fenced", () => {
  test("leads nothing and is in no ISR that has others; the next one in the order of the replicas leads", () => {
    const world = new ControllerWorld([1, 2, 3]);
    world.topic("a", [1, 2, 3], [2, 1, 3], [3, 2]);
    world.follow(fenceBroker(world.context, 1));
    expect(world.shown("a", 0)).toBe("(1) 2* 3 @1");
    expect(world.shown("a", 1)).toBe("2* (1) 3 @0");
    expect(world.shown("a", 2)).toBe("3* 2 @0");
    expect(world.brokers()).toEqual(["1 fenced", "2 unfenced", "3 unfenced"]);
  });

  test("stays in the ISR as the last one in sync, and leads again when it is back, before anybody else", () => {
    const world = new ControllerWorld([1, 2]);
    world.topic("a", [1, 2]);
    world.follow(fenceBroker(world.context, 1));
    world.follow(fenceBroker(world.context, 2));
    expect(world.shown("a")).toBe("(1) 2 @2");
    world.follow(unfenceBroker(world.context, 1));
    expect(world.shown("a")).toBe("(1) 2 @2");
    world.follow(unfenceBroker(world.context, 2));
    expect(world.shown("a")).toBe("(1) 2* @3");
  });

  test("is replaced by who is not in sync only where the topic allows it", () => {
    const world = new ControllerWorld([1, 2], { "unclean.leader.election.enable": "true" });
    world.topic("a", [1, 2]);
    world.follow(fenceBroker(world.context, 1));
    world.follow(fenceBroker(world.context, 2));
    world.follow(unfenceBroker(world.context, 1));
    expect(world.shown("a")).toBe("1* (2) @3");
  });

  test("is fenced once", () => {
    const world = new ControllerWorld([1]);
    world.follow(fenceBroker(world.context, 1));
    expect(fenceBroker(world.context, 1).records).toEqual([]);
    expect(fenceBroker(world.context, 7).records).toEqual([]);
    expect(unfenceBroker(world.context, 7).records).toEqual([]);
  });
});

describe("eligible leaders (KIP-966)", () => {
  function threeWithMinTwo(): ControllerWorld {
    const world = new ControllerWorld([1, 2, 3], { "min.insync.replicas": "2" });
    world.keepEligibleLeaders();
    world.topic("a", [1, 2, 3]);
    return world;
  }

  test("are those who left while too few were in sync, and one of them leads when nobody is", () => {
    const world = threeWithMinTwo();
    world.follow(fenceBroker(world.context, 3));
    expect(world.shown("a")).toBe("1* 2 (3) @0");
    world.follow(fenceBroker(world.context, 2));
    expect(world.shown("a")).toBe("1* (2) (3) @0 elr 2");
    world.follow(fenceBroker(world.context, 1));
    expect(world.shown("a")).toBe("(1) (2) (3) @1 elr 2 1 last 1");
    world.follow(unfenceBroker(world.context, 3));
    expect(world.shown("a")).toBe("(1) (2) (3) @1 elr 2 1 last 1");
    world.follow(unfenceBroker(world.context, 2));
    expect(world.shown("a")).toBe("(1) 2* (3) @2 elr 1");
  });

  test("are needed by nobody once one is enough", () => {
    const world = new ControllerWorld([1, 2], { "min.insync.replicas": "1" });
    world.keepEligibleLeaders();
    world.topic("a", [1, 2]);
    world.follow(fenceBroker(world.context, 1));
    expect(world.shown("a")).toBe("(1) 2* @1");
    world.follow(fenceBroker(world.context, 2));
    expect(world.shown("a")).toBe("(1) (2) @2 elr 2 last 2");
    world.follow(unfenceBroker(world.context, 2));
    expect(world.shown("a")).toBe("(1) 2* @3");
  });

  test("are not those who may have lost records; when all may have, who led last leads", () => {
    const world = threeWithMinTwo();
    for (const id of [3, 2, 1]) world.follow(fenceBroker(world.context, id));
    expect(world.shown("a")).toBe("(1) (2) (3) @1 elr 2 1 last 1");
    world.register(2);
    expect(world.shown("a")).toBe("(1) (2) (3) @1 elr 1 last 1");
    world.register(1);
    expect(world.shown("a")).toBe("(1) (2) (3) @1 last 1");
    world.follow(unfenceBroker(world.context, 2));
    expect(world.shown("a")).toBe("(1) (2) (3) @1 last 1");
    world.follow(unfenceBroker(world.context, 1));
    expect(world.shown("a")).toBe("1* (2) (3) @2");
  });

  test("stay eligible through a restart that lost nothing", () => {
    const world = threeWithMinTwo();
    for (const id of [3, 2, 1]) world.follow(fenceBroker(world.context, id));
    const previousBrokerEpoch = world.image.brokers.get(2)?.epoch ?? -1;
    const again = { ...registration(2), previousBrokerEpoch };
    world.follow(registerBroker(world.context, again, { isAlive: () => false }));
    expect(world.shown("a")).toBe("(1) (2) (3) @1 elr 2 1 last 1");
  });
});

describe("a broker that wants to stop", () => {
  test("gives away what it leads, and leaves the ISRs", () => {
    const world = new ControllerWorld([1, 2, 3]);
    world.topic("a", [1, 2, 3], [2, 1], [1]);
    world.follow(beginShutdown(world.context, 1));
    expect(world.shown("a", 0)).toBe("(1) 2* 3 @1");
    expect(world.shown("a", 1)).toBe("2* (1) @0");
    expect(world.shown("a", 2)).toBe("1 @1");
    expect(world.brokers()).toEqual(["1 stopping", "2 unfenced", "3 unfenced"]);
    expect(beginShutdown(world.context, 1).records).toEqual([]);
    expect(unfenceBroker(world.context, 1).records).toEqual([]);
  });

  test("is nobody's new leader", () => {
    const world = new ControllerWorld([1, 2, 3]);
    world.topic("a", [1, 2, 3]);
    world.follow(beginShutdown(world.context, 2));
    world.follow(fenceBroker(world.context, 1));
    expect(world.shown("a")).toBe("(1) (2) 3* @1");
  });

  test("is not about to stop any more when it is fenced", () => {
    const world = new ControllerWorld([1, 2]);
    world.follow(beginShutdown(world.context, 1));
    world.follow(fenceBroker(world.context, 1));
    expect(world.brokers()).toEqual(["1 fenced", "2 unfenced"]);
  });
});

test("a broker that is unregistered is gone, and its replicas wait to be moved", () => {
  const world = new ControllerWorld([1, 2]);
  world.topic("a", [1, 2]);
  expect(outcome(world.follow(unregisterBroker(world.context, 1)))).toBe("ok");
  expect(world.shown("a")).toBe("(1) 2* @1");
  expect(world.brokers()).toEqual(["2 unfenced"]);
  expect(outcome(unregisterBroker(world.context, 1).response)).toBe(
    "broker-not-registered: Broker ID 1 is not currently registered",
  );
});

describe("a registration", () => {
  const register = (
    world: ControllerWorld,
    given: Partial<BrokerRegistration> = {},
    options: Partial<RegistrationOptions> = {},
  ): string => {
    const decision = registerBroker(
      world.context,
      { ...registration(1), ...given },
      { isAlive: () => true, ...options },
    );
    const result = world.follow(decision);
    return result.ok ? `epoch ${result.value.brokerEpoch}` : outcome(result);
  };

  test("comes up fenced, under the offset of its record", () => {
    const world = new ControllerWorld([2]);
    const { offset } = world.image;
    expect(register(world)).toBe(`epoch ${offset + 1}`);
    expect(world.brokers()).toEqual(["2 unfenced", "1 fenced"]);
  });

  test("of the same process is the same; what it says anew is taken over", () => {
    const world = new ControllerWorld([]);
    const given = { incarnationId: "AAAAAAAAAAAAAAAAAAAAAQ" };
    const epoch = register(world, given);
    const { offset } = world.image;
    expect(register(world, given)).toBe(epoch);
    expect(world.image.offset).toBe(offset);
    expect(register(world, { ...given, rack: "r" })).toBe(epoch);
    expect(world.image.brokers.get(1)).toMatchObject({ rack: "r", isFenced: true });
  });

  test("of another process is refused while the first one lives, unless that is fenced or stops", () => {
    const refused =
      "duplicate-broker-registration: Another broker is registered with that broker id. If the broker was recently restarted this should self-resolve once the heartbeat manager expires the broker's session.";
    const world = new ControllerWorld([1]);
    expect(register(world)).toBe(refused);
    expect(register(world, {}, { isAlive: () => false })).toMatch(/^epoch/);
    expect(register(world)).toMatch(/^epoch/);
    world.follow(unfenceBroker(world.context, 1));
    world.follow(beginShutdown(world.context, 1));
    expect(register(world)).toMatch(/^epoch/);
  });

  test("takes from a broker that was not fenced yet what its earlier life led", () => {
    const world = new ControllerWorld([1, 2]);
    world.topic("a", [1, 2], [1], [2, 1]);
    register(world, {}, { isAlive: () => false });
    expect(world.shown("a", 0)).toBe("(1) 2* @1");
    expect(world.shown("a", 1)).toBe("1 @1");
    expect(world.shown("a", 2)).toBe("2* (1) @0");
    world.follow(unfenceBroker(world.context, 1));
    expect(world.shown("a", 1)).toBe("1* @2");
  });

  test("of a broker that is the whole cluster leads at once, under new epochs", () => {
    const world = new ControllerWorld([1]);
    world.topic("a", [1], [1]);
    world.follow(fenceBroker(world.context, 1));
    register(world, {}, { isUnfencedAtOnce: true });
    expect(world.brokers()).toEqual(["1 unfenced"]);
    expect(world.shown("a")).toBe("1* @2");
    register(world, {}, { isUnfencedAtOnce: true, isAlive: () => false });
    expect([world.shown("a", 0), world.shown("a", 1)]).toEqual(["1* @3", "1* @3"]);
  });

  test("in another cluster is refused", () => {
    const world = new ControllerWorld([]);
    expect(register(world, { clusterId: "b" }, { clusterId: "a" })).toBe(
      "inconsistent-cluster-id: Expected cluster ID a, but got cluster ID b",
    );
    expect(register(world, { clusterId: "a" }, { clusterId: "a" })).toMatch(/^epoch/);
  });

  test("of a version that cannot serve what is finalised is refused", () => {
    const world = new ControllerWorld([]);
    world.keepEligibleLeaders();
    expect(register(world, { features: [] })).toBe(
      "unsupported-version: Unable to register because the broker does not support finalized version 1 of eligible.leader.replicas.version. The broker wants a version between 0 and 0, inclusive.",
    );
    const features = [{ name: "eligible.leader.replicas.version", minVersion: 0, maxVersion: 1 }];
    expect(register(world, { features })).toMatch(/^epoch/);
  });
});
