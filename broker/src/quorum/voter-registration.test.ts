import { afterEach, describe, expect, test } from "vitest";
import { updateRaftVoter } from "kafka-protocol-ts/messages/82-update-raft-voter";
import type { UpdateRaftVoterRequest } from "kafka-protocol-ts/messages/82-update-raft-voter";
import { failed, ok } from "@millrace/base/result";
import { call } from "../../test/handler-call.ts";
import { directoryIdOf, QuorumWorld } from "../../test/quorum-world.ts";
import { updateRaftVoterHandler } from "../apis/82-update-raft-voter.ts";
import { listenersOf } from "../config/listeners.ts";
import { BrokerConfigs } from "../config/broker-configs.ts";
import type { ControllerLink } from "../controller/controller-link.ts";
import { controllerEndpoints } from "../startup/plan.ts";
import { VoterRegistration } from "./voter-registration.ts";

let world: QuorumWorld;
const registrations: VoterRegistration[] = [];
afterEach(async () => {
  for (const each of registrations.splice(0)) each.close();
  await world.close();
});

function register(nodeId: number, given: { readonly port?: number; readonly isLost?: () => boolean } = {}): number[] {
  const { metadata } = world.node(nodeId);
  const codes: number[] = [];
  const link = {
    async request(_: unknown, message: UpdateRaftVoterRequest) {
      if (given.isLost?.() === true) return failed("no-controller");
      const apis = { api: updateRaftVoter, handler: updateRaftVoterHandler };
      const answer = await call(world.active.services, apis, 0, message);
      codes.push(answer.errorCode);
      return ok(answer);
    },
  } as unknown as ControllerLink;
  const endpoints = [{ listener: "CONTROLLER", host: `host${nodeId}`, port: given.port ?? 9093 }];
  registrations.push(new VoterRegistration({ metadata, link, clock: world.clock, clusterId: "cluster-1", endpoints }));
  return codes;
}

describe("a voter that says where it is", () => {
  test("says it once, and anew where it is somewhere else", async () => {
    world = await QuorumWorld.start({ voters: [1, 2, 3] });
    const codes = [1, 2, 3].map((nodeId) => register(nodeId));
    await world.until(() => world.image.controllers.size === 3);
    await world.clock.advance(5_000);
    expect(codes).toEqual([[0], [0], [0]]);
    registrations.splice(0).forEach((each) => each.close());
    register(2, { port: 9999 });
    await world.until(() => world.image.controllers.get(2)?.endpoints[0]?.port === 9999);
    expect(world.image.controllers.get(2)?.directoryId).toBe(directoryIdOf(2));
  });

  test("tries again until it is heard, and who has no vote says nothing", async () => {
    world = await QuorumWorld.start({ voters: [1, 2, 3] });
    await world.add(4, { voters: [1, 2, 3] });
    let isLost = true;
    const codes = register(2, { isLost: () => isLost });
    const ofLearner = register(4);
    await world.clock.advance(3_000);
    expect(world.image.controllers.size).toBe(0);
    isLost = false;
    await world.until(() => world.image.controllers.has(2));
    await world.clock.advance(3_000);
    expect([codes, ofLearner]).toEqual([[0], []]);
  });
});

describe("where a controller is reached", () => {
  function endpointsOf(listeners: string, controllers: readonly (readonly [number, string])[]): string[] {
    const texts = new Map(Object.entries({ listeners, "controller.listener.names": "CONTROLLER" }));
    const overrides = { configVersion: 0, configsOf: () => new Map<string, string>() };
    const { broker } = new BrokerConfigs({ nodeId: 1, texts, overrides });
    const parsed = listenersOf(broker);
    if (!parsed.ok) throw new Error(parsed.message);
    const known = new Map(controllers.map(([id, host]) => [id, { host, port: 7 }]));
    const plan = { nodeId: 1, isBroker: true, isController: true, isClustered: true, interBrokerListener: "" };
    return controllerEndpoints({ ...plan, listeners: parsed.value, controllers: known }).map(
      ({ listener, host, port }) => `${listener}://${host}:${port}`,
    );
  }

  test("as all settings say it, or as its own listener does", async () => {
    world = await QuorumWorld.start({ voters: [1] });
    const own = "PLAINTEXT://localhost:9092,CONTROLLER://10.0.0.1:9093";
    expect(endpointsOf(own, [[1, "one"]])).toEqual(["CONTROLLER://one:7"]);
    expect(endpointsOf(own, [[2, "two"]])).toEqual(["CONTROLLER://10.0.0.1:9093"]);
    expect(endpointsOf("PLAINTEXT://localhost:9092,CONTROLLER://:9093", [[2, "two"]])).toEqual([]);
    expect(endpointsOf("PLAINTEXT://localhost:9092,CONTROLLER://0.0.0.0:9093", [])).toEqual([]);
    expect(endpointsOf("PLAINTEXT://localhost:9092,CONTROLLER://localhost:0", [])).toEqual([]);
    expect(endpointsOf("PLAINTEXT://localhost:9092", [[1, "one"]])).toEqual([]);
  });
});
