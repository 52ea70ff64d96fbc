import { inspect } from "node:util";
import { simulatedWorld } from "@millrace/simulator/simulated-world";
import type { SimulatedWorld } from "@millrace/simulator/simulated-world";
import { BrokerConnection } from "@millrace/client/network/broker-connection";
import type { OAuthBearerToken, SaslOptions } from "@millrace/client/network/sasl";
import { scram } from "@millrace/client/network/scram";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { metadata } from "kafka-protocol-ts/messages/03-metadata";
import { saslHandshake } from "kafka-protocol-ts/messages/17-sasl-handshake";
import { saslAuthenticate } from "kafka-protocol-ts/messages/36-sasl-authenticate";
import { beforeEach, describe, expect, test } from "vitest";
import { FakeBroker, silence } from "../../test/fake-broker.ts";
import { FakeSasl, secret } from "../../test/fake-sasl.ts";
import { Cluster } from "../cluster.ts";
import { KafkaError } from "../errors.ts";

let world: SimulatedWorld;
let broker: FakeBroker;

beforeEach(async () => {
  world = simulatedWorld({ seed: 1 });
  broker = await FakeBroker.start(world.network, 9092);
});

const open = (sasl?: SaslOptions, requestTimeoutMs = 30_000): Promise<BrokerConnection> => {
  const { clock, random, network } = world;
  const options = { clock, random, clientId: "test", connectTimeoutMs: 1_000, requestTimeoutMs };
  return BrokerConnection.open(network, broker.address, sasl === undefined ? options : { ...options, sasl });
};

