import diagnostics from "node:diagnostics_channel";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from "vitest";
import type { TlsClientOptions } from "@millrace/base/world";
import { Cluster } from "@millrace/client/cluster";
import type { ClusterOptions } from "@millrace/client/cluster";
import { KafkaError } from "@millrace/client/errors";
import { channels } from "@millrace/client/network/diagnostics";
import type { ClientEvents } from "@millrace/client/network/diagnostics";
import type { SaslOptions } from "@millrace/client/network/sasl";
import { skipWhenMissing } from "./journey.ts";
import { repositoryRoot } from "./runtimes.ts";
import type { ListenerName } from "./target.ts";
import { Target, whyTargetMissing } from "./target.ts";

/**
 * The client's TLS and SASL against Apache Kafka, whatever `--target` says: Millrace has neither yet.
 */
const missing = whyTargetMissing("kafka");
const pem = (name: string): string => readFileSync(join(repositoryRoot, "base/testdata/tls", `${name}.pem`), "utf8");
/** As a value in a file of properties. */
const property = (name: string): string => pem(name).replaceAll("\n", "\\n");

const password = "pencil-Sharpener-42";
const sessionMs = 2_000;
const modules = "org.apache.kafka.common.security";
const scramModule = `${modules}.scram.ScramLoginModule required;`;
const ofTls = {
  "ssl.keystore.type": "PEM",
  "ssl.keystore.certificate.chain": property("server"),
  "ssl.keystore.key": property("server-key"),
  "ssl.truststore.type": "PEM",
  "ssl.truststore.certificates": property("ca"),
};
const listeners = {
  SSL: { ...ofTls, "ssl.client.auth": "required" },
  SASL_PLAINTEXT: {
    "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
    "plain.sasl.jaas.config": `${modules}.plain.PlainLoginModule required user_billing="${password}";`,
    "scram-sha-256.sasl.jaas.config": scramModule,
    "scram-sha-512.sasl.jaas.config": scramModule,
    "oauthbearer.sasl.jaas.config": `${modules}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";`,
    "plain.connections.max.reauth.ms": `${sessionMs}`,
    "scram-sha-256.connections.max.reauth.ms": `${sessionMs}`,
    "oauthbearer.connections.max.reauth.ms": `${sessionMs}`,
  },
  SASL_SSL: { ...ofTls, "sasl.enabled.mechanisms": "SCRAM-SHA-256", "scram-sha-256.sasl.jaas.config": scramModule },
};
const formatArguments = ["SCRAM-SHA-256", "SCRAM-SHA-512"].flatMap((mechanism) => [
  "--add-scram",
  `${mechanism}=[name=billing,password=${password}]`,
]);

let target: Target;
beforeAll(async () => {
  if (missing === null) target = await Target.start({ name: "kafka", isBrief: true, listeners, formatArguments });
});
afterAll(async () => target?.[Symbol.asyncDispose]());
beforeEach((context) => skipWhenMissing(context, missing));

const plain = { mechanism: "PLAIN", username: "billing", password } as const;
const scram256 = { ...plain, mechanism: "SCRAM-SHA-256" } as const;
const scram512 = { ...plain, mechanism: "SCRAM-SHA-512" } as const;

/** As Kafka's validator for tests takes it: signed by nobody. */
function unsignedToken(lifetimeSeconds: number, subject = "billing"): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const now = Math.floor(Date.now() / 1000);
  return `${part({ alg: "none" })}.${part({ sub: subject, iat: now, exp: now + lifetimeSeconds })}.`;
}
const bearer: SaslOptions = { mechanism: "OAUTHBEARER", token: async () => ({ value: unsignedToken(3_600) }) };

const ca = pem("ca");
const ofClient = { ca, cert: pem("client"), key: pem("client-key") };

function clusterAt(listener: ListenerName | "PLAINTEXT", options: Partial<ClusterOptions> = {}): Cluster {
  const port = listener === "PLAINTEXT" ? target.port : target.portOf(listener);
  return new Cluster({ brokers: [`127.0.0.1:${port}`], ...options });
}

