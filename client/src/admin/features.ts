import { apiVersions } from "kafka-protocol-ts/messages/18-api-versions";
import { updateFeatures } from "kafka-protocol-ts/messages/57-update-features";
import type { Batch, Calls, CallOptions, ValidatingCallOptions } from "./calls.ts";
import { check, reply, unsupported } from "./calls.ts";
import { isMany } from "./outcome.ts";
import type { Outcome } from "./outcome.ts";
import { anyBroker, controller } from "./routes.ts";

/** Levels of one feature, as the broker that was asked tells them. */
export interface Feature {
  /** As "metadata.version" or "transaction.version". */
  readonly name: string;
  /** What the cluster uses; null where it uses none. */
  readonly finalizedLevel: number | null;
  /** What this broker could use; null where it does not say. */
  readonly supported: { readonly min: number; readonly max: number } | null;
}

/** The features of a cluster. */
export interface FeaturesDescription {
  /** By name. */
  readonly features: ReadonlyMap<string, Feature>;
  /** Grows with each change; null where the broker does not know. */
  readonly epoch: number | null;
}

/** A feature with the level that it shall have. */
export interface FeatureUpdate {
  /** As "transaction.version". */
  readonly feature: string;
  /** 0 switches it off. */
  readonly level: number;
  /** Whether the level may go down: only where nothing is lost by it, or in any case. Default "upgrade". */
  readonly kind?: "upgrade" | "safe-downgrade" | "unsafe-downgrade";
}

const kinds = { upgrade: 1, "safe-downgrade": 2, "unsafe-downgrade": 3 } as const;

/**
 * Feature levels of the cluster (KIP-584).
 *
 * @example
 *     const { features } = await admin.features.describe();
 *     console.log(features.get("transaction.version")?.finalizedLevel);
 */
export class FeaturesAdmin {
  readonly #calls: Calls;

  constructor(calls: Calls) {
    this.#calls = calls;
  }

  /** What is supported and what is in use, as some broker knows it. */
  async describe(options: CallOptions = {}): Promise<FeaturesDescription> {
    const parts = { call: "features.describe", route: anyBroker(this.#calls.wire) };
    return this.#calls.ask(parts, options, async (connection) => {
      const answer = await connection.request(apiVersions, {
        clientSoftwareName: "millrace",
        clientSoftwareVersion: "0.1.0",
      });
      check(answer, "features.describe", connection);
      const finalized = new Map(answer.finalizedFeatures.map((each) => [each.name, each.maxVersionLevel]));
      const supported = new Map(answer.supportedFeatures.map((each) => [each.name, each]));
      const names = [...new Set([...supported.keys(), ...finalized.keys()])].sort();
      const features = names.map((name): [string, Feature] => {
        const range = supported.get(name);
        const told = range === undefined ? null : { min: range.minVersion, max: range.maxVersion };
        return [name, { name, finalizedLevel: finalized.get(name) ?? null, supported: told }];
      });
      const { finalizedFeaturesEpoch: epoch } = answer;
      return { features: new Map(features), epoch: epoch < 0 ? null : epoch };
    });
  }

  /**
   * Changes levels. From Kafka 4.0 on all of one call are changed, or none: then each outcome has the same error.
   *
   * @throws KafkaError of a single feature: INVALID_UPDATE_VERSION, FEATURE_UPDATE_FAILED; UNSUPPORTED_VERSION for
   * `validateOnly` where the broker is older than 3.3.
   */
  update(update: FeatureUpdate, options?: ValidatingCallOptions): Promise<void>;
  update(
    updates: readonly FeatureUpdate[],
    options?: ValidatingCallOptions,
  ): Promise<readonly Outcome<FeatureUpdate>[]>;
  async update(
    updates: FeatureUpdate | readonly FeatureUpdate[],
    options: ValidatingCallOptions = {},
  ): Promise<void | readonly Outcome<FeatureUpdate>[]> {
    const { validateOnly = false } = options;
    const batch: Batch<FeatureUpdate, void> = {
      call: "features.update",
      items: isMany(updates) ? updates : [updates],
      name: ({ feature }) => `feature ${feature}`,
      route: controller(this.#calls.wire),
      send: async (connection, items) => {
        const version = connection.versionOf(updateFeatures);
        if (validateOnly && version < 1) throw unsupported(connection, "UpdateFeatures", "only validate");
        const answer = await connection.request(updateFeatures, {
          timeoutMs: this.#calls.brokerTimeoutMs(options),
          featureUpdates: items.map(({ feature, level, kind = "upgrade" }) => ({
            feature,
            maxVersionLevel: level,
            ...(version >= 1 ? { upgradeType: kinds[kind] } : { allowDowngrade: kind !== "upgrade" }),
          })),
          ...(version >= 1 ? { validateOnly } : {}),
        });
        check(answer, "features.update", connection);
        const said = new Map(answer.results.map((result) => [result.feature, result]));
        // From v2 on the whole answer speaks for all.
        return items.map(({ feature }) => reply(version >= 2 ? answer : said.get(feature), () => {}));
      },
    };
    return isMany(updates) ? this.#calls.each(batch, options) : this.#calls.one(batch, options);
  }
}
