import { Prng } from "@millrace/base/prng";
import { NetworkError } from "@millrace/base/world";
import type { Address, Connection, Network } from "@millrace/base/world";
import { simulatedWorld } from "@millrace/simulator/simulated-world";
import type { SimulatedWorld } from "@millrace/simulator/simulated-world";
import { BrokerConnection } from "@millrace/client/network/broker-connection";
import type { BrokerConnectionOptions } from "@millrace/client/network/broker-connection";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { produce } from "kafka-protocol-ts/messages/00-produce";
import { listOffsets } from "kafka-protocol-ts/messages/02-list-offsets";
import { metadata } from "kafka-protocol-ts/messages/03-metadata";
import { apiVersions } from "kafka-protocol-ts/messages/18-api-versions";
import { describeCluster } from "kafka-protocol-ts/messages/60-describe-cluster";
import { beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { SimulatedConnection } from "@millrace/simulator/simulated-network";
import { FakeBroker, response, silence } from "../../test/fake-broker.ts";
import { KafkaError } from "../errors.ts";

let world: SimulatedWorld;
let broker: FakeBroker;

beforeEach(async () => {
  world = simulatedWorld({ seed: 1 });
  broker = await FakeBroker.start(world.network, 9092);
});

const open = (options: Partial<BrokerConnectionOptions> = {}): Promise<BrokerConnection> =>
  BrokerConnection.open(world.network, broker.address, {
    clock: world.clock,
    random: world.random,
    clientId: "test",
    connectTimeoutMs: 1_000,
    requestTimeoutMs: 30_000,
    ...options,
  });

const about = (clusterId: string) => ({ clusterId, brokers: [], topics: [] });
const none = { topics: [] };
/** The outcome, as a word or as an error. */
const outcome = (work: Promise<unknown>): Promise<unknown> =>
  work.then(() => "answered").catch((error: unknown) => error);

test("both speak the highest version that both know", async () => {
  broker.on(metadata, () => about("a"), [0, 9]);
  broker.on(listOffsets, () => ({ topics: [] }), [11, 99]);
  const connection = await open();
  expect(connection.versionOf(metadata)).toBe(9);
  expect(connection.versionOf(listOffsets)).toBe(listOffsets.versions[1]);
  await connection.request(metadata, none);
  expect(broker.asked).toMatchObject([{ api: "Metadata", version: 9, clientId: "test" }]);
});

test("an API that is not served, or in no version of ours, is named", async () => {
  broker.on(metadata, () => about("a"), [99, 100]);
  const connection = await open();
  await expect(connection.request(metadata, none)).rejects.toMatchObject({
    code: "UNSUPPORTED_VERSION",
    message: `broker:9092 serves Metadata 99 to 100; this client speaks 0 to ${metadata.versions[1]}`,
  });
  await expect(connection.request(describeCluster, { includeClusterAuthorizedOperations: false })).rejects.toThrow(
    "broker:9092 does not serve DescribeCluster",
  );
  expect(connection.isOpen).toBe(true);
});

test("what the version of a broker cannot say is an error that names both, and nothing is sent", async () => {
  broker.on(metadata, () => about("a"), [0, 3]);
  const connection = await open();
  await expect(connection.request(metadata, { ...none, allowAutoTopicCreation: false })).rejects.toMatchObject({
    name: "KafkaError",
    code: "UNSUPPORTED_VERSION",
    message: /^broker:9092 serves an older version: MetadataRequest v3 has no field allowAutoTopicCreation/,
  });
  expect(broker.asked).toEqual([]);
  expect(connection.isOpen).toBe(true);
});

test("KIP-511: a broker that does not know our ApiVersions answers in version 0, and is asked again in its own", async () => {
  const versions: number[] = [];
  broker.on(
    apiVersions,
    ({ version, correlationId, connection }) => {
      versions.push(version);
      if (version <= 2) return { errorCode: ErrorCode.NONE, apiKeys: broker.served };
      const apiKeys = [{ apiKey: apiVersions.key, minVersion: 0, maxVersion: 2 }];
      const refusal = { errorCode: ErrorCode.UNSUPPORTED_VERSION, apiKeys };
      connection.send(response(apiVersions, { version: 0, correlationId }, refusal));
      return silence;
    },
    [0, 2],
  );
  broker.on(metadata, () => about("a"));
  const connection = await open();
  expect(versions).toEqual([apiVersions.versions[1], 2]);
  expect(connection.versionOf(metadata)).toBe(metadata.versions[1]);
});

test("a broker that refuses every version of ApiVersions is given up, and the connection closed", async () => {
  const versions: number[] = [];
  broker.on(apiVersions, ({ version, correlationId, connection }) => {
    versions.push(version);
    const refusal = { errorCode: ErrorCode.UNSUPPORTED_VERSION, apiKeys: [] };
    connection.send(response(apiVersions, { version: 0, correlationId }, refusal));
    return silence;
  });
  await expect(open()).rejects.toMatchObject({ code: "UNSUPPORTED_VERSION" });
  await world.clock.settle();
  expect(versions).toEqual([apiVersions.versions[1], 0]);
  expect(broker.connections.size).toBe(0);
});

test("requests are sent without waiting for answers, and each gets its own", async () => {
  const answers = Promise.withResolvers<void>();
  broker.on(metadata, async ({ correlationId }) => {
    await answers.promise;
    return about(`of ${correlationId}`);
  });
  const connection = await open();
  const sent = [1, 2, 3].map(async () => connection.request(metadata, none));
  await world.clock.settle();
  expect(broker.asked).toHaveLength(3);
  answers.resolve();
  const ids = broker.asked.map(({ correlationId }) => `of ${correlationId}`);
  expect((await Promise.all(sent)).map(({ clusterId }) => clusterId)).toEqual(ids);
});

/** Bytes instead of an answer to the first of two requests that wait. */
async function lie(bytes: (correlationId: number) => readonly Uint8Array[]): Promise<unknown[]> {
  broker.on(metadata, ({ correlationId, connection }) => {
    if (broker.asked.length === 2) connection.send(bytes(correlationId - 1));
    return silence;
  });
  const connection = await open();
  const both = [outcome(connection.request(metadata, none)), outcome(connection.request(metadata, none))];
  await world.clock.settle();
  const outcomes = await Promise.all(both);
  expect(connection.isOpen).toBe(false);
  expect(broker.connections.size).toBe(0);
  expect(world.clock.pendingTimers).toBe(0);
  await expect(connection.request(metadata, none)).rejects.toBe(outcomes[0]);
  return outcomes;
}

const frame = (...bytes: readonly number[]): readonly Uint8Array[] => {
  const whole = Buffer.alloc(4 + bytes.length);
  whole.writeInt32BE(bytes.length, 0);
  whole.set(bytes, 4);
  return [whole];
};

test.for([
  ["a length below zero", () => [Buffer.alloc(4, 0xff)], "a frame claims -1 bytes"],
  ["a length beyond all limits", () => [Buffer.from("7fffffff", "hex")], "a frame claims 2147483647 bytes"],
  ["a request that nobody sent", () => frame(0, 0, 0x30, 0x39), "an answer to request 12345"],
  ["the answer to a later request first", (id: number) => frame(0, 0, 0, id + 1), "the next one is due to"],
  ["a body that ends too soon", (id: number) => frame(0, 0, 0, id, 0, 0, 0), `Metadata v${metadata.versions[1]}:`],
  ["a count beyond the frame", (id: number) => frame(0, 0, 0, id, 0, 0, 0, 0, 0, 0xff, 0xff, 0x7f), "Metadata v"],
] as const)("an answer that lies ends the connection, and all that wait hear why: %s", async ([, bytes, message]) => {
  const outcomes = await lie(bytes);
  expect(outcomes[0]).toBe(outcomes[1]);
  expect(outcomes[0]).toMatchObject({ name: "KafkaError", code: "CORRUPT_MESSAGE", retriable: false });
  expect((outcomes[0] as Error).message).toContain("unreadable answer from broker:9092: ");
  expect((outcomes[0] as Error).message).toContain(message);
});

test("a broker that is silent for too long loses the connection, by the clock that was given", async () => {
  broker.on(metadata, () => silence);
  const aborted = vi.spyOn(SimulatedConnection.prototype, "abort");
  onTestFinished(() => aborted.mockRestore());
  const connection = await open({ requestTimeoutMs: 5_000 });
  const first = outcome(connection.request(metadata, none));
  const second = outcome(connection.request(metadata, none, { timeoutMs: 60_000 }));
  await world.clock.advance(4_999);
  expect(connection.isOpen).toBe(true);
  await world.clock.advance(1);
  const version = metadata.versions[1];
  expect(await first).toMatchObject({ code: "REQUEST_TIMED_OUT", retriable: true });
  expect(((await first) as Error).message).toBe(`Metadata v${version} got no answer from broker:9092 within 5000 ms`);
  expect(await second).toBe(await first);
  expect(broker.connections.size).toBe(0);
  // What has not come to the broker yet must not come after it was sent again elsewhere.
  expect(aborted).toHaveBeenCalledTimes(1);
});

test.for([
  ["breaks", (fake: FakeBroker) => fake.cut()],
  ["ends", (fake: FakeBroker) => [...fake.connections].forEach((connection) => connection.end())],
] as const)("a connection that %s fails what waits, and the same may succeed on another", async ([, end]) => {
  broker.on(metadata, () => silence);
  const connection = await open();
  const waiting = outcome(connection.request(metadata, none));
  await world.clock.settle();
  end(broker);
  const failure = await waiting;
  expect(failure).toMatchObject({ code: "NETWORK_EXCEPTION", retriable: true });
  expect((failure as Error).message).toMatch(/^lost the connection to broker:9092: /);
  expect(connection.isOpen).toBe(false);
});

test("nobody there: an error that names the address and may pass", async () => {
  await broker.stop();
  await expect(open()).rejects.toMatchObject({
    code: "NOT_CONNECTED",
    retriable: true,
    message: "broker:9092 refused the connection: nothing listens there",
  });
});

test("opening can be given up at any point", async () => {
  broker.on(apiVersions, () => silence);
  const stop = new AbortController();
  const opening = outcome(open({ signal: stop.signal }));
  await world.clock.settle();
  stop.abort();
  expect(await opening).toMatchObject({ code: "CLOSED" });
  await world.clock.settle();
  expect(broker.connections.size).toBe(0);
  expect(await outcome(open({ signal: stop.signal }))).toMatchObject({ code: "NOT_CONNECTED" });
});

test("what has no answer settles when it has left, and what follows is answered", async () => {
  broker.on(produce, () => silence);
  broker.on(metadata, () => about("after"));
  const connection = await open();
  const told = connection.tell(produce, { acks: 0, timeoutMs: 1_000, topicData: [] });
  const answer = connection.request(metadata, none);
  await told;
  expect((await answer).clusterId).toBe("after");
  connection.close();
  await expect(connection.tell(produce, { acks: 0, timeoutMs: 1_000, topicData: [] })).rejects.toMatchObject({
    code: "CLOSED",
  });
});

test("what is closed by us fails what waits, and is said so", async () => {
  broker.on(metadata, () => silence);
  const connection = await open();
  const waiting = outcome(connection.request(metadata, none));
  connection.close();
  expect(await waiting).toMatchObject({ code: "CLOSED", retriable: false });
  expect(world.clock.pendingTimers).toBe(0);
});

test("a large answer in many chunks arrives whole", async () => {
  const topics = Array.from({ length: 4_000 }, (_, index) => ({
    errorCode: 0,
    name: `topic-${index}-${"x".repeat(100)}`,
    isInternal: false,
    partitions: [],
  }));
  broker.on(metadata, () => ({ ...about("large"), topics }));
  const connection = await open();
  const answer = await connection.request(metadata, none);
  expect(answer.topics.map(({ name }) => name)).toEqual(topics.map(({ name }) => name));
});

test("a broker that is cut off in the middle of an answer: what waits fails at once, and may be asked again", async () => {
  broker.on(metadata, ({ connection, version, correlationId }) => {
    const parts = Buffer.concat(response(metadata, { version, correlationId }, about("whole")));
    connection.send([parts.subarray(0, parts.length - 3)], () => connection.destroy());
    return silence;
  });
  const connection = await open();
  const both = await Promise.all([1, 2].map(async () => outcome(connection.request(metadata, none))));
  for (const error of both) expect(error).toMatchObject({ code: "NETWORK_EXCEPTION", retriable: true });
  expect(connection.isOpen).toBe(false);
  expect(world.clock.pendingTimers).toBe(0);
});

/** Something that is no broker: it takes the first request, and answers so. */
async function answering(port: number, answer: (connection: Connection) => void): Promise<Address> {
  const listener = await world.network.listen({ host: "other", port }, (connection) => {
    connection.start({ onData: () => answer(connection), onEnd: () => connection.end(), onClose: () => undefined });
  });
  return listener.address;
}

const failureAt = async (address: Address, options: Partial<BrokerConnectionOptions> = {}): Promise<KafkaError> => {
  const { clock, random, network } = world;
  const times = { connectTimeoutMs: 1_000, requestTimeoutMs: 1_000 };
  const opening = outcome(
    BrokerConnection.open(network, address, { clock, random, clientId: "test", ...times, ...options }),
  );
  await world.clock.advance(1_000);
  expect(await opening).toBeInstanceOf(KafkaError);
  expect(world.clock.pendingTimers).toBe(0);
  return (await opening) as KafkaError;
};

test.for([
  ["HTTP", "HTTP/1.1 400 Bad Request\r\n\r\n", "CORRUPT_MESSAGE", "it speaks HTTP, and is no Kafka broker"],
  ["HTTP/2", "\0\0\x12\x04\0\0\0\0\0", "CORRUPT_MESSAGE", "nothing"],
  ["SSH", "SSH-2.0-OpenSSH_9.9\r\n", "CORRUPT_MESSAGE", "it speaks SSH"],
  ["Redis", "-ERR unknown command\r\n", "CORRUPT_MESSAGE", "it speaks Redis"],
  ["SMTP", "220 mail.test ESMTP\r\n", "CORRUPT_MESSAGE", "it speaks SMTP or FTP"],
  ["an alert of TLS", "\x15\x03\x03\0\x02\x02\x46", "TLS_FAILED", 'answers with TLS on this port: set "tls"'],
  ["anything else", "\xff\xfe\xfd\xfc", "CORRUPT_MESSAGE", "it may not be a Kafka broker"],
] as const)("a port where another protocol is spoken: %s", async ([, bytes, code, message]) => {
  const address = await answering(1, (connection) => connection.send([Buffer.from(bytes, "latin1")]));
  const error = await failureAt(address);
  if (message !== "nothing") expect(error.message).toContain(message);
  // What looks like a frame that is still coming is waited for in vain.
  expect(["REQUEST_TIMED_OUT", code]).toContain(error.code);
  expect(error.message).toContain("other:1");
});

test("one that speaks before it was asked is no broker", async () => {
  const listener = await world.network.listen({ host: "other", port: 1 }, (connection) => {
    connection.start({ onData: () => undefined, onEnd: () => connection.end(), onClose: () => undefined });
    connection.send([Buffer.from("SSH-2.0-OpenSSH_9.9\r\n")]);
  });
  expect((await failureAt(listener.address)).message).toContain("it speaks SSH");
});

test.for([
  ["without TLS", {}, 'the port may speak TLS (set "tls")'],
  ["with TLS", { tls: {} }, "it may want a client certificate (tls.cert, tls.key)"],
] as const)("a port that hangs up on the first request, %s", async ([, options, message]) => {
  const address = await answering(1, (connection) => connection.end());
  const error = await failureAt(address, options);
  expect(error).toMatchObject({ code: "NETWORK_EXCEPTION", retriable: true });
  expect(error.message).toContain(message);
});

test.for([
  ["options", "INVALID_CONFIG", "ERR_OSSL_PEM_NO_START_LINE", false],
  ["tls", "TLS_FAILED", "CERT_HAS_EXPIRED", false],
  ["tls", "TLS_FAILED", "ECONNRESET", true],
  ["network", "NOT_CONNECTED", "ECONNREFUSED", true],
] as const)("a failure to connect by %s is %s (%s)", async ([kind, code, ofSystem, retriable]) => {
  const cause = new NetworkError(ofSystem, "why, and what to do", undefined, kind);
  const network: Network = { listen: () => Promise.reject(cause), connect: () => Promise.reject(cause) };
  const { clock, random } = world;
  const times = { connectTimeoutMs: 1_000, requestTimeoutMs: 1_000 };
  await expect(
    BrokerConnection.open(network, { host: "a", port: 1 }, { clock, random, clientId: "test", ...times }),
  ).rejects.toMatchObject({ code, retriable, cause, message: "why, and what to do", broker: "a:1" });
});

test("TLS 1.3: a broker that judges our certificate after the handshake is not tried again", async () => {
  broker.on(apiVersions, ({ connection }) => {
    connection.destroy();
    return silence;
  });
  const told = new NetworkError("ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED", "wants a certificate", undefined, "tls");
  const network: Network = {
    listen: (address, onConnection) => world.network.listen(address, onConnection),
    connect: async (address, options) => {
      const connection = await world.network.connect(address, options);
      const start = connection.start.bind(connection);
      connection.start = (handlers) => start({ ...handlers, onClose: () => handlers.onClose(told) });
      return connection;
    },
  };
  const { clock, random } = world;
  const times = { connectTimeoutMs: 1_000, requestTimeoutMs: 1_000 };
  await expect(
    BrokerConnection.open(network, broker.address, { clock, random, clientId: "test", tls: {}, ...times }),
  ).rejects.toMatchObject({ code: "TLS_FAILED", retriable: false });
});

test("random bytes are never more than an error", async () => {
  const random = new Prng(20260101);
  for (let round = 0; round < 300; round++) {
    world = simulatedWorld({ seed: round });
    broker = await FakeBroker.start(world.network, 9092);
    const isFirst = round % 3 === 0;
    const bytes = random.bytes(random.between(1, 400));
    // Often a length that could be true, so that what is inside is read.
    if (round % 2 === 0 && bytes.length > 8) bytes.writeInt32BE(bytes.length - 4, 0);
    if (isFirst) {
      broker.on(apiVersions, ({ connection }) => (connection.send([bytes]), silence));
      const opening = outcome(open({ requestTimeoutMs: 1_000 }));
      await world.clock.advance(1_000);
      expect(await opening).toBeInstanceOf(KafkaError);
    } else {
      broker.on(metadata, ({ correlationId, connection }) => {
        if (bytes.length > 8) bytes.writeInt32BE(correlationId, 4);
        connection.send([bytes]);
        return silence;
      });
      const connection = await open({ requestTimeoutMs: 1_000 });
      const answer = outcome(connection.request(metadata, none));
      await world.clock.advance(1_000);
      const result = await answer;
      if (result !== "answered") expect(result).toBeInstanceOf(KafkaError);
      connection.close();
    }
    expect(world.clock.pendingTimers).toBe(0);
  }
});

test("answers that nobody asked for end the connection, however small they are", async () => {
  broker.on(metadata, () => about("a"));
  const connection = await open();
  await connection.request(metadata, none);
  for (const each of broker.connections) each.send([Buffer.alloc(3)]);
  await world.clock.settle();
  expect(connection.isOpen).toBe(false);
  await expect(connection.request(metadata, none)).rejects.toThrow("3 bytes, where nothing was asked");
});

test("a frame that comes and comes and never ends is given up in its time, with little kept of it", async () => {
  broker.on(metadata, ({ connection, correlationId }) => {
    const head = Buffer.alloc(8);
    head.writeInt32BE(200 * 1024 * 1024, 0);
    head.writeInt32BE(correlationId, 4);
    connection.send([head]);
    const more = (): void => {
      connection.send([Buffer.alloc(1000)]);
      if (broker.connections.has(connection)) world.clock.schedule(10, more);
    };
    more();
    return silence;
  });
  const connection = await open({ requestTimeoutMs: 5_000 });
  const allocate = vi.spyOn(Buffer, "allocUnsafe");
  onTestFinished(() => allocate.mockRestore());
  const answer = outcome(connection.request(metadata, none));
  await world.clock.advance(5_000);
  expect(await answer).toMatchObject({ code: "REQUEST_TIMED_OUT" });
  expect(Math.max(...allocate.mock.calls.map(([size]) => size))).toBeLessThanOrEqual(1024 * 1024);
});

test("a broker that asks for a pause gets nothing meanwhile, and what waits too long hears why", async () => {
  let throttleTimeMs = 2_000;
  broker.on(metadata, () => ({ ...about("slow"), throttleTimeMs }));
  const connection = await open();
  await connection.request(metadata, none);
  expect(connection.isThrottled).toBe(true);
  throttleTimeMs = 2 ** 31 - 1;
  const [patient, hasty] = [
    outcome(connection.request(metadata, none)),
    outcome(connection.request(metadata, none, { timeoutMs: 1_000 })),
  ];
  await world.clock.advance(1_999);
  expect(broker.asked).toHaveLength(1);
  expect(((await hasty) as Error).message).toMatch(
    /^Metadata v\d+ could not be sent to broker:9092 within 1000 ms: the broker throttles this client$/,
  );
  await world.clock.advance(1);
  expect(await patient).toBe("answered");
  // A pause without end is no dead-lock.
  const late = outcome(connection.request(metadata, none, { timeoutMs: 60_000 }));
  await world.clock.advance(60_000);
  expect(await late).toMatchObject({ code: "REQUEST_TIMED_OUT", retriable: true });
  connection.close();
  await world.clock.settle();
  expect(world.clock.pendingTimers).toBe(0);
});
