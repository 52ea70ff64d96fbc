import { silentLogger } from "@millrace/base/logger";
import { failed, ok } from "@millrace/base/result";
import { simulatedWorld } from "@millrace/simulator/simulated-world";
import type { Uuid } from "@millrace/storage/types";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { brokerHeartbeat } from "kafka-protocol-ts/messages/63-broker-heartbeat";
import type { BrokerHeartbeatRequest } from "kafka-protocol-ts/messages/63-broker-heartbeat";
import { expect, test } from "vitest";
import type { LinkOptions } from "./controller/controller-link.ts";
import { BrokerLifecycle } from "./lifecycle.ts";

const uuid = "AAAAAAAAAAAAAAAAAAAAAQ" as Uuid;
const sessionMs = 9_000;
const heartbeatMs = 2_000;

/** A controller that answers after 10 ms, and lets everybody go who asks. */
function fakeController() {
  const { clock } = simulatedWorld({ seed: 1 });
  const state = { isThere: true, metadataOffset: 1 };
  const heartbeats: { readonly atMs: number; readonly metadataOffset: number; readonly wantShutDown: boolean }[] = [];
  const pause = (ms: number): Promise<void> => new Promise((resolve) => void clock.schedule(ms, resolve));
  const request = async (api: { readonly key: number }, message: unknown, { timeoutMs }: LinkOptions) => {
    if (api.key !== brokerHeartbeat.key) return ok({ errorCode: ErrorCode.NONE, brokerEpoch: 1 });
    const { currentMetadataOffset: metadataOffset, wantShutDown } = message as BrokerHeartbeatRequest;
    heartbeats.push({ atMs: clock.monotonicMs(), metadataOffset, wantShutDown });
    await pause(state.isThere ? 10 : timeoutMs);
    if (!state.isThere) return failed("no-controller");
    return ok({ errorCode: ErrorCode.NONE, isFenced: wantShutDown, shouldShutDown: wantShutDown });
  };
  const lifecycle = new BrokerLifecycle({
    link: { request: request as never },
    clock,
    logger: silentLogger,
    nodeId: 1,
    clusterId: "cluster",
    incarnationId: uuid,
    rack: null,
    endpoints: [],
    directoryIds: [uuid],
    isAlone: false,
    previousBrokerEpoch: -1,
    heartbeatMs,
    sessionMs,
    onRegistered: async () => {},
    metadataOffset: () => state.metadataOffset,
  });
  const begin = async (): Promise<void> => {
    await lifecycle.register();
    const live = lifecycle.live();
    await clock.advance(10);
    await live;
  };
  return { clock, state, heartbeats, lifecycle, begin };
}

test("news that comes while a heartbeat is under way is told soon, not with the next one that is due", async () => {
  const { clock, state, heartbeats, lifecycle, begin } = fakeController();
  await begin();
  await clock.advance(heartbeatMs);
  expect(heartbeats).toHaveLength(2);
  state.metadataOffset = 2;
  lifecycle.metadataFollowed();
  await clock.advance(100);
  expect(heartbeats.at(-1)).toMatchObject({ metadataOffset: 2 });
  await clock.advance(100);
  expect(heartbeats).toHaveLength(3);
  lifecycle.close();
});

test("whom the controller has let go is silent, and does not hold up the end of the process", async () => {
  const { clock, heartbeats, lifecycle, begin } = fakeController();
  await begin();
  const gone = lifecycle.shutDown(15_000);
  await clock.advance(10);
  await gone;
  const count = heartbeats.length;
  expect(heartbeats.at(-1)).toMatchObject({ wantShutDown: true });
  lifecycle.metadataFollowed();
  await clock.advance(2 * sessionMs);
  expect(heartbeats).toHaveLength(count);
  lifecycle.close();
});

test("a stop waits three seconds for a controller, where there is none any more", async () => {
  const { clock, state, lifecycle, begin } = fakeController();
  await begin();
  state.isThere = false;
  let isOver = false;
  const gone = lifecycle.shutDown(15_000).then(() => {
    isOver = true;
  });
  await clock.advance(2_900);
  expect(isOver).toBe(false);
  await clock.advance(200);
  expect(isOver).toBe(true);
  await gone;
  lifecycle.close();
});