let topicsCount = 0;
/** A topic is made, written and read. */
async function works(cluster: Cluster): Promise<void> {
  const topic = `secured-${++topicsCount}`;
  await cluster.admin().topics.create({ name: topic, partitions: 2 });
  await using producer = cluster.producer();
  const values = Array.from({ length: 500 }, (_, index) => `${index}-${"x".repeat(index * 10)}`);
  await Promise.all(values.map((value, index) => producer.send(topic, { value, partition: index % 2 })));
  const read: string[] = [];
  for await (const { value } of cluster.consumer().records(topic, { untilEnd: true })) read.push(String(value));
  expect(read.toSorted()).toEqual(values.toSorted());
}

test.for([
  ["SASL_PLAINTEXT", "PLAIN", { sasl: plain }],
  ["SASL_PLAINTEXT", "SCRAM-SHA-256", { sasl: scram256 }],
  ["SASL_PLAINTEXT", "SCRAM-SHA-512", { sasl: scram512 }],
  ["SASL_PLAINTEXT", "OAUTHBEARER", { sasl: bearer }],
  ["SASL_SSL", "SCRAM-SHA-256", { sasl: scram256, tls: { ca } }],
  ["SSL", "a client certificate", { tls: ofClient }],
  ["SSL", "a client certificate, by TLS 1.2 or newer", { tls: { ...ofClient, minVersion: "TLSv1.2" } }],
] as const)("%s with %s: records go there and come back", async ([listener, , options]) => {
  await using cluster = clusterAt(listener, options);
  await works(cluster);
});

/** The error, in which no password is. */
async function refusal(cluster: Cluster): Promise<KafkaError> {
  const retry = { what: "the topics", timeoutMs: 4_000 };
  const asking = cluster.wire.retrying(retry, async () => cluster.wire.topics());
  const error: unknown = await asking.then(
    () => "no error",
    (reason: unknown) => reason,
  );
  await cluster.close();
  expect(error).toBeInstanceOf(KafkaError);
  expect(inspect(error, { depth: 10 })).not.toContain(password);
  return error as KafkaError;
}

// Where a broker only hangs up, it may just be restarting behind something that takes connections: that is tried again in its time.
test.concurrent.for([
  [
    "a wrong password",
    "SASL_PLAINTEXT",
    { sasl: { ...plain, password: "wrong" } },
    "SASL_AUTHENTICATION_FAILED",
    "Invalid username or password",
  ],
  [
    "a wrong password for SCRAM",
    "SASL_PLAINTEXT",
    { sasl: { ...scram512, password: "wrong" } },
    "SASL_AUTHENTICATION_FAILED",
    "does not accept the SCRAM-SHA-512 credentials",
  ],
  [
    "an unknown user",
    "SASL_PLAINTEXT",
    { sasl: { ...scram256, username: "nobody" } },
    "SASL_AUTHENTICATION_FAILED",
    "does not accept the SCRAM-SHA-256 credentials",
  ],
  [
    "an expired token",
    "SASL_PLAINTEXT",
    { sasl: { mechanism: "OAUTHBEARER", token: () => ({ value: unsignedToken(-100) }) } },
    "SASL_AUTHENTICATION_FAILED",
    "invalid_token",
  ],
  [
    "a mechanism that is not offered",
    "SASL_SSL",
    { tls: { ca }, sasl: plain },
    "UNSUPPORTED_SASL_MECHANISM",
    "does not offer PLAIN, but SCRAM-SHA-256",
  ],
  ["SASL on a port without", "PLAINTEXT", { sasl: plain }, "ILLEGAL_SASL_STATE", 'leave "sasl" out'],
  ["no SASL on a port with", "SASL_PLAINTEXT", {}, "SASL_WANTED", 'set "sasl"'],
  ["TLS on a port without", "PLAINTEXT", { tls: { ca } }, "TIMED_OUT", 'it may speak no TLS (leave "tls" out)'],
  ["no TLS on a port with", "SSL", {}, "TLS_FAILED", 'set "tls"'],
  [
    "no client certificate",
    "SSL",
    { tls: { ca } },
    "TIMED_OUT",
    "it may want a client certificate (tls.cert, tls.key)",
  ],
  [
    "a client certificate of a stranger",
    "SSL",
    { tls: { ca, cert: pem("stranger"), key: pem("stranger-key") } },
    "TIMED_OUT",
    "it may want a client certificate (tls.cert, tls.key)",
  ],
  ["another authority", "SASL_SSL", { tls: { ca: pem("other-ca") }, sasl: scram256 }, "TLS_FAILED", "tls.ca"],
  [
    "another name",
    "SASL_SSL",
    { tls: { ca, serverName: "elsewhere.test" }, sasl: scram256 },
    "TLS_FAILED",
    "tls.serverName",
  ],
] as const)("%s is an error that says what to do", async ([, listener, options, code, message]) => {
  const { tls, ...others } = options as { tls?: TlsClientOptions; sasl?: SaslOptions };
  const error = await refusal(clusterAt(listener, { ...others, ...(tls === undefined ? {} : { tls }) }));
  expect(`${error.code}: ${error.message}`).toContain(message);
  expect(error.code, error.message).toBe(code);
});

