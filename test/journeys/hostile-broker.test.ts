import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import type { Address, Connection } from "@millrace/base/world";
import { Prng } from "@millrace/base/prng";
import { KafkaError } from "@millrace/client/errors";
import { BrokerConnection } from "@millrace/client/network/broker-connection";
import { simulatedWorld } from "@millrace/simulator/simulated-world";
import type { SimulatedWorld } from "@millrace/simulator/simulated-world";
import type { Api } from "kafka-protocol-ts/api";
import { apis } from "kafka-protocol-ts/apis";
import { readRequestHeader, writeResponseHeader } from "kafka-protocol-ts/header";
import { apiVersions } from "kafka-protocol-ts/messages/18-api-versions";
import { ByteReader } from "kafka-protocol-ts/reader";
import { ByteWriter } from "kafka-protocol-ts/writer";
import { expect, test } from "vitest";
import { FakeCluster } from "../../client/test/fake-cluster.ts";
import { messageIn } from "../../protocol/test/arbitrary.ts";
import { type Subject, subjects, versionsOf } from "../../protocol/test/codecs.ts";
import { repositoryFiles, repositoryRoot } from "../house/repository.ts";

/**
 * A broker that answers with what it likes: valid answers with something wrong in their bytes, for every API and version that the
 * client reads. Whatever comes, the client ends with a value or a KafkaError, in its time, with no timer left.
 */
const seed = Number(process.env["SEED"] ?? fc.sample(fc.noBias(fc.nat()), 1)[0]);
const again = `SEED=${seed} npx vitest run --project journeys hostile-broker`;

/** Of each API whose messages the client imports. */
const keysRead = new Set(
  repositoryFiles("client/src")
    .filter((file) => !file.endsWith(".test.ts"))
    .flatMap((file) => [
      ...readFileSync(join(repositoryRoot, file), "utf8").matchAll(/kafka-protocol-ts\/messages\/(\d+)-/g),
    ])
    .map(([, key]) => Number(key)),
);
const read = (await subjects(({ key }) => keysRead.has(key))).filter(({ name }) => name.endsWith("Response"));
const apiOf = (subject: Subject): Api<unknown, unknown> => {
  const found = Object.values(apis).find(({ name }) => subject.name === `${name}Response`);
  if (found === undefined) throw new Error(`no API has the answer ${subject.name}`);
  return found;
};

const nasty = ["7fffffff", "ffffffff", "80000000", "ffffffff0f", "8080808080", "7fff", "00", "01", "ff"].map((hex) =>
  Buffer.from(hex, "hex"),
);

/** The body of a frame with something wrong: cut, doubled, overwritten, or with bytes of chance. */
function mutated(body: Buffer, prng: Prng): Buffer {
  const at = prng.between(0, body.length);
  const bytes = nasty[prng.between(0, nasty.length - 1)] ?? Buffer.alloc(0);
  switch (prng.between(0, 5)) {
    case 0:
      return body.subarray(0, at);
    case 1:
      return Buffer.concat([body.subarray(0, at), body.subarray(prng.between(0, at))]);
    case 2:
    case 3:
      return Buffer.concat([body.subarray(0, at), bytes, body.subarray(at + bytes.length)]);
    case 4:
      return body;
    default: {
      const copy = Buffer.from(body);
      for (let left = prng.between(1, 3); left > 0 && copy.length > 0; left--)
        copy[prng.between(0, copy.length - 1)] = prng.between(0, 255);
      return copy;
    }
  }
}

/** What comes behind the correlation id, with the rest of the header where the version has one. */
function bodyOf(api: Api<unknown, unknown>, version: number, message: unknown): Buffer {
  const writer = new ByteWriter();
  writeResponseHeader(writer, api, version, 0);
  api.response.write(writer, message, version);
  return Buffer.concat(writer.finishFrame() as readonly Uint8Array[]).subarray(8);
}

interface Request {
  readonly api: Api<unknown, unknown>;
  readonly version: number;
}

/** Answers each request with what `answer` gives as the bytes behind the correlation id. */
async function serve(world: SimulatedWorld, port: number, answer: (request: Request) => Buffer): Promise<Address> {
  const onConnection = (connection: Connection): void => {
    let rest = Buffer.alloc(0);
    connection.start({
      onData: (chunk) => {
        rest = Buffer.concat([rest, chunk]);
        while (rest.length >= 4 && rest.length >= 4 + rest.readInt32BE(0)) {
          const frame = Buffer.from(rest.subarray(4, 4 + rest.readInt32BE(0)));
          rest = rest.subarray(4 + frame.length);
          const { apiKey, apiVersion: version, correlationId } = readRequestHeader(new ByteReader(frame));
          const body = answer({ api: apis[apiKey] as Api<unknown, unknown>, version });
          const head = Buffer.alloc(8);
          head.writeInt32BE(4 + body.length, 0);
          head.writeInt32BE(correlationId, 4);
          connection.send([head, body]);
        }
      },
      onEnd: () => connection.end(),
      onClose: () => undefined,
    });
  };
  return (await world.network.listen({ host: "broker", port }, onConnection)).address;
}

const served = [...keysRead].map((apiKey) => {
  const [minVersion, maxVersion] = (apis[apiKey] as Api<unknown, unknown>).versions;
  return { apiKey, minVersion, maxVersion };
});

/** Elements of all arrays within: what an answer has made the client keep. */
function elementsIn(value: unknown): number {
  if (value instanceof Uint8Array || typeof value !== "object" || value === null) return 0;
  const members = Object.values(value);
  return members.reduce<number>((sum, each) => sum + elementsIn(each), Array.isArray(value) ? members.length : 0);
}

