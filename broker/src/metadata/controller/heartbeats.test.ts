import { describe, expect, test } from "vitest";
import { ControllerWorld, outcome } from "../../../test/controller-world.ts";
import { fenceBroker } from "./brokers.ts";
import { BrokerSessions, heartbeat } from "./heartbeats.ts";
import type { HeartbeatRequest } from "./heartbeats.ts";

/** "fenced", "unfenced" or "may stop", and whether the broker has read its registration. */
function beat(world: ControllerWorld, sessions: BrokerSessions, given: Partial<HeartbeatRequest> = {}): string {
  const { brokerId = 1 } = given;
  const currentMetadataOffset = given.currentMetadataOffset ?? world.image.offset;
  sessions.touch(brokerId, 0, currentMetadataOffset);
  const { epoch } = world.image.brokers.get(brokerId) ?? { epoch: -1 };
  const request = {
    brokerId,
    brokerEpoch: epoch,
    wantFence: false,
    wantShutDown: false,
    ...given,
    currentMetadataOffset,
  };
  const result = world.follow(heartbeat(world.context, sessions, request));
  if (!result.ok) return outcome(result);
  const { isCaughtUp, isFenced, shouldShutDown } = result.value;
  const state = isFenced ? "fenced" : "unfenced";
  return `${state}${shouldShutDown ? ", may stop" : ""}${isCaughtUp ? "" : ", behind"}`;
}

describe("a heartbeat", () => {
  test("unfences a broker that has read its registration and wants it", () => {
    const world = new ControllerWorld([2]);
    world.register(1);
    const sessions = new BrokerSessions();
    const { epoch } = world.image.brokers.get(1)!;
    expect(beat(world, sessions, { currentMetadataOffset: epoch - 1 })).toBe("fenced, behind");
    expect(beat(world, sessions, { currentMetadataOffset: epoch, wantFence: true })).toBe("fenced");
    expect(beat(world, sessions, { currentMetadataOffset: epoch })).toBe("unfenced");
    const { offset } = world.image;
    expect(beat(world, sessions)).toBe("unfenced");
    expect(world.image.offset).toBe(offset);
    expect(beat(world, sessions, { wantFence: true })).toBe("fenced");
    expect(world.brokers()).toEqual(["2 unfenced", "1 fenced"]);
  });

  test("of an earlier life, or of nobody, is stale", () => {
    const world = new ControllerWorld([1]);
    const sessions = new BrokerSessions();
    const { epoch } = world.image.brokers.get(1)!;
    expect(beat(world, sessions, { brokerEpoch: epoch - 1 })).toBe(
      `stale-broker-epoch: Expected broker epoch ${epoch}, but got broker epoch ${epoch - 1}`,
    );
    expect(beat(world, sessions, { brokerId: 7 })).toBe(
      "stale-broker-epoch: No broker registration found for broker id 7",
    );
  });

  test("of a broker that wants to stop: it leads nothing, and the others have heard of it, before it may", () => {
    const world = new ControllerWorld([1, 2, 3]);
    world.topic("a", [1, 2, 3]);
    const sessions = new BrokerSessions();
    beat(world, sessions, { brokerId: 2 });
    beat(world, sessions, { brokerId: 3 });
    expect(beat(world, sessions, { wantShutDown: true })).toBe("unfenced");
    expect(world.brokers()[0]).toBe("1 stopping");
    expect(world.shown("a")).toBe("(1) 2* 3 @1");
    expect(beat(world, sessions, { wantShutDown: true })).toBe("unfenced");
    beat(world, sessions, { brokerId: 2 });
    expect(beat(world, sessions, { wantShutDown: true })).toBe("unfenced");
    // What is read later counts for the offset that was noted first.
    world.topic("b", [2, 3]);
    beat(world, sessions, { brokerId: 3, currentMetadataOffset: world.image.offset - 2 });
    expect(beat(world, sessions, { wantShutDown: true })).toBe("fenced, may stop");
    expect(world.brokers()[0]).toBe("1 fenced");
    expect(beat(world, sessions, { wantShutDown: true })).toBe("fenced, may stop");
  });

  test("of a broker that leads nothing, or is alone: it may stop at once, or after one more", () => {
    const world = new ControllerWorld([1, 2]);
    world.topic("a", [2, 1]);
    const sessions = new BrokerSessions();
    expect(beat(world, sessions, { wantShutDown: true })).toBe("fenced, may stop");
    expect(world.shown("a")).toBe("2* (1) @0");
    expect(beat(world, sessions, { brokerId: 2, wantShutDown: true })).toBe("unfenced");
    expect(beat(world, sessions, { brokerId: 2, wantShutDown: true })).toBe("fenced, may stop");
    expect(world.shown("a")).toBe("2 (1) @1");
  });

  test("says which directories take nothing new", () => {
    const world = new ControllerWorld([1]);
    const sessions = new BrokerSessions();
    const cordoned = (): unknown => world.image.brokers.get(1)?.cordonedDirectoryIds;
    beat(world, sessions, { cordonedDirectoryIds: ["x"] });
    expect(cordoned()).toEqual(["x"]);
    beat(world, sessions, { cordonedDirectoryIds: null });
    expect(cordoned()).toEqual(["x"]);
    beat(world, sessions, { cordonedDirectoryIds: [], wantFence: true });
    expect(cordoned()).toEqual([]);
    expect(world.brokers()).toEqual(["1 fenced"]);
  });
});

describe("sessions", () => {
  test("end after a silence; who was silent for longest comes first; fenced brokers have none to lose", () => {
    const world = new ControllerWorld([1, 2, 3, 4]);
    world.follow(fenceBroker(world.context, 4));
    const sessions = new BrokerSessions();
    sessions.touch(1, 100, 0);
    sessions.touch(2, 50, 0);
    sessions.touch(3, 1000, 0);
    expect(sessions.expired(world.image, 1099, 1000)).toEqual([2]);
    expect(sessions.expired(world.image, 1100, 1000)).toEqual([2, 1]);
    expect([1, 2, 3, 4].map((id) => sessions.isAlive(id, 1099, 1000))).toEqual([true, false, true, false]);
    sessions.forget(3);
    expect(sessions.isAlive(3, 1000, 1000)).toBe(false);
  });

  test("begin anew with another controller", () => {
    const world = new ControllerWorld([1, 2]);
    const sessions = new BrokerSessions();
    expect(sessions.expired(world.image, 0, 1000)).toEqual([1, 2]);
    sessions.reset(world.image, 5000);
    expect(sessions.expired(world.image, 5999, 1000)).toEqual([]);
    expect(sessions.expired(world.image, 6000, 1000)).toEqual([1, 2]);
  });
});