/** The events of a channel, from now on. */
function heard<Name extends keyof ClientEvents>(name: Name): ClientEvents[Name][] {
  const events: ClientEvents[Name][] = [];
  const note = (event: unknown): void => void events.push(event as ClientEvents[Name]);
  diagnostics.subscribe(channels[name], note);
  onTestFinished(() => void diagnostics.unsubscribe(channels[name], note));
  return events;
}

test.for([
  ["PLAIN", plain, 3],
  ["SCRAM-SHA-256", scram256, 3],
  ["OAUTHBEARER", bearer, 3],
] as const)(
  "%s: sessions of two seconds are renewed under what is written and read, and nothing notices",
  { timeout: 60_000 },
  async ([, sasl, renewalsMin]) => {
    const renewals = heard("reauthentication");
    const closed = heard("connectionClosed");
    const requests = heard("request");
    const topic = `renewed-${++topicsCount}`;
    const cluster = clusterAt("SASL_PLAINTEXT", { sasl });
    await cluster.admin().topics.create({ name: topic, partitions: 1 });
    const stop = new AbortController();
    const read: string[] = [];
    const reading = (async () => {
      for await (const { value } of cluster.consumer({ maxWaitMs: 300 }).records(topic, { signal: stop.signal }))
        read.push(String(value));
    })();
    const producer = cluster.producer();
    const sent: string[] = [];
    const writing = Array.from({ length: 4 }, async (_, writer) => {
      const endMs = performance.now() + 5_500;
      for (let index = 0; performance.now() < endMs; index++) {
        const value = `${writer}-${index}`;
        await producer.send(topic, { value });
        sent.push(value);
      }
    });
    await Promise.all(writing);
    while (read.length < sent.length) await new Promise((resolve) => setTimeout(resolve, 20));
    stop.abort();
    await reading;
    // The reader closes its own connection at its end, with what waits on it.
    expect(closed.filter(({ error }) => error.code !== "CLOSED")).toEqual([]);
    expect(requests.filter(({ error }) => error !== null && error.code !== "CLOSED")).toEqual([]);
    await producer.close();
    await cluster.close();
    expect(read.toSorted()).toEqual(sent.toSorted());
    expect(new Set(read).size).toBe(read.length);
    expect(renewals.map(({ error }) => error)).toEqual(renewals.map(() => null));
    expect(renewals.length).toBeGreaterThanOrEqual(renewalsMin);
    console.log(
      `${sasl.mechanism}: ${sent.length} records, ${renewals.length} renewals, the longest ${Math.round(Math.max(...renewals.map(({ durationMs }) => durationMs)))} ms`,
    );
  },
);
