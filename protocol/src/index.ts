/**
 * kafka-protocol-ts: the wire protocol of Apache Kafka, bytes in, messages out, and back. It computes only: no socket,
 * no file, no clock. This entry and the messages run in a browser with any stand-in for Node's `Buffer`.
 *
 * Messages are imported one by one: `kafka-protocol-ts/messages/01-fetch`.
 */
export type { Api, ApiInfo, Codec, DataCodec, RecordKind, VersionRange } from "./api.ts";
export { apiTable } from "./api-table.ts";
export { ErrorCode, errorMessage, errorName, isRetriable } from "./errors.ts";
export type { ErrorName } from "./errors.ts";
export { readRequestHeader, readResponseHeader, writeRequestHeader, writeResponseHeader } from "./header.ts";
export type { RequestHeader } from "./header.ts";
export { MalformedMessage } from "./malformed.ts";
export { ByteReader, noBytes } from "./reader.ts";
export { UnsupportedFieldVersion } from "./unsupported.ts";
export { zeroUuid } from "./uuid.ts";
export { ByteWriter } from "./writer.ts";
export type { ExternalBytes, Part } from "./writer.ts";
