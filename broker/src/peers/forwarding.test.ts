import { silentLogger } from "@millrace/base/logger";
import type { Result } from "@millrace/base/result";
import { SeededRandom } from "@millrace/simulator/seeded-random";
import { simulatedWorld } from "@millrace/simulator/simulated-world";
import type { SimulatedWorld } from "@millrace/simulator/simulated-world";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { writeRequestHeader } from "kafka-protocol-ts/header";
import { createTopics } from "kafka-protocol-ts/messages/19-create-topics";
import type { CreateTopicsResponse, CreateTopicsResponseInput } from "kafka-protocol-ts/messages/19-create-topics";
import { envelope } from "kafka-protocol-ts/messages/58-envelope";
import type { EnvelopeRequest, EnvelopeResponseInput } from "kafka-protocol-ts/messages/58-envelope";
import { brokerHeartbeat } from "kafka-protocol-ts/messages/63-broker-heartbeat";
import { allocateProducerIds } from "kafka-protocol-ts/messages/67-allocate-producer-ids";
import { ByteWriter } from "kafka-protocol-ts/writer";
import { beforeEach, describe, expect, test } from "vitest";
import { answerBytes, FakePeer } from "../../test/fake-peer.ts";
import { serveNode } from "../../test/served-node.ts";
import { bindHandlers, handler } from "../apis/handler.ts";
import type { BoundHandler, RequestContext } from "../apis/handler.ts";
import type { Server } from "../network/server.ts";
import type { Services } from "../services.ts";
import { ControllerChannel, saysNotController } from "./controller-channel.ts";
import type { ActiveController } from "./controller-channel.ts";
import { forwardableKeys, unwrap } from "./envelope-handler.ts";
import { Forwarder } from "./forwarding.ts";
import { addressBytes, hostOf } from "./host-address.ts";
import { Peers } from "./peers.ts";
import { anonymous, principalBytes, readPrincipal } from "./principal.ts";

let world: SimulatedWorld;
let active: ActiveController | null;
let peers: Peers;
let channel: ControllerChannel;
let forwarder: Forwarder;

beforeEach(() => {
  world = simulatedWorld({ seed: 5, latencyMs: 1 });
  const { clock, network } = world;
  active = null;
  const random = new SeededRandom(9);
  peers = new Peers({ network, clock, random, logger: silentLogger, clientId: "1", connectTimeoutMs: 1_000 });
  channel = new ControllerChannel({ peers, clock, purpose: "forwarding", activeController: () => active });
  forwarder = new Forwarder({ channel, clock });
});

async function settled<T>(promise: Promise<T>, withinMs = 60_000): Promise<T> {
  let isSettled = false;
  void promise.finally(() => (isSettled = true));
  await world.clock.runUntil(() => isSettled, { withinMs });
  return promise;
}

function placeOf(node: number): ActiveController {
  return { nodeId: node, address: { host: `10.0.0.${node}`, port: 9093 } };
}

/** A controller with a real server, and what it was asked to do. */
class Controller {
  readonly node: number;
  readonly done: { readonly topic: string; readonly context: RequestContext }[] = [];
  isActive = true;
  /** Before it answers. */
  gate: Promise<void> = Promise.resolve();
  server: Server | null = null;

  constructor(node: number) {
    this.node = node;
  }

  async serve(): Promise<this> {
    const create = handler(createTopics, async (_, { topics }, context): Promise<CreateTopicsResponseInput> => {
      await this.gate;
      const errorCode = this.isActive ? ErrorCode.NONE : ErrorCode.NOT_CONTROLLER;
      if (this.isActive) this.done.push(...topics.map(({ name }) => ({ topic: name, context })));
      return {
        throttleTimeMs: 0,
        topics: topics.map(({ name }) => ({ name, errorCode, errorMessage: `by ${this.node}` })),
      };
    });
    const handlers = bindHandlers({} as Services, [create]);
    const envelopes = handler(envelope, async (services, request, context) =>
      unwrap(request, { handlers, logger: services.logger, context }),
    );
    const allocate = handler(allocateProducerIds, async () => {
      await this.gate;
      const errorCode = this.isActive ? ErrorCode.NONE : ErrorCode.NOT_CONTROLLER;
      return { throttleTimeMs: 0, errorCode, producerIdStart: 1_000 * this.node, producerIdLen: 1_000 };
    });
    const { address } = placeOf(this.node);
    this.server = await serveNode({ ...world, address, handlers: [envelopes, allocate] });
    return this;
  }

