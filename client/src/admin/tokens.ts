import { createDelegationToken } from "kafka-protocol-ts/messages/38-create-delegation-token";
import { renewDelegationToken } from "kafka-protocol-ts/messages/39-renew-delegation-token";
import { expireDelegationToken } from "kafka-protocol-ts/messages/40-expire-delegation-token";
import { describeDelegationToken } from "kafka-protocol-ts/messages/41-describe-delegation-token";
import type { CallOptions, Calls } from "./calls.ts";
import { check, unsupported } from "./calls.ts";
import { KafkaError } from "../errors.ts";
import { anyBroker, controller } from "./routes.ts";

/** A token with which its holder acts as its owner, until it expires (KIP-48). */
export interface DelegationToken {
  /** Its name, which is no secret. */
  readonly tokenId: string;
  /** The secret: with `tokenId` as the user's name it is the password for SCRAM. */
  readonly hmac: Buffer;
  /** "User:alice" */
  readonly owner: string;
  /** Who asked for it; empty where the broker is older than 3.3. */
  readonly requester: string;
  /** Who may renew it beside its owner. */
  readonly renewers: readonly string[];
  /** Milliseconds since 1970. */
  readonly issuedAtMs: number;
  /** Milliseconds since 1970; a renewal moves it. */
  readonly expiresAtMs: number;
  /** No renewal goes beyond it. */
  readonly renewableUntilMs: number;
}

/** What token to make. */
export interface CreateTokenOptions extends CallOptions {
  /** "User:alice". Absent: who asks. */
  readonly owner?: string;
  /** Who may renew it beside its owner. */
  readonly renewers?: readonly string[];
  /** Absent: the broker's delegation.token.max.lifetime.ms. */
  readonly lifetimeMsMax?: number;
}

/** Whose tokens to list. */
export interface ListTokensOptions extends CallOptions {
  /** Absent: all that who asks may see. */
  readonly owners?: readonly string[];
}

/** The broker's own setting. */
const asSet = -1;
const atOnce = -1;

/**
 * Delegation tokens. Brokers take these calls over authenticated connections only: else they answer
 * DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, and DELEGATION_TOKEN_AUTH_DISABLED where tokens are switched off.
 *
 * @example
 *     const { tokenId, hmac } = await admin.tokens.create({ renewers: ["User:alice"] });
 */
export class TokensAdmin {
  readonly #calls: Calls;

  constructor(calls: Calls) {
    this.#calls = calls;
  }

  /**
   * Makes a token. A lost answer is not asked for again: it would be a second token.
   *
   * @throws KafkaError as the class says; UNSUPPORTED_VERSION for another owner where the broker is older than 3.3.
   */
  async create(options: CreateTokenOptions = {}): Promise<DelegationToken> {
    const { owner, renewers = [], lifetimeMsMax = asSet } = options;
    const parts = { call: "tokens.create", route: controller(this.#calls.wire), mayRepeat: false };
    return this.#calls.ask(parts, options, async (connection) => {
      const version = connection.versionOf(createDelegationToken);
      if (owner !== undefined && version < 3)
        throw unsupported(connection, "CreateDelegationToken", "name another owner");
      const answer = await connection.request(createDelegationToken, {
        ...ownerOf(version, owner),
        renewers: renewers.map(principal),
        maxLifetimeMs: lifetimeMsMax,
      });
      check(answer, "tokens.create", connection);
      return {
        tokenId: answer.tokenId,
        hmac: answer.hmac,
        owner: text(answer.principalType, answer.principalName),
        requester: text(answer.tokenRequesterPrincipalType, answer.tokenRequesterPrincipalName),
        renewers,
        issuedAtMs: answer.issueTimestampMs,
        expiresAtMs: answer.expiryTimestampMs,
        renewableUntilMs: answer.maxTimestampMs,
      };
    });
  }

  /**
   * Lets a token live for so long from now on, and tells when it expires. Absent: the broker's
   * delegation.token.expiry.time.ms.
   *
   * @throws KafkaError DELEGATION_TOKEN_NOT_FOUND, DELEGATION_TOKEN_EXPIRED, DELEGATION_TOKEN_OWNER_MISMATCH.
   */
  async renew(hmac: Uint8Array, options: CallOptions & { readonly lifetimeMs?: number } = {}): Promise<number> {
    const parts = { call: "tokens.renew", route: controller(this.#calls.wire) };
    return this.#calls.ask(parts, options, async (connection) => {
      const renewPeriodMs = options.lifetimeMs ?? asSet;
      const answer = await connection.request(renewDelegationToken, { hmac, renewPeriodMs });
      check(answer, "tokens.renew", connection);
      return answer.expiryTimestampMs;
    });
  }

  /**
   * Ends a token: at once, or after so long. Tells when it expires.
   *
   * @throws KafkaError DELEGATION_TOKEN_NOT_FOUND, DELEGATION_TOKEN_OWNER_MISMATCH.
   */
  async expire(hmac: Uint8Array, options: CallOptions & { readonly afterMs?: number } = {}): Promise<number> {
    const parts = { call: "tokens.expire", route: controller(this.#calls.wire) };
    return this.#calls.ask(parts, options, async (connection) => {
      const expiryTimePeriodMs = options.afterMs ?? atOnce;
      const answer = await connection.request(expireDelegationToken, { hmac, expiryTimePeriodMs });
      check(answer, "tokens.expire", connection);
      return answer.expiryTimestampMs;
    });
  }

  /** The tokens that whoever asks owns, may renew, or may describe. */
  async list(options: ListTokensOptions = {}): Promise<readonly DelegationToken[]> {
    const parts = { call: "tokens.list", route: anyBroker(this.#calls.wire) };
    return this.#calls.ask(parts, options, async (connection) => {
      const owners = options.owners?.map(principal) ?? null;
      const answer = await connection.request(describeDelegationToken, { owners });
      check(answer, "tokens.list", connection);
      return answer.tokens.map((token) => ({
        tokenId: token.tokenId,
        hmac: token.hmac,
        owner: text(token.principalType, token.principalName),
        requester: text(token.tokenRequesterPrincipalType, token.tokenRequesterPrincipalName),
        renewers: token.renewers.map(({ principalType, principalName }) => text(principalType, principalName)),
        issuedAtMs: token.issueTimestamp,
        expiresAtMs: token.expiryTimestamp,
        renewableUntilMs: token.maxTimestamp,
      }));
    });
  }
}

function ownerOf(version: number, owner: string | undefined) {
  if (version < 3) return {};
  if (owner === undefined) return { ownerPrincipalType: null, ownerPrincipalName: null };
  const { principalType, principalName } = principal(owner);
  return { ownerPrincipalType: principalType, ownerPrincipalName: principalName };
}

function principal(of: string): { readonly principalType: string; readonly principalName: string } {
  const at = of.indexOf(":");
  if (at <= 0) throw new KafkaError("INVALID_CONFIG", `principal "${of}": write it as "User:alice"`);
  return { principalType: of.slice(0, at), principalName: of.slice(at + 1) };
}

function text(type: string, name: string): string {
  return type === "" && name === "" ? "" : `${type}:${name}`;
}
