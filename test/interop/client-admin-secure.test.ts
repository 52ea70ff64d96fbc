import { createHash, createHmac, pbkdf2Sync } from "node:crypto";
import { Cluster } from "@millrace/client";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { saslHandshake } from "kafka-protocol-ts/messages/17-sasl-handshake";
import { saslAuthenticate } from "kafka-protocol-ts/messages/36-sasl-authenticate";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { RawClient } from "../journeys/raw-client.ts";
import { codeOf, soon } from "./client-admin.ts";
import { skipWhenMissing } from "./journey.ts";
import { Target, whyTargetMissing } from "./target.ts";

describe("the admin against kafka, over connections that say who they are", () => {
  const missing = whyTargetMissing("kafka");
  const password = "not a secret";
  const module = (name: string): string => `org.apache.kafka.common.security.${name}LoginModule required`;
  let target: Target;
  let cluster: Cluster;

  beforeAll(async () => {
    if (missing !== null) return;
    const settings = {
      "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:SASL_PLAINTEXT",
      "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
      "sasl.mechanism.inter.broker.protocol": "PLAIN",
      "listener.name.plaintext.plain.sasl.jaas.config": `${module("plain.Plain")} username="admin" password="${password}" user_admin="${password}";`,
      "listener.name.plaintext.scram-sha-256.sasl.jaas.config": `${module("scram.Scram")};`,
      "listener.name.plaintext.scram-sha-512.sasl.jaas.config": `${module("scram.Scram")};`,
      "delegation.token.secret.key": "a secret of these tests",
    };
    target = await Target.start({ name: "kafka", isBrief: true, settings });
    cluster = new Cluster({ brokers: [target.address], sasl: { mechanism: "PLAIN", username: "admin", password } });
  });
  afterAll(async () => {
    await cluster?.close();
    await target?.[Symbol.asyncDispose]();
  });
  beforeEach((context) => skipWhenMissing(context, missing));

  test("delegation tokens are made, renewed, listed and ended", async () => {
    const { tokens } = cluster.admin();
    const token = await tokens.create({ renewers: ["User:helper"], lifetimeMsMax: 3_600_000 });
    expect(token).toMatchObject({ owner: "User:admin", requester: "User:admin", renewers: ["User:helper"] });
    expect(token.renewableUntilMs - token.issuedAtMs).toBe(3_600_000);
    await soon(async () => expect(await tokens.list({ owners: ["User:admin"] })).toEqual([token]));
    expect(await tokens.list({ owners: ["User:nobody"] })).toEqual([]);
    expect(await tokens.renew(token.hmac, { lifetimeMs: 60_000 })).toBeLessThanOrEqual(Date.now() + 60_000);
    expect(await codeOf(tokens.renew(Buffer.alloc(64)))).toBe("DELEGATION_TOKEN_NOT_FOUND");
    await tokens.expire(token.hmac);
    await soon(async () => expect(await tokens.list()).toEqual([]));
  });

  test.each(["SCRAM-SHA-256", "SCRAM-SHA-512"] as const)(
    "who was given a password logs in by %s",
    async (mechanism) => {
      await cluster.admin().users.alter({ user: "alice", mechanism, password: "pÄssword, with commas=" });
      const login = { user: "alice", mechanism, port: target.port };
      await soon(async () => expect(await scramErrorOf({ ...login, password: "pÄssword, with commas=" })).toBe(0));
      expect(await scramErrorOf({ ...login, password: "another" })).toBe(ErrorCode.SASL_AUTHENTICATION_FAILED);
    },
  );
});

/** RFC 5802 in its shortest form: what a broker answers to the last message. */
async function scramErrorOf(login: {
  readonly user: string;
  readonly password: string;
  readonly mechanism: "SCRAM-SHA-256" | "SCRAM-SHA-512";
  readonly port: number;
}): Promise<number> {
  const { user, password, mechanism, port } = login;
  const [hash, length] = mechanism === "SCRAM-SHA-256" ? (["sha256", 32] as const) : (["sha512", 64] as const);
  const hmac = (key: Buffer, text: string): Buffer => createHmac(hash, key).update(text).digest();
  await using raw = await RawClient.connect({ host: "127.0.0.1", port });
  await raw.request(saslHandshake, 1, { mechanism });
  const first = `n=${user},r=mine`;
  const { authBytes, errorCode } = await raw.request(saslAuthenticate, 2, { authBytes: Buffer.from(`n,,${first}`) });
  if (errorCode !== 0) return errorCode;
  const challenge = authBytes.toString();
  const [, nonce = "", salt = "", iterations = ""] = /^r=(.*),s=(.*),i=(\d+)$/.exec(challenge) ?? [];
  const salted = pbkdf2Sync(password, Buffer.from(salt, "base64"), Number(iterations), length, hash);
  const clientKey = hmac(salted, "Client Key");
  const last = `c=biws,r=${nonce}`;
  const signature = hmac(createHash(hash).update(clientKey).digest(), `${first},${challenge},${last}`);
  const proof = Buffer.from(clientKey.map((byte, at) => byte ^ (signature[at] ?? 0))).toString("base64");
  return (await raw.request(saslAuthenticate, 2, { authBytes: Buffer.from(`${last},p=${proof}`) })).errorCode;
}