  kill(): void {
    void this.server?.close(0);
  }
}

const from = { clientId: "admin-1", correlationId: 77, clientHost: "192.168.7.9" };

function create(name: string, timeoutMs = 5_000, version = 7): Promise<Result<CreateTopicsResponse, ErrorCode>> {
  const request = {
    topics: [{ name, numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] }],
    timeoutMs: 1,
  };
  const deadlineMs = world.clock.monotonicMs() + timeoutMs;
  return forwarder.forward(createTopics, version, { ...request, validateOnly: false }, from, deadlineMs);
}

function answeredBy(result: Result<CreateTopicsResponse, ErrorCode>): string | null | undefined {
  return result.ok ? result.value.topics[0]?.errorMessage : `failed: ${result.failure}`;
}

describe("a client's request", () => {
  test.for([2, 4, 5, 7])(
    "goes to the controller as its client sent it, and its answer comes back (v%i)",
    async (version) => {
      const controller = await new Controller(1).serve();
      active = placeOf(1);
      const answer = await settled(create("orders", 5_000, version));
      expect(answer).toMatchObject({
        ok: true,
        value: { topics: [{ name: "orders", errorCode: 0, errorMessage: "by 1" }] },
      });
      expect(controller.done).toMatchObject([
        {
          topic: "orders",
          context: {
            ...{ version, clientId: "admin-1", correlationId: 77 },
            connection: { clientHost: "192.168.7.9", listenerName: "CONTROLLER", kind: "controller" },
          },
        },
      ]);
    },
  );

  test("waits for a controller, and goes as soon as there is one", async () => {
    const controller = await new Controller(2).serve();
    const asking = create("orders");
    await world.clock.advance(1_050);
    active = placeOf(2);
    channel.controllerChanged();
    expect(answeredBy(await settled(asking))).toBe("by 2");
    expect(world.clock.monotonicMs()).toBeLessThan(1_060);
    expect(controller.done).toHaveLength(1);
  });

  test("is noticed to have a controller within a moment, where nobody tells", async () => {
    await new Controller(2).serve();
    const asking = create("orders");
    await world.clock.advance(1_050);
    active = placeOf(2);
    expect(answeredBy(await settled(asking))).toBe("by 2");
    expect(world.clock.monotonicMs()).toBeLessThan(1_200);
  });

  test("without a controller in time: REQUEST_TIMED_OUT", async () => {
    const answer = await settled(create("orders", 700));
    expect(answer).toMatchObject({ failure: ErrorCode.REQUEST_TIMED_OUT });
    expect(world.clock.monotonicMs()).toBeCloseTo(700, 0);
    expect(world.clock.pendingTimers).toBe(0);
  });

  test("to one that is not active any more: goes on to the next one", async () => {
    const [old, next] = [await new Controller(1).serve(), await new Controller(2).serve()];
    old.isActive = false;
    active = placeOf(1);
    const asking = create("orders");
    await world.clock.advance(400);
    active = placeOf(2);
    expect(answeredBy(await settled(asking))).toBe("by 2");
    expect([old.done, next.done].map(({ length }) => length)).toEqual([0, 1]);
  });

  test("to one that is not active, and there is no other: asked a few times a second, until the time is over", async () => {
    const old = await new Controller(1).serve();
    old.isActive = false;
    active = placeOf(1);
    let asked = 0;
    const gate = Promise.resolve();
    Object.defineProperty(old, "gate", { get: () => (asked++, gate) });
    expect(await settled(create("orders", 3_000))).toMatchObject({ failure: ErrorCode.REQUEST_TIMED_OUT });
    expect(asked).toBeGreaterThan(10);
    expect(asked).toBeLessThan(40);
  });

  test("the controller is killed in the middle: the next one does it", async () => {
    const [old, next] = [await new Controller(1).serve(), await new Controller(2).serve()];
    old.gate = new Promise(() => undefined);
    active = placeOf(1);
    const asking = create("orders");
    await world.clock.advance(100);
    old.kill();
    await world.clock.advance(600);
    active = placeOf(2);
    expect(answeredBy(await settled(asking))).toBe("by 2");
    expect(next.done).toHaveLength(1);
  });

  test("the controller stands still, and another is elected: nobody waits for the old one", async () => {
    const [old, next] = [await new Controller(1).serve(), await new Controller(2).serve()];
    old.gate = new Promise(() => undefined);
    active = placeOf(1);
    const asking = [create("a", 60_000), create("b", 60_000)];
    await world.clock.advance(2_000);
    active = placeOf(2);
    channel.controllerChanged();
    expect((await settled(Promise.all(asking))).map(answeredBy)).toEqual(["by 2", "by 2"]);
    expect(world.clock.monotonicMs()).toBeLessThan(2_050);
    expect(next.done).toHaveLength(2);
  });

  test("one that runs out of time takes nothing from the others on its way", async () => {
    const controller = await new Controller(1).serve();
    let open = (): void => undefined;
    controller.gate = new Promise((resolve) => (open = resolve));
    active = placeOf(1);
    const asking = [create("a", 300), create("b", 5_000)];
    await world.clock.advance(1_000);
    open();
    expect((await settled(Promise.all(asking))).map(answeredBy)).toEqual([
      `failed: ${ErrorCode.REQUEST_TIMED_OUT}`,
      "by 1",
    ]);
    expect(controller.server?.connectionCount).toBe(1);
    expect(controller.done.map(({ topic }) => topic)).toEqual(["a", "b"]);
  });

  test("closing answers who waits", async () => {
    const asking = create("orders");
    await world.clock.advance(100);
    channel.close();
    expect(await settled(asking)).toMatchObject({ failure: ErrorCode.REQUEST_TIMED_OUT });
    expect(await settled(create("orders"))).toMatchObject({ failure: ErrorCode.REQUEST_TIMED_OUT });
  });
});

