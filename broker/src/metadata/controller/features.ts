import type { SupportedFeature } from "../features.ts";
import type { MetadataImage } from "../image.ts";
import type { FeatureRecord } from "../records.ts";
import type { Decision } from "./decision.ts";

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
