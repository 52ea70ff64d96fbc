import { describeClientQuotas } from "kafka-protocol-ts/messages/48-describe-client-quotas";
import { alterClientQuotas } from "kafka-protocol-ts/messages/49-alter-client-quotas";
import type { Batch, CallOptions, Calls, ValidatingCallOptions } from "./calls.ts";
import { check, reply } from "./calls.ts";
import { isMany } from "./outcome.ts";
import type { Outcome } from "./outcome.ts";
import { anyBroker, controller } from "./routes.ts";

/** Whom a quota holds for: a user, a client id, both together, or an address. Null is everybody without one of his own. */
export interface QuotaEntity {
  /** A user's name; null: the default of all users. */
  readonly user?: string | null;
  /** A client's id; null: the default of all clients. */
  readonly clientId?: string | null;
  /** An address; null: the default of all addresses. */
  readonly ip?: string | null;
}

/** A name finds that one, null the default, `true` any; what is absent may be there or not, unless `isStrict`. */
export interface QuotaFilter {
  /** Which users. */
  readonly user?: string | null | true;
  /** Which clients. */
  readonly clientId?: string | null | true;
  /** Which addresses. */
  readonly ip?: string | null | true;
  /** Only entities that have no other part. Default false. */
  readonly isStrict?: boolean;
}

/** Limits by Kafka's names: producer_byte_rate, consumer_byte_rate, request_percentage ... */
export interface Quota {
  /** Whom the limits are for. */
  readonly entity: QuotaEntity;
  /** By name: bytes a second a broker, percent of a thread, partitions or connections a second. */
  readonly limits: ReadonlyMap<string, number>;
}

/** Limits to be set and to be taken away. */
export interface QuotaChange {
  /** Whom they are for. */
  readonly entity: QuotaEntity;
  /** Bytes a second a broker, percent of a thread, partitions or connections a second: as the limit's name says. */
  readonly set?: Readonly<Record<string, number>>;
  /** Names of limits that shall be none. */
  readonly remove?: readonly string[];
}

const partNames = { user: "user", clientId: "client-id", ip: "ip" } as const;
type Part = keyof typeof partNames;
const parts: readonly Part[] = ["user", "clientId", "ip"];
const matches = { exact: 0, default: 1, any: 2 } as const;

const entityName = (entity: QuotaEntity): string =>
  `quota of ${parts
    .filter((part) => entity[part] !== undefined)
    .map((part) => `${partNames[part]} ${entity[part] ?? "(default)"}`)
    .join(", ")}`;

/**
 * Limits of what clients may use of a broker.
 *
 * @example
 *     await admin.quotas.alter({ entity: { user: "alice" }, set: { producer_byte_rate: 1_048_576 } });
 */
export class QuotasAdmin {
  readonly #calls: Calls;

  constructor(calls: Calls) {
    this.#calls = calls;
  }

  /**
   * The quotas that the filter finds; without one, all.
   *
   *     await admin.quotas.list({ user: "alice" });
   *
   * @throws KafkaError INVALID_REQUEST where `ip` is asked for together with another part.
   */
  async list(filter: QuotaFilter = {}, options: CallOptions = {}): Promise<readonly Quota[]> {
    const call = { call: "quotas.list", route: anyBroker(this.#calls.wire) };
    return this.#calls.ask(call, options, async (connection) => {
      const answer = await connection.request(describeClientQuotas, {
        components: parts.flatMap((part) => {
          const wanted = filter[part];
          if (wanted === undefined) return [];
          const matchType = wanted === true ? matches.any : wanted === null ? matches.default : matches.exact;
          return [{ entityType: partNames[part], matchType, match: typeof wanted === "string" ? wanted : null }];
        }),
        strict: filter.isStrict ?? false,
      });
      check(answer, "quotas", connection);
      return (answer.entries ?? []).map(({ entity, values }) => ({
        entity: entityOf(entity),
        limits: new Map(values.map(({ key, value }) => [key, value])),
      }));
    });
  }

  /**
   * Sets and removes limits; those that are not named stay as they are.
   *
   *     await admin.quotas.alter({ entity: { user: "alice" }, set: { producer_byte_rate: 1_048_576 } });
   *
   * @throws KafkaError of a single entity: INVALID_REQUEST for a limit that does not exist or does not fit the entity.
   */
  alter(change: QuotaChange, options?: ValidatingCallOptions): Promise<void>;
  alter(changes: readonly QuotaChange[], options?: ValidatingCallOptions): Promise<readonly Outcome<QuotaChange>[]>;
  async alter(
    changes: QuotaChange | readonly QuotaChange[],
    options: ValidatingCallOptions = {},
  ): Promise<void | readonly Outcome<QuotaChange>[]> {
    const { validateOnly = false } = options;
    const batch: Batch<QuotaChange, void> = {
      call: "quotas.alter",
      items: isMany(changes) ? changes : [changes],
      name: ({ entity }) => entityName(entity),
      route: controller(this.#calls.wire),
      send: async (connection, items) => {
        const answer = await connection.request(alterClientQuotas, {
          entries: items.map(({ entity, set = {}, remove = [] }) => ({
            entity: parts.flatMap((part) => {
              const name = entity[part];
              return name === undefined ? [] : [{ entityType: partNames[part], entityName: name }];
            }),
            ops: [
              ...Object.entries(set).map(([key, value]) => ({ key, value, remove: false })),
              ...remove.map((key) => ({ key, value: 0, remove: true })),
            ],
          })),
          validateOnly,
        });
        const said = new Map(answer.entries.map((entry) => [entityName(entityOf(entry.entity)), entry]));
        return items.map(({ entity }) => reply(said.get(entityName(entity)), () => {}));
      },
    };
    return isMany(changes) ? this.#calls.each(batch, options) : this.#calls.one(batch, options);
  }
}

function entityOf(told: readonly { readonly entityType: string; readonly entityName: string | null }[]): QuotaEntity {
  return Object.fromEntries(
    parts.flatMap((part) => {
      const found = told.find(({ entityType }) => entityType === partNames[part]);
      return found === undefined ? [] : [[part, found.entityName]];
    }),
  ) as QuotaEntity;
}