describe("what the controller answers with", () => {
  async function answered(response: EnvelopeResponseInput): Promise<Result<CreateTopicsResponse, ErrorCode>> {
    const { address } = placeOf(1);
    const peer = await FakePeer.listen({ ...world, address, versions: { 18: [0, 4], 58: [0, 0] } });
    active = placeOf(1);
    const asking = create("orders");
    await world.clock.runUntil(() => peer.asked.length === 1, { withinMs: 1_000 });
    const [asked] = peer.asked;
    if (asked !== undefined) peer.answer(envelope, asked, response);
    return settled(asking);
  }

  test.for<readonly [string, EnvelopeResponseInput, ErrorCode]>([
    ["the version is not known there", { errorCode: 35 }, ErrorCode.UNSUPPORTED_VERSION],
    ["the envelope is refused", { errorCode: 42 }, ErrorCode.UNKNOWN_SERVER_ERROR],
    ["the principal is refused", { errorCode: 97 }, ErrorCode.UNKNOWN_SERVER_ERROR],
    ["nothing is in it", { errorCode: 0, responseData: null }, ErrorCode.UNKNOWN_SERVER_ERROR],
    [
      "the answer to another request",
      { errorCode: 0, responseData: answerBytes(createTopics, 7, 9, { throttleTimeMs: 0, topics: [] }).subarray(4) },
      ErrorCode.UNKNOWN_SERVER_ERROR,
    ],
    [
      "half an answer",
      { errorCode: 0, responseData: Buffer.from([0, 0, 0, 77, 0, 0]) },
      ErrorCode.UNKNOWN_SERVER_ERROR,
    ],
  ])("%s", async ([, response, errorCode]) => {
    expect(await answered(response)).toMatchObject({ ok: false, failure: errorCode });
  });

  test("a node that knows no Envelope is not asked again", async () => {
    const { address } = placeOf(1);
    await FakePeer.listen({ ...world, address, versions: { 18: [0, 4] } });
    active = placeOf(1);
    expect(await settled(create("orders"))).toMatchObject({ failure: ErrorCode.UNSUPPORTED_VERSION });
    expect(world.clock.monotonicMs()).toBeLessThan(100);
  });
});

