/** UpdateFeatures v0–v2 (KIP-584, KIP-1022): levels are finalised, or taken back; all of them or none. */
import { updateFeatures as updateFeaturesApi } from "kafka-protocol-ts/messages/57-update-features";
import type { UpdateFeaturesRequest, UpdateFeaturesResponseInput } from "kafka-protocol-ts/messages/57-update-features";
import { updateFeatures, UpgradeType } from "../metadata/controller/features.ts";
import type { FeatureUpdate } from "../metadata/controller/features.ts";
import { servedFeatures } from "../metadata/features.ts";
import type { NodeServices } from "../services.ts";
import { outcomeOf } from "./config-answers.ts";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

const ofAll = "The update failed for all features since the following feature had an error: ";

export const updateFeaturesHandler: Handler<NodeServices> = handler(
  updateFeaturesApi,
  async ({ controller }: NodeServices, request, { version }): Promise<UpdateFeaturesResponseInput> => {
    const updates = updatesOf(request, version);
    const decided = await controller.decide((context) => {
      const { response, records } = updateFeatures(context, updates, servedFeatures);
      return { response, records: request.validateOnly ? [] : records };
    });
    const outcome = outcomeOf(decided.ok ? decided.value : decided);
    const { errorCode, errorMessage } = outcome;
    // v2 has one outcome for all of them.
    const results = updates.map(({ feature }) => ({ feature, ...outcome }));
    return {
      throttleTimeMs: 0,
      errorCode,
      errorMessage: decided.ok && errorMessage !== null ? `${ofAll}${errorMessage}` : errorMessage,
      results: version < 2 ? results : [],
    };
  },
);

function updatesOf({ featureUpdates }: UpdateFeaturesRequest, version: number): FeatureUpdate[] {
  return featureUpdates.map(({ feature, maxVersionLevel: level, allowDowngrade, upgradeType }) => {
    const ofVersion0 = allowDowngrade ? UpgradeType.SAFE_DOWNGRADE : UpgradeType.UPGRADE;
    return { feature, level, upgradeType: version === 0 ? ofVersion0 : upgradeType };
  });
}
