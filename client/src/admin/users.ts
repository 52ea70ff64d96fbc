import { pbkdf2 } from "node:crypto";
import { promisify } from "node:util";
import { describeUserScramCredentials } from "kafka-protocol-ts/messages/50-describe-user-scram-credentials";
import { alterUserScramCredentials } from "kafka-protocol-ts/messages/51-alter-user-scram-credentials";
import { KafkaError } from "../errors.ts";
import type { Batch, CallOptions, Calls } from "./calls.ts";
import { check, reply } from "./calls.ts";
import { isMany } from "./outcome.ts";
import type { Outcome } from "./outcome.ts";
import { anyBroker, controller } from "./routes.ts";
import { words } from "./words.ts";
import type { Words } from "./words.ts";

/** The hashes that SCRAM knows in Kafka. */
export type ScramMechanism = "SCRAM-SHA-256" | "SCRAM-SHA-512";

/** What a cluster tells of a user's credential. The password cannot be told: the cluster does not know it. */
export interface ScramCredential {
  /** Which hash; "unknown" where it is newer than this client. */
  readonly mechanism: ScramMechanism | "unknown";
  /** How often the password was hashed. */
  readonly iterations: number;
}

/** A credential to be set, in place of one that the user may have, or to be deleted. */
export type ScramChange = ScramUpsertion | ScramDeletion;

/** A credential to be set. */
export interface ScramUpsertion {
  /** Whose. */
  readonly user: string;
  /** Which of the user's credentials. */
  readonly mechanism: ScramMechanism;
  /** Never leaves this process: brokers get it salted and hashed. */
  readonly password: string;
  /** 4,096 to 16,384. Default 8,192. */
  readonly iterations?: number;
  /** Default: 32 random bytes. */
  readonly salt?: Uint8Array;
}

/** A credential to be deleted. */
export interface ScramDeletion {
  /** Whose. */
  readonly user: string;
  /** Which of the user's credentials. */
  readonly delete: ScramMechanism;
}

const mechanisms: Words<ScramMechanism> = words("SCRAM mechanism", { "SCRAM-SHA-256": 1, "SCRAM-SHA-512": 2 });
const hashes = {
  "SCRAM-SHA-256": ["sha256", 32],
  "SCRAM-SHA-512": ["sha512", 64],
} as const satisfies Record<ScramMechanism, readonly [string, number]>;
const iterationsDefault = 8_192;
const saltBytes = 32;
const derive = promisify(pbkdf2);

/**
 * Users who prove who they are by SCRAM.
 *
 * @example
 *     await admin.users.alter({ user: "alice", mechanism: "SCRAM-SHA-512", password: process.env["PASSWORD"] ?? "" });
 */
export class UsersAdmin {
  readonly #calls: Calls;

  constructor(calls: Calls) {
    this.#calls = calls;
  }

  /**
   * Everybody who has credentials, by name.
   *
   *     for (const [user, credentials] of await admin.users.list()) console.log(user, credentials);
   */
  async list(options: CallOptions = {}): Promise<ReadonlyMap<string, readonly ScramCredential[]>> {
    const parts = { call: "users.list", route: anyBroker(this.#calls.wire) };
    return this.#calls.ask(parts, options, async (connection) => {
      const answer = await connection.request(describeUserScramCredentials, { users: null });
      check(answer, "users", connection);
      for (const result of answer.results) check(result, `user ${result.user}`, connection);
      return new Map(answer.results.map(({ user, credentialInfos }) => [user, credentialInfos.map(credentialOf)]));
    });
  }

  /**
   * The credentials of users.
   *
   * @throws KafkaError of a single user: RESOURCE_NOT_FOUND where there is no credential.
   */
  describe(user: string, options?: CallOptions): Promise<readonly ScramCredential[]>;
  describe(
    users: readonly string[],
    options?: CallOptions,
  ): Promise<readonly Outcome<string, readonly ScramCredential[]>[]>;
  async describe(
    users: string | readonly string[],
    options: CallOptions = {},
  ): Promise<readonly ScramCredential[] | readonly Outcome<string, readonly ScramCredential[]>[]> {
    const batch: Batch<string, readonly ScramCredential[]> = {
      call: "users.describe",
      items: isMany(users) ? users : [users],
      name: (user) => `user ${user}`,
      route: anyBroker(this.#calls.wire),
      send: async (connection, items) => {
        const answer = await connection.request(describeUserScramCredentials, {
          users: items.map((name) => ({ name })),
        });
        check(answer, "users", connection);
        const said = new Map(answer.results.map((result) => [result.user, result]));
        return items.map((user) => reply(said.get(user), ({ credentialInfos }) => credentialInfos.map(credentialOf)));
      },
    };
    return isMany(users) ? this.#calls.each(batch, options) : this.#calls.one(batch, options);
  }

  /**
   * Sets and deletes credentials. The password is salted and hashed here (PBKDF2), as SCRAM wants it.
   *
   *     await admin.users.alter({ user: "alice", mechanism: "SCRAM-SHA-512", password });
   *
   * @throws KafkaError of a single change: UNACCEPTABLE_CREDENTIAL for too few or too many iterations,
   * RESOURCE_NOT_FOUND where there is nothing to delete, DUPLICATE_RESOURCE for two changes of one credential.
   */
  alter(change: ScramChange, options?: CallOptions): Promise<void>;
  alter(changes: readonly ScramChange[], options?: CallOptions): Promise<readonly Outcome<ScramChange>[]>;
  async alter(
    changes: ScramChange | readonly ScramChange[],
    options: CallOptions = {},
  ): Promise<void | readonly Outcome<ScramChange>[]> {
    const items = isMany(changes) ? changes : [changes];
    const deletions = items.flatMap((change) =>
      "delete" in change ? [{ name: change.user, mechanism: mechanisms.code(change.delete) }] : [],
    );
    const upsertions = await Promise.all(
      items.filter((change) => "password" in change).map((change) => this.#salted(change)),
    );
    // Brokers answer by user: the changes of one user succeed or fail together, so they must travel together.
    const batch: Batch<ScramChange, void> = {
      call: "users.alter",
      items,
      name: ({ user }) => `user ${user}`,
      route: controller(this.#calls.wire),
      send: async (connection, open) => {
        const users = new Set(open.map(({ user }) => user));
        const { results } = await connection.request(alterUserScramCredentials, {
          deletions: deletions.filter(({ name }) => users.has(name)),
          upsertions: upsertions.filter(({ name }) => users.has(name)),
        });
        const said = new Map(results.map((result) => [result.user, result]));
        return open.map(({ user }) => reply(said.get(user), () => {}));
      },
    };
    return isMany(changes) ? this.#calls.each(batch, options) : this.#calls.one(batch, options);
  }

  async #salted(upsertion: ScramUpsertion) {
    const { user: name, mechanism, password, iterations = iterationsDefault } = upsertion;
    if (password === "") throw new KafkaError("INVALID_CONFIG", `user ${name}: the password is empty`);
    const code = mechanisms.code(mechanism);
    const salt = upsertion.salt ?? this.#calls.wire.world.random.bytes(saltBytes);
    const [hash, length] = hashes[mechanism];
    const saltedPassword = await derive(password, salt, iterations, length, hash);
    return { name, mechanism: code, iterations, salt, saltedPassword };
  }
}

function credentialOf({
  mechanism,
  iterations,
}: {
  readonly mechanism: number;
  readonly iterations: number;
}): ScramCredential {
  return { mechanism: mechanisms.word(mechanism), iterations };
}