describe("a broker's own requests", () => {
  const request = { brokerId: 1, brokerEpoch: 3 };

  test("wait for a controller, and are sent to the next one when it changes", async () => {
    const [old] = [await new Controller(1).serve(), await new Controller(2).serve()];
    const asking = channel.request(allocateProducerIds, request, { timeoutMs: 10_000 });
    await world.clock.advance(500);
    old.isActive = false;
    active = placeOf(1);
    await world.clock.advance(500);
    active = null;
    await world.clock.advance(500);
    active = placeOf(2);
    expect(await settled(asking)).toMatchObject({ ok: true, value: { errorCode: 0, producerIdStart: 2_000 } });
  });

  test("in time or not at all", async () => {
    active = placeOf(1);
    const asking = channel.request(allocateProducerIds, request, { timeoutMs: 900 });
    expect(await settled(asking)).toMatchObject({ failure: "timed-out", message: expect.stringContaining("refused") });
    expect(world.clock.monotonicMs()).toBeCloseTo(900, 0);
  });

  test("are refused where the controller does not know them", async () => {
    await new Controller(1).serve();
    active = placeOf(1);
    const heartbeat = { brokerId: 1, brokerEpoch: 3, currentMetadataOffset: 1, wantFence: false, wantShutDown: false };
    const asking = channel.request(brokerHeartbeat, heartbeat, { timeoutMs: 900 });
    expect(await settled(asking)).toMatchObject({
      failure: "unsupported",
      message: "node 1 at 10.0.0.1:9093 does not serve BrokerHeartbeat (API key 63)",
    });
  });

  test("go on when the same controller is at another address", async () => {
    const old = await new Controller(1).serve();
    old.gate = new Promise(() => undefined);
    await new Controller(2).serve();
    active = placeOf(1);
    const asking = channel.request(allocateProducerIds, request, { timeoutMs: 10_000 });
    await world.clock.advance(500);
    active = { nodeId: 1, address: placeOf(2).address };
    expect(await settled(asking)).toMatchObject({ ok: true, value: { producerIdStart: 2_000 } });
  });
});

describe("an envelope is opened", () => {
  const context: RequestContext = {
    ...{ version: 0, correlationId: 1, clientId: "broker-2" },
    connection: { id: "9", clientHost: "10.0.0.2", listenerName: "CONTROLLER", kind: "controller" },
  };
  const echo = handler(createTopics, (_, { topics }) => ({
    throttleTimeMs: 0,
    topics: topics.map(({ name }) => {
      return { name, errorCode: name === "no" ? ErrorCode.NOT_CONTROLLER : 0, errorMessage: null };
    }),
  }));
  const services = { logger: silentLogger } as unknown as Services;
  const byKey = bindHandlers(services, [echo]);

  function requestData(name = "orders", version = 7): Buffer {
    const writer = new ByteWriter();
    writeRequestHeader(writer, createTopics, version, 5, "admin");
    const topics = [{ name, numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] }];
    createTopics.request.write(writer, { topics, timeoutMs: 1, validateOnly: false }, 7);
    return writer.toBuffer();
  }

  async function opened(
    fields: Partial<EnvelopeRequest>,
    handlers: ReadonlyMap<number, BoundHandler> = byKey,
  ): Promise<EnvelopeResponseInput> {
    const requestPrincipal = principalBytes(anonymous);
    const whole = { requestData: requestData(), requestPrincipal, clientHostAddress: addressBytes("10.1.1.1") };
    return unwrap({ ...whole, ...fields }, { handlers, logger: services.logger, context });
  }

  test("and answered", async () => {
    expect(await opened({})).toMatchObject({ errorCode: 0, responseData: expect.any(Buffer) });
  });

  const refused: readonly (readonly [string, Partial<EnvelopeRequest>, ErrorCode])[] = [
    ["no principal", { requestPrincipal: null }, ErrorCode.PRINCIPAL_DESERIALIZATION_FAILURE],
    ["a principal that is none", { requestPrincipal: Buffer.from([0]) }, ErrorCode.PRINCIPAL_DESERIALIZATION_FAILURE],
    [
      "a principal of a later version",
      { requestPrincipal: Buffer.from([0, 1, 2, 65, 2, 66, 0, 0]) },
      ErrorCode.PRINCIPAL_DESERIALIZATION_FAILURE,
    ],
    ["an address that is none", { clientHostAddress: Buffer.alloc(5) }, ErrorCode.INVALID_REQUEST],
    [
      "an API that is not forwarded",
      { requestData: Buffer.from([0, 0, 0, 8, 0, 0, 0, 1, 0, 0]) },
      ErrorCode.INVALID_REQUEST,
    ],
    ["an envelope", { requestData: Buffer.from([0, 58, 0, 0, 0, 0, 0, 1, 0, 0, 0]) }, ErrorCode.INVALID_REQUEST],
    ["a version that is not served", { requestData: requestData("orders", 9) }, ErrorCode.UNSUPPORTED_VERSION],
    ["half a request", { requestData: requestData().subarray(0, 30) }, ErrorCode.UNSUPPORTED_VERSION],
    ["half a header", { requestData: requestData().subarray(0, 3) }, ErrorCode.UNSUPPORTED_VERSION],
    ["nothing", { requestData: Buffer.alloc(0) }, ErrorCode.UNSUPPORTED_VERSION],
    [
      "what is not done by this node, as an error of a part",
      { requestData: requestData("no") },
      ErrorCode.NOT_CONTROLLER,
    ],
  ];
  test.for(refused)("%s", async ([, fields, errorCode]) => {
    expect(await opened(fields)).toMatchObject({ errorCode, responseData: null });
  });

  test("an envelope in an envelope is not opened, even where somebody could", async () => {
    const again = bindHandlers(services, [echo, handler(envelope, () => ({ errorCode: 0 }))]);
    const data = Buffer.from([0, 58, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0]);
    expect(await opened({ requestData: data }, again)).toMatchObject({ errorCode: ErrorCode.INVALID_REQUEST });
    expect(forwardableKeys.has(58)).toBe(false);
  });
});

