/**
 * ApiVersions v0–v4: the handlers registered on this listener, and the features. An unknown version is answered with
 * body v0, error 35 and the range of this API alone; the answer's header is v0 for every version (KIP-511).
 */
import { apiVersions } from "kafka-protocol-ts/messages/18-api-versions";
import type { ApiVersionsResponseInput } from "kafka-protocol-ts/messages/18-api-versions";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { ByteWriter } from "kafka-protocol-ts/writer";
import type { Part } from "@millrace/base/world";
import { servedFeatures } from "../metadata/features.ts";
import type { MetadataImage } from "../metadata/image.ts";
import { handler } from "./handler.ts";
import type { BoundHandler, Handler } from "./handler.ts";

/** Also before a node has its metadata. */
export interface ApiVersionsServices {
  readonly metadata: { readonly image: Pick<MetadataImage, "features" | "offset"> };
  handlersOf(kind: "broker" | "controller"): ReadonlyMap<number, BoundHandler>;
}

const produceKey = 0;
/** KIP-511: what a client may call itself. */
const softwarePattern = /^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$/;

export const apiVersionsHandler: Handler<ApiVersionsServices> = handler(
  apiVersions,
  (services: ApiVersionsServices, request, context): ApiVersionsResponseInput => {
    const isNamed =
      softwarePattern.test(request.clientSoftwareName) && softwarePattern.test(request.clientSoftwareVersion);
    if (context.version >= 3 && !isNamed)
      return { errorCode: ErrorCode.INVALID_REQUEST, apiKeys: [], throttleTimeMs: 0 };
    const { image } = services.metadata;
    return {
      errorCode: ErrorCode.NONE,
      apiKeys: advertised(services, context.connection.kind),
      throttleTimeMs: 0,
      // A feature whose least level is 0 confuses readers of v3 (KAFKA-17011).
      supportedFeatures: servedFeatures.filter(({ minVersion }) => context.version >= 4 || minVersion > 0),
      finalizedFeaturesEpoch: image.offset,
      finalizedFeatures: [...image.features].map(([name, level]) => ({
        name,
        maxVersionLevel: level,
        minVersionLevel: level,
      })),
      zkMigrationReady: false,
    };
  },
);

function advertised(services: ApiVersionsServices, kind: "broker" | "controller"): ApiVersionsResponseInput["apiKeys"] {
  const handlers = [...services.handlersOf(kind).values()].sort((a, b) => a.api.key - b.api.key);
  return handlers.map(({ api, versions }) => ({
    apiKey: api.key,
    // librdkafka does not compress for a broker that does not claim Produce 0 (KAFKA-18659); 0-2 are refused all the same.
    minVersion: api.key === produceKey ? 0 : versions[0],
    maxVersion: versions[1],
  }));
}

/** The answer to a version that is not served, as frame parts. */
export function unsupportedApiVersions(correlationId: number): readonly Part[] {
  const [minVersion, maxVersion] = apiVersions.versions;
  const writer = new ByteWriter();
  writer.int32(correlationId);
  const body = {
    errorCode: ErrorCode.UNSUPPORTED_VERSION,
    apiKeys: [{ apiKey: apiVersions.key, minVersion, maxVersion }],
  };
  apiVersions.response.write(writer, body, 0);
  return writer.finishFrame() as readonly Part[];
}
