import { failed, ok } from "@millrace/base/result";
import type { SupportedFeature } from "../features.ts";
import type { MetadataImage } from "../image.ts";
import type { FeatureRecord, MetadataRecord } from "../records.ts";
import { duplicatesOf } from "./decision.ts";
import type { Decision, DecisionContext, ItemResult } from "./decision.ts";
import { oneMinInSync, withoutEligibleLeaders } from "./eligible-leaders.ts";

const eligibleLeaders = "eligible.leader.replicas.version";

/** What a start does: features that were built since the last one are finalised. Levels never go down by themselves. */
export function finaliseFeatures(
  image: Pick<MetadataImage, "features">,
  supported: readonly SupportedFeature[],
): Decision<null> {
  const records = supported
    .filter(({ name, maxVersion }) => (image.features.get(name) ?? 0) < maxVersion)
    .map(({ name, maxVersion }): FeatureRecord => ({ type: "feature", name, level: maxVersion }));
  return { response: null, records };
}

/**
 * The founding of a cluster. What a controller believes of `min.insync.replicas` stands in the log from the first record on where
 * eligible leaders are kept.
 */
export function foundFeatures(context: DecisionContext, supported: readonly SupportedFeature[]): Decision<null> {
  const { records } = finaliseFeatures(context.image, supported);
  const keepsEligible = records.some((record) => record.type === "feature" && record.name === eligibleLeaders);
  return { response: null, records: keepsEligible ? [...records, ...oneMinInSync(context)] : records };
}

/** A level that a newer Millrace has finalised and this one can not serve: named, as the broker must not start. */
export function unsupportedFeature(
  image: Pick<MetadataImage, "features">,
  supported: readonly SupportedFeature[],
): string | null {
  for (const [name, level] of image.features) {
    const known = supported.find((feature) => feature.name === name);
    if (known === undefined || level < known.minVersion || level > known.maxVersion) return `${name} at level ${level}`;
  }
  return null;
}

/** Kafka's numbers for what a change of a level may do. */
export const UpgradeType = { UPGRADE: 1, SAFE_DOWNGRADE: 2, UNSAFE_DOWNGRADE: 3 } as const;

export interface FeatureUpdate {
  readonly feature: string;
  readonly level: number;
  /** One of UpgradeType; from outside, so it may be anything. */
  readonly upgradeType: number;
}

/**
 * UpdateFeatures (57): all updates are made, or none, and then the failure is that of the first one that cannot be
 * made. A level is served by every broker that is registered, and by this controller.
 */
export function updateFeatures(
  context: DecisionContext,
  updates: readonly FeatureUpdate[],
  supported: readonly SupportedFeature[],
): Decision<ItemResult<null>> {
  const duplicates = duplicatesOf(updates.map(({ feature }) => feature));
  const records: MetadataRecord[] = [];
  for (const update of updates) {
    const checked = duplicates.has(update.feature)
      ? failed("bad-request" as const, `Feature ${update.feature} is named more than once.`)
      : checkUpdate(context, update, supported);
    if (!checked.ok) return { response: checked, records: [] };
    const { feature: name, level } = update;
    if (level === currentLevel(context.image, name)) continue;
    records.push({ type: "feature", name, level });
    if (name !== eligibleLeaders) continue;
    records.push(...(level > 0 ? oneMinInSync(context) : withoutEligibleLeaders(context)));
  }
  return { response: ok(null), records };
}

function currentLevel({ features }: Pick<MetadataImage, "features">, name: string): number {
  return features.get(name) ?? 0;
}

function checkUpdate(
  { image, configs }: DecisionContext,
  { feature, level, upgradeType }: FeatureUpdate,
  supported: readonly SupportedFeature[],
): ItemResult<null> {
  const refused = (why: string): ItemResult<null> =>
    failed("invalid-update-version", `Invalid update version ${level} for feature ${feature}. ${why}`);
  if (!(Object.values(UpgradeType) as number[]).includes(upgradeType)) {
    return refused("The controller does not support the given upgrade type.");
  }
  if (level < 0) return refused("A feature version cannot be less than 0.");
  const here = supported.find(({ name }) => name === feature);
  const controller = `Local controller ${configs.nodeId}`;
  const unsupported = unsupportedBy(controller, here, level) ?? unsupportedByBrokers(image, feature, level);
  if (unsupported !== null) return refused(unsupported);
  const current = currentLevel(image, feature);
  if (level < current && upgradeType === UpgradeType.UPGRADE) {
    return refused(
      "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.",
    );
  }
  if (level > current && upgradeType !== UpgradeType.UPGRADE) return refused("Can't downgrade to a newer version.");
  if (level < current && feature === "kraft.version") return refused("Can't downgrade the version of this feature.");
  return ok(null);
}

function unsupportedByBrokers({ brokers }: MetadataImage, feature: string, level: number): string | null {
  for (const { id, features } of brokers.values()) {
    // A broker that registered without ranges is of the version that decides.
    if (features.length === 0) continue;
    const range = features.find(({ name }) => name === feature);
    const why = unsupportedBy(`Broker ${id}`, range, level);
    if (why !== null) return why;
  }
  return null;
}

function unsupportedBy(who: string, range: Omit<SupportedFeature, "name"> | undefined, level: number): string | null {
  if (range === undefined) return `${who} does not support this feature.`;
  const { minVersion, maxVersion } = range;
  if (level >= minVersion && level <= maxVersion) return null;
  return `${who} only supports versions ${minVersion}-${maxVersion}`;
}