/** The error, in which no secret may be, wherever one looks. */
async function refusal(work: Promise<unknown>, secrets: readonly string[] = [secret]): Promise<KafkaError> {
  const error: unknown = await work.then(
    () => "no error",
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(KafkaError);
  const shown = inspect(error, { depth: 10, showHidden: true });
  for (const hidden of secrets) {
    expect(shown).not.toContain(hidden);
    expect(shown).not.toContain(Buffer.from(hidden).toString("base64").replaceAll("=", ""));
  }
  return error as KafkaError;
}

const ask = async (connection: BrokerConnection): Promise<string | null> =>
  (await connection.request(metadata, { topics: [] })).clusterId;

function guarded(sasl: FakeSasl): void {
  broker.on(
    metadata,
    sasl.guard(() => ({ clusterId: "guarded", brokers: [], topics: [] })),
  );
}

const plain = { mechanism: "PLAIN", username: "billing", password: secret } as const;
const scram256 = { ...plain, mechanism: "SCRAM-SHA-256" } as const;
const scram512 = { ...plain, mechanism: "SCRAM-SHA-512" } as const;
const bearer = (token: () => OAuthBearerToken | Promise<OAuthBearerToken>): SaslOptions => ({
  mechanism: "OAUTHBEARER",
  token,
});

describe.each([plain, scram256, scram512])("$mechanism", (sasl) => {
  test("says who we are before anything else, once a connection", async () => {
    const fake = FakeSasl.on(broker, { clock: world.clock });
    guarded(fake);
    const connection = await open(sasl);
    expect(await ask(connection)).toBe("guarded");
    expect(await ask(connection)).toBe("guarded");
    expect(fake.users).toEqual(["billing"]);
    expect(broker.names[0]).toBe("SaslHandshake");
  });

  test("a wrong password is refused for good, and not shown", async () => {
    const fake = FakeSasl.on(broker, { clock: world.clock, password: "another" });
    guarded(fake);
    const error = await refusal(open(sasl));
    expect(error).toMatchObject({ code: "SASL_AUTHENTICATION_FAILED", retriable: false, broker: "broker:9092" });
    expect(error.message).toContain(`broker:9092 does not accept the ${sasl.mechanism} credentials of "sasl": `);
    await world.clock.settle();
    expect(broker.connections.size).toBe(0);
    expect(world.clock.pendingTimers).toBe(0);
  });

  test("a name with the marks of the protocol, and beyond ASCII", async () => {
    const username = "a=b,c=2C=3Dπ";
    const fake = FakeSasl.on(broker, { clock: world.clock, username, password: "пароль,=" });
    guarded(fake);
    await open({ ...sasl, username, password: "пароль,=" });
    expect(fake.users).toEqual([username]);
  });

  test("a mechanism that is not offered is named with those that are", async () => {
    const mechanisms = ["GSSAPI", "AWS_MSK_IAM"];
    guarded(FakeSasl.on(broker, { clock: world.clock, mechanisms }));
    const error = await refusal(open(sasl));
    expect(error).toMatchObject({ code: "UNSUPPORTED_SASL_MECHANISM", retriable: false });
    expect(error.message).toBe(
      `broker:9092 does not offer ${sasl.mechanism}, but GSSAPI, AWS_MSK_IAM: set sasl.mechanism to one of these`,
    );
  });
});

test("RFC 7677's own example of SCRAM-SHA-256", async () => {
  const nonce = Buffer.from("rOprNGfwEbeRWgbNEkqO", "base64");
  const random = { bytes: () => nonce, fraction: () => 0 };
  const options = { mechanism: "SCRAM-SHA-256", username: "user", password: "pencil" } as const;
  const exchange = scram(options, "broker:9092", random);
  expect(exchange.first.toString()).toBe("n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
  const serverNonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
  const proof = exchange.next(Buffer.from(`r=${serverNonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`));
  expect(proof?.toString()).toBe(`c=biws,r=${serverNonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=`);
  expect(exchange.next(Buffer.from("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="))).toBeNull();
});

test.for([
  ["another nonce", (m: string) => m.replace(/^r=.{5}/, "r=XXXXX"), "somebody replays it"],
  ["our nonce alone", (m: string) => m.replace("fromServer", ""), "somebody replays it"],
  ["too few iterations", (m: string) => m.replace("i=4096", "i=4095"), "4095 iterations"],
  ["iterations to keep us busy", (m: string) => m.replace("i=4096", "i=2147483647"), "2147483647 iterations"],
  [
    "an extension that must be understood",
    (m: string) => m.replace("r=", "m=x,r="),
    "its challenge is not one of SCRAM",
  ],
  ["no salt", (m: string) => m.replace(/,s=[^,]*/, ""), "its challenge is not one of SCRAM"],
  ["nothing", () => "", "its challenge is not one of SCRAM"],
  ["a megabyte", (m: string) => m + "x".repeat(1 << 20), "a challenge of"],
  ["another signature", (m: string) => m.replace(/^v=..../, "v=AAAA"), "its signature is not of this password"],
  ["no signature", (m: string) => (m.startsWith("v=") ? "v=" : m), "its signature is not of this password"],
  ["an end without proof", (m: string) => (m.startsWith("v=") ? "" : m), "its signature is not of this password"],
  ["a reason against us", (m: string) => (m.startsWith("v=") ? "e=other-error\u0007" : m), "other-error?"],
] as const)("a SCRAM server that gives %s is not believed", async ([, tamper, reason]) => {
  const fake = FakeSasl.on(broker, { clock: world.clock });
  guarded(fake);
  fake.tamper = tamper;
  const error = await refusal(open(scram256));
  expect(error).toMatchObject({ code: "SASL_AUTHENTICATION_FAILED", retriable: false });
  expect(error.message).toContain(reason);
  expect(error.message.length).toBeLessThan(400);
});

test("each SCRAM exchange has a nonce of its own", async () => {
  guarded(FakeSasl.on(broker, { clock: world.clock }));
  await open(scram256);
  await open(scram256);
  const firsts = broker.asked
    .map(({ message }) => Buffer.from((message as { authBytes?: Buffer }).authBytes ?? "").toString())
    .filter((text) => text.startsWith("n,,"));
  expect(new Set(firsts).size).toBe(2);
});

describe("OAUTHBEARER", () => {
  const value = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJiaWxsaW5nIn0.";
  let fake: FakeSasl;
  beforeEach(() => {
    fake = FakeSasl.on(broker, { clock: world.clock });
    fake.tokens.set(value, "");
    guarded(fake);
  });

  test("gives the token that the function gives, for each connection anew", async () => {
    let count = 0;
    const sasl = bearer(async () => ({ value: count++ === 0 ? value : "second" }));
    fake.tokens.set("second", "");
    expect(await ask(await open(sasl))).toBe("guarded");
    expect(await ask(await open(sasl))).toBe("guarded");
    expect(fake.users).toEqual([value, "second"]);
  });

  test("gives extensions", async () => {
    fake.tokens.set(value, "logicalCluster=lkc-1 identityPoolId=pool=1");
    await open(bearer(() => ({ value, extensions: { logicalCluster: "lkc-1", identityPoolId: "pool=1" } })));
    expect(fake.users).toEqual([value]);
  });

  test("the broker's reason against a token is told, and the token is not", async () => {
    const error = await refusal(open(bearer(() => ({ value: "wrong-token" }))), ["wrong-token"]);
    expect(error).toMatchObject({ code: "SASL_AUTHENTICATION_FAILED", retriable: false });
    expect(error.message).toBe(
      'broker:9092 does not accept the OAUTHBEARER credentials of "sasl": invalid_token; ' +
        'a token of the scope "kafka" is wanted; tokens are given out as https://id.test/.well-known says',
    );
  });

  test("a function that fails may succeed later; its own error is the cause", async () => {
    const cause = new Error("503 of the token server");
    const error = await refusal(open(bearer(() => Promise.reject(cause))));
    expect(error).toMatchObject({ code: "TOKEN_FAILED", retriable: true, cause });
    expect(error.message).not.toContain("503");
    await world.clock.settle();
    expect([broker.connections.size, world.clock.pendingTimers]).toEqual([0, 0]);
  });

  test("a function that never answers is not waited for without end", async () => {
    const opening = refusal(
      open(
        bearer(() => new Promise(() => {})),
        2_000,
      ),
    );
    await world.clock.advance(2_000);
    expect(await opening).toMatchObject({ code: "TOKEN_FAILED", retriable: true });
    expect((await opening).message).toContain("gave no token within 2000 ms");
  });

  test("a function that never answers does not hold up the end of the cluster", async () => {
    const cluster = new Cluster({ brokers: [broker.text], world, sasl: bearer(() => new Promise(() => {})) });
    const opening = refusal(cluster.connect());
    await world.clock.advance(100);
    let isClosed = false;
    void cluster.close().then(() => void (isClosed = true));
    await world.clock.advance(1);
    expect(isClosed).toBe(true);
    expect(await opening).toMatchObject({ code: "CLOSED" });
    expect(world.clock.pendingTimers).toBe(0);
  });

  test.for([
    ["no object", (): unknown => "token", "must give an object"],
    ["an empty token", (): unknown => ({ value: "" }), "gave a value that no token can be"],
    ["marks of the protocol", (): unknown => ({ value: "hidden\u0001auth=x" }), "gave a value that no token can be"],
    ["an extension named auth", (): unknown => ({ value, extensions: { auth: "hidden" } }), 'an extension "auth"'],
    ["an extension with a mark", (): unknown => ({ value, extensions: { a: "hidden\u0001" } }), 'an extension "a"'],
  ] as const)("%s is the caller's mistake", async ([, token, message]) => {
    const error = await refusal(open(bearer(token as () => OAuthBearerToken)), ["hidden"]);
    expect(error).toMatchObject({ code: "INVALID_CONFIG", retriable: false });
    expect(error.message).toContain(message);
  });
});

test.for([
  ["says so (as Kafka does)", true],
  ["knows no SASL at all", false],
] as const)("a port that authenticates nobody and %s: leave sasl out", async ([, isTold]) => {
  broker.on(metadata, () => ({ clusterId: "open", brokers: [], topics: [] }));
  if (isTold) broker.on(saslHandshake, () => ({ errorCode: ErrorCode.ILLEGAL_SASL_STATE, mechanisms: [] }));
  if (isTold) broker.on(saslAuthenticate, () => silence);
  const error = await refusal(open(plain));
  expect(error).toMatchObject({ code: "ILLEGAL_SASL_STATE", retriable: false });
  expect(error.message).toContain('leave "sasl" out');
});

test("a client that says nothing of itself where that is wanted hears so, and does not try for ever", async () => {
  guarded(FakeSasl.on(broker, { clock: world.clock }));
  await using cluster = new Cluster({ brokers: [broker.text], world });
  const first = await refusal(cluster.wire.topics());
  expect(first).toMatchObject({ code: "NETWORK_EXCEPTION", retriable: true });
  expect(first.message).toContain('the broker wants to know who we are (set "sasl")');
  const all = refusal(cluster.wire.retrying({ what: "it", timeoutMs: 600_000 }, async () => cluster.wire.topics()));
  await world.clock.advance(5_000);
  expect(await all).toMatchObject({ code: "SASL_WANTED", retriable: false });
  expect((await all).message).toContain('set "sasl"');
  expect(broker.connectionsCount).toBe(5);
});

test("a broker that has answered before is not said to want more, whatever breaks later", async () => {
  let isDown = false;
  const answer = { clusterId: "open", brokers: [], topics: [] };
  broker.on(metadata, ({ connection }) => (isDown ? (connection.end(), silence) : answer));
  await using cluster = new Cluster({ brokers: [broker.text], world });
  await cluster.wire.topics();
  isDown = true;
  const all = cluster.wire.retrying({ what: "it", timeoutMs: 30_000 }, async () => cluster.wire.topics());
  await world.clock.advance(20_000);
  isDown = false;
  await world.clock.advance(2_000);
  expect(await all).toEqual([]);
});

test("a broker that asks on and on is given up", async () => {
  FakeSasl.on(broker, { clock: world.clock });
  broker.on(saslAuthenticate, () => ({ errorCode: 0, errorMessage: null, authBytes: Buffer.from("more") }));
  const endless = bearer(() => ({ value: "t" }));
  const error = await refusal(open(endless));
  expect(error.code).toBe("SASL_AUTHENTICATION_FAILED");
  expect(broker.names.filter((name) => name === "SaslAuthenticate").length).toBeLessThan(10);
});

test("wrong credentials are shown to one broker, not to all of them", async () => {
  const fakes = [broker, await FakeBroker.start(world.network, 9093)];
  for (const each of fakes) FakeSasl.on(each, { clock: world.clock });
  const brokers = fakes.map(({ text }) => text);
  await using cluster = new Cluster({ brokers, world, sasl: { ...plain, password: "wrong" } });
  await refusal(cluster.connect(), ["wrong"]);
  expect(fakes.map(({ connectionsCount }) => connectionsCount)).toEqual([1, 0]);
});

test.for([
  ["no name", { ...plain, username: "" }, "sasl.username"],
  ["no password", { mechanism: "PLAIN", username: "a" }, "sasl.password"],
  ["a NUL in a password", { ...plain, password: `${secret}\0` }, "sasl.password"],
  ["an unknown mechanism", { ...plain, mechanism: "GSSAPI" }, "sasl.mechanism"],
  ["no function", { mechanism: "OAUTHBEARER", token: secret }, "sasl.token"],
] as const)("%s is refused before anything is connected", ([, sasl, option]) => {
  expect(() => new Cluster({ brokers: ["a:1"], sasl: sasl as never })).toThrow(option);
  expect(() => new Cluster({ brokers: ["a:1"], sasl: sasl as never })).not.toThrow(secret);
});
