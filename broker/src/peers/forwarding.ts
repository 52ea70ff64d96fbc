import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { Clock } from "@millrace/base/world";
import type { Api } from "kafka-protocol-ts/api";
import { ErrorCode, errorMessage } from "kafka-protocol-ts/errors";
import { readResponseHeader, writeRequestHeader } from "kafka-protocol-ts/header";
import { MalformedMessage } from "kafka-protocol-ts/malformed";
import { envelope } from "kafka-protocol-ts/messages/58-envelope";
import { ByteReader } from "kafka-protocol-ts/reader";
import { ByteWriter } from "kafka-protocol-ts/writer";
import type { ChannelFailure, ControllerChannel } from "./controller-channel.ts";
import { addressBytes } from "./host-address.ts";
import { anonymous, principalBytes } from "./principal.ts";

/** Who has sent the request. */
export interface ForwardedFrom {
  readonly clientId: string | null;
  readonly correlationId: number;
  readonly clientHost: string;
}

/** As Kafka's ForwardingManager: a client whose request found no controller may try again. */
const codeOfChannelFailure: Readonly<Record<ChannelFailure, ErrorCode>> = {
  "timed-out": ErrorCode.REQUEST_TIMED_OUT,
  unsupported: ErrorCode.UNSUPPORTED_VERSION,
  closed: ErrorCode.REQUEST_TIMED_OUT,
};

/** Takes a client's request to the active controller, in an Envelope (KIP-590), and brings its answer back. */
export class Forwarder {
  readonly #channel: ControllerChannel;
  readonly #clock: Clock;
  readonly #principal = principalBytes(anonymous);

  constructor({ channel, clock }: { readonly channel: ControllerChannel; readonly clock: Clock }) {
    this.#channel = channel;
    this.#clock = clock;
  }

  /**
   * The controller's answer to the request, in its version, or the code that the client is to be told: REQUEST_TIMED_OUT where no
   * controller has answered until `deadlineMs` (of the monotonic clock). For UNSUPPORTED_VERSION Kafka closes the client's
   * connection, so that it asks anew which versions there are. The request may be carried out twice, as in Kafka.
   */
  async forward<Req, Res, ReqInput, ResInput>(
    api: Api<Req, Res, ReqInput, ResInput>,
    version: number,
    request: ReqInput,
    from: ForwardedFrom,
    deadlineMs: number,
  ): Promise<Result<Res, ErrorCode>> {
    const writer = new ByteWriter();
    writeRequestHeader(writer, api, version, from.correlationId, from.clientId);
    api.request.write(writer, request, version);
    const message = {
      requestData: writer.toBuffer(),
      requestPrincipal: this.#principal,
      clientHostAddress: addressBytes(from.clientHost),
    };
    const timeoutMs = Math.max(0, deadlineMs - this.#clock.monotonicMs());
    const answer = await this.#channel.request(envelope, message, { timeoutMs });
    if (!answer.ok) return failed(codeOfChannelFailure[answer.failure], answer.message);
    const { errorCode, responseData } = answer.value;
    if (errorCode === ErrorCode.UNSUPPORTED_VERSION) {
      const range = `${api.name} v${version}`;
      return failed(ErrorCode.UNSUPPORTED_VERSION, `the active controller does not take ${range}`);
    }
    // The client did nothing wrong, and does not know of envelopes.
    if (errorCode !== ErrorCode.NONE)
      return failed(
        ErrorCode.UNKNOWN_SERVER_ERROR,
        `the envelope of ${api.name}: ${errorMessage(errorCode as ErrorCode)}`,
      );
    return read(api, version, responseData, from.correlationId);
  }
}

function read<Req, Res, ReqInput, ResInput>(
  api: Api<Req, Res, ReqInput, ResInput>,
  version: number,
  responseData: Buffer | null,
  correlationId: number,
): Result<Res, ErrorCode> {
  const unreadable = (why: string): Result<Res, ErrorCode> =>
    failed(ErrorCode.UNKNOWN_SERVER_ERROR, `the active controller's answer to ${api.name} v${version}: ${why}`);
  if (responseData === null) return unreadable("there is none");
  try {
    const reader = new ByteReader(responseData);
    const answered = readResponseHeader(reader, api, version);
    if (answered !== correlationId) return unreadable(`it belongs to request ${answered}, and not to ${correlationId}`);
    return ok(api.response.read(reader, version));
  } catch (error) {
    if (!(error instanceof MalformedMessage)) throw error;
    return unreadable(error.message);
  }
}
