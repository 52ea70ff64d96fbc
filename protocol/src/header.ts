import { apiTable } from "./api-table.ts";
import type { ApiInfo } from "./api.ts";
import type { ByteReader } from "./reader.ts";
import type { ByteWriter } from "./writer.ts";

/** What stands in front of every request. */
export interface RequestHeader {
  readonly apiKey: number;
  readonly apiVersion: number;
  /** Given back in the response, so that the client can match the two. */
  readonly correlationId: number;
  readonly clientId: string | null;
}

type Flexibility = Pick<ApiInfo, "key" | "flexibleFrom">;

const apiVersionsKey = 18;

/**
 * Reads the header and leaves the reader at the body. Key and version are only told: whether somebody serves them is
 * the host's matter. A version too new to be known has the header of the newest known one, so that the ApiVersions
 * request of a client from the future can be answered.
 *
 * @throws MalformedMessage when the bytes are not a header.
 */
export function readRequestHeader(reader: ByteReader): RequestHeader {
  const apiKey = reader.int16();
  const apiVersion = reader.int16();
  const correlationId = reader.int32();
  const clientId = reader.nullableInt16String();
  const api = apiTable[apiKey];
  if (api !== undefined && isFlexible(api, apiVersion)) reader.skipTags();
  return { apiKey, apiVersion, correlationId, clientId };
}

/** Header v1, or v2 where the request is flexible. The client id has an int16 length in both. */
export function writeRequestHeader(
  writer: ByteWriter,
  api: Flexibility,
  version: number,
  correlationId: number,
  clientId: string | null,
): void {
  writer.int16(api.key);
  writer.int16(version);
  writer.int32(correlationId);
  writer.nullableInt16String(clientId);
  if (isFlexible(api, version)) writer.unsignedVarint(0);
}

/** Reads the header of a response to a request that was sent as `version`; gives the correlation id. */
export function readResponseHeader(reader: ByteReader, api: Flexibility, version: number): number {
  const correlationId = reader.int32();
  if (hasFlexibleResponseHeader(api, version)) reader.skipTags();
  return correlationId;
}

/** Header v0, or v1 where the response is flexible. */
export function writeResponseHeader(
  writer: ByteWriter,
  api: Flexibility,
  version: number,
  correlationId: number,
): void {
  writer.int32(correlationId);
  if (hasFlexibleResponseHeader(api, version)) writer.unsignedVarint(0);
}

/** ApiVersions answers with header v0 always: a client must be able to read the answer of a broker older than itself (KIP-511). */
function hasFlexibleResponseHeader(api: Flexibility, version: number): boolean {
  return api.key !== apiVersionsKey && isFlexible(api, version);
}

function isFlexible({ flexibleFrom }: Flexibility, version: number): boolean {
  return flexibleFrom !== null && version >= flexibleFrom;
}
