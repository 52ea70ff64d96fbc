import type { Logger } from "@millrace/base/logger";
import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { readRequestHeader, writeResponseHeader } from "kafka-protocol-ts/header";
import { MalformedMessage } from "kafka-protocol-ts/malformed";
import type { EnvelopeRequest, EnvelopeResponseInput } from "kafka-protocol-ts/messages/58-envelope";
import { ByteReader } from "kafka-protocol-ts/reader";
import { ByteWriter } from "kafka-protocol-ts/writer";
import type { BoundHandler, RequestContext } from "../apis/handler.ts";
import { saysNotController } from "./controller-channel.ts";
import { hostOf } from "./host-address.ts";
import { readPrincipal } from "./principal.ts";

/** Those that Kafka declares as such (`forwardable` in its ApiKeys). An Envelope in an Envelope is none of them. */
export const forwardableKeys: ReadonlySet<number> = new Set([
  19, 20, 30, 31, 33, 37, 38, 39, 40, 43, 44, 45, 46, 49, 51, 55, 57, 64, 80, 81,
]);

export interface UnwrapOptions {
  /** Those that do it here, at the active controller; only what may be forwarded is looked for among them. */
  readonly handlers: ReadonlyMap<number, BoundHandler>;
  readonly logger: Logger;
  /** Of the Envelope. */
  readonly context: RequestContext;
}

interface Unwrapped {
  readonly handler: BoundHandler;
  readonly request: unknown;
  readonly context: RequestContext;
}

/**
 * Carries out the request in an Envelope, as if its client were here. What is wrong with the envelope is said in its own code; as in
 * Kafka that is NOT_CONTROLLER, too, where the answer says it anywhere, so that the node that forwards looks for another controller,
 * and UNSUPPORTED_VERSION where the request in it cannot be read.
 */
export async function unwrap(
  envelope: EnvelopeRequest,
  { handlers, logger, context }: UnwrapOptions,
): Promise<EnvelopeResponseInput> {
  const unwrapped = parse(envelope, handlers, context);
  if (!unwrapped.ok) {
    const { failure: errorCode, message } = unwrapped;
    const peer = context.connection.clientHost;
    logger.warn("an envelope is refused", { peer, reason: message });
    return { errorCode, responseData: null };
  }
  const { handler, request, context: original } = unwrapped.value;
  const response = await handler.handle(request, original);
  if (saysNotController(response)) return { errorCode: ErrorCode.NOT_CONTROLLER, responseData: null };
  const writer = new ByteWriter();
  writeResponseHeader(writer, handler.api, original.version, original.correlationId);
  handler.api.response.write(writer, response, original.version);
  return { errorCode: ErrorCode.NONE, responseData: writer.toBuffer() };
}

function parse(
  { requestData, requestPrincipal, clientHostAddress }: EnvelopeRequest,
  handlers: ReadonlyMap<number, BoundHandler>,
  context: RequestContext,
): Result<Unwrapped, ErrorCode> {
  const principal = requestPrincipal === null ? null : readPrincipal(requestPrincipal);
  if (principal?.ok !== true)
    return failed(ErrorCode.PRINCIPAL_DESERIALIZATION_FAILURE, principal?.message ?? "it has no principal");
  const clientHost = hostOf(clientHostAddress);
  if (clientHost === null) return failed(ErrorCode.INVALID_REQUEST, `an address of ${clientHostAddress.length} bytes`);
  try {
    const reader = new ByteReader(requestData);
    const { apiKey, apiVersion: version, correlationId, clientId } = readRequestHeader(reader);
    const handler = forwardableKeys.has(apiKey) ? handlers.get(apiKey) : undefined;
    if (handler?.phases !== "one") return failed(ErrorCode.INVALID_REQUEST, `API key ${apiKey} is not forwarded`);
    const [first, last] = handler.versions;
    if (version < first || version > last)
      return failed(ErrorCode.UNSUPPORTED_VERSION, `${handler.api.name} v${version}: ${first} to ${last} are served`);
    const request = handler.api.request.read(reader, version);
    const connection = { ...context.connection, clientHost };
    return ok({ handler, request, context: { version, correlationId, clientId, connection } });
  } catch (error) {
    if (!(error instanceof MalformedMessage)) throw error;
    return failed(ErrorCode.UNSUPPORTED_VERSION, `the request in it cannot be read: ${error.message}`);
  }
}