test("a principal is written as Kafka writes it", () => {
  const bytes = principalBytes(anonymous);
  expect(bytes.toString("hex")).toBe(
    `000005${Buffer.from("User").toString("hex")}0a${Buffer.from("ANONYMOUS").toString("hex")}0000`,
  );
  expect(readPrincipal(bytes)).toEqual({ ok: true, value: anonymous });
});

test("addresses are bytes, and what is none is 0.0.0.0", () => {
  const cases: readonly (readonly [string, string, string])[] = [
    ["127.0.0.1", "7f000001", "127.0.0.1"],
    ["255.255.255.255", "ffffffff", "255.255.255.255"],
    ["::ffff:10.1.2.3", "0a010203", "10.1.2.3"],
    ["::1", "00000000000000000000000000000001", "0:0:0:0:0:0:0:1"],
    ["::", "00000000000000000000000000000000", "0:0:0:0:0:0:0:0"],
    ["fe80::12AB:3%eth0", "fe800000000000000000000012ab0003", "fe80:0:0:0:0:0:12ab:3"],
    ["2001:db8:1:2:3:4:5:6", "20010db8000100020003000400050006", "2001:db8:1:2:3:4:5:6"],
    ["64:ff9b::192.0.2.33", "0064ff9b0000000000000000c0000221", "64:ff9b:0:0:0:0:c000:221"],
  ];
  for (const [host, hex, text] of cases) {
    expect(addressBytes(host).toString("hex"), host).toBe(hex);
    expect(hostOf(addressBytes(host)), host).toBe(text);
  }
  for (const host of [
    "node-1",
    "",
    "1.2.3",
    "1.2.3.256",
    "1:2",
    "1::2::3",
    "1:2:3:4:5:6:7:8:9",
    "g::1",
    "1:2:3:4:5:6:7::8",
    "12345::",
  ])
    expect(addressBytes(host).toString("hex"), host).toBe("00000000");
  expect(hostOf(Buffer.from("00000000000000000000ffff01020304", "hex"))).toBe("1.2.3.4");
  expect([hostOf(Buffer.alloc(0)), hostOf(Buffer.alloc(15))]).toEqual([null, null]);
});

test("NOT_CONTROLLER is found wherever an answer has it", () => {
  expect(saysNotController({ errorCode: 41 })).toBe(true);
  expect(saysNotController({ errorCode: 0, topics: [{ errorCode: 0 }, { partitions: [{ errorCode: 41 }] }] })).toBe(
    true,
  );
  expect(saysNotController({ errorCode: 0, topics: [{ code: 41 }], bytes: Buffer.alloc(41), none: null })).toBe(false);
});