/** The outcome within so much virtual time: undefined where there is none. */
async function within(world: SimulatedWorld, ms: number, work: Promise<unknown>): Promise<unknown> {
  let outcome: unknown;
  void work.then(
    (value) => (outcome = value ?? "nothing"),
    (error: unknown) => (outcome = error),
  );
  await world.clock.settle();
  if (outcome === undefined) await world.clock.advance(ms);
  return outcome;
}

const requestTimeoutMs = 1_000;

/** A request of this API without content: what is asked does not matter to one that lies. */
const empty = (api: Api<unknown, unknown>): Api<unknown, unknown> => ({
  ...api,
  request: { ...api.request, write: () => undefined },
});

/** ApiVersions in which this API is served in one version only. */
const helloWith = ({ key }: Api<unknown, unknown>, version: number) => ({
  errorCode: 0,
  apiKeys: served.map((each) =>
    each.apiKey === key && key !== apiVersions.key ? { apiKey: key, minVersion: version, maxVersion: version } : each,
  ),
});

async function meet(api: Api<unknown, unknown>, version: number, body: Buffer): Promise<void> {
  const about = `${again}: ${api.name} v${version} ${body.toString("hex")}`;
  const world = simulatedWorld({ seed: 1 });
  const isGreeting = api.key === apiVersions.key;
  const address = await serve(world, 9092, (request) =>
    isGreeting || request.api.key === api.key ? body : bodyOf(request.api, request.version, helloWith(api, version)),
  );
  const { clock, random, network } = world;
  const times = { connectTimeoutMs: 1_000, requestTimeoutMs };
  const opening = BrokerConnection.open(network, address, { clock, random, clientId: "test", ...times });
  let outcome = await within(world, requestTimeoutMs, opening);
  if (outcome instanceof BrokerConnection) {
    const connection = outcome;
    if (!isGreeting) outcome = await within(world, requestTimeoutMs, connection.request(empty(api), {}));
    const elements = outcome instanceof Error || isGreeting ? 0 : elementsIn(outcome);
    expect(elements, about).toBeLessThanOrEqual(2 * body.length);
    connection.close();
  }
  expect(outcome, `nothing came of it: ${about}`).toBeDefined();
  if (outcome instanceof Error) expect(outcome, about).toBeInstanceOf(KafkaError);
  await world.clock.settle();
  expect(world.clock.pendingTimers, about).toBe(0);
}

test("every API that the client reads is among those that are lied about", () => {
  expect(read.map((subject) => apiOf(subject).key).toSorted((a, b) => a - b)).toEqual(
    [...keysRead].toSorted((a, b) => a - b),
  );
  expect(keysRead.size).toBeGreaterThan(12);
});

test.each(read.map((subject) => ({ subject, name: subject.name })))(
  "$name with something wrong in it is an error of the client's, or a value",
  { timeout: 120_000 },
  async ({ subject }) => {
    const api = apiOf(subject);
    const prng = new Prng(seed);
    for (const version of versionsOf(subject.schema).filter((each) => each >= api.versions[0])) {
      for (const message of fc.sample(messageIn(subject.schema, version), { numRuns: 20, seed })) {
        const whole = bodyOf(api, version, message);
        for (let round = 0; round < 4; round++) await meet(api, version, mutated(whole, prng));
      }
    }
  },
);

test(
  "a whole client among brokers that sometimes lie fails with an error of its own, or succeeds",
  { timeout: 120_000 },
  async () => {
    const outcomes = new Map<string, number>();
    for (let round = 0; round < 300; round++) {
      const prng = new Prng(seed + round);
      const fake = await FakeCluster.start({ brokers: 2, seed: seed + round });
      fake.create("orders", [0, 1]);
      for (const broker of fake.brokers) {
        broker.mangle = (frame) => (prng.chance(0.3) ? framed(mutated(frame.subarray(4), prng)) : frame);
      }
      const cluster = fake.client({ requestTimeoutMs: 2_000 });
      const { clock } = fake.world;
      const stop = new AbortController();
      const read = async (): Promise<number> => {
        let count = 0;
        const options = { untilEnd: true, signal: stop.signal };
        for await (const record of cluster.consumer({ outageMsMax: 5_000 }).records("orders", options))
          count += record.offset >= 0 ? 1 : 0;
        return count;
      };
      const work = [
        cluster.producer({ deliveryTimeoutMs: 5_000 }).send("orders", { key: "a", value: "b" }),
        cluster.admin().topics.describe("orders"),
        cluster.wire.coordinator("group", "g"),
        read(),
      ];
      const all = Promise.allSettled(work);
      const settled = await within(fake.world, 60_000, all);
      expect(settled, `SEED=${seed + round}: something never ends`).toBeDefined();
      for (const outcome of await all) {
        const name = outcome.status === "fulfilled" ? "value" : (outcome.reason as KafkaError).code;
        if (outcome.status === "rejected") expect(outcome.reason, `SEED=${seed + round}`).toBeInstanceOf(KafkaError);
        outcomes.set(name, (outcomes.get(name) ?? 0) + 1);
      }
      await cluster.close();
      await clock.settle();
    }
    // The test is one only where both happen.
    expect(outcomes.get("value")).toBeGreaterThan(20);
    expect(outcomes.size).toBeGreaterThan(3);
  },
);

/** The bytes with their length in front: most lies are not about that. */
function framed(body: Buffer): Buffer {
  const frame = Buffer.alloc(4 + body.length);
  frame.writeInt32BE(body.length, 0);
  frame.set(body, 4);
  return frame;
}
