import { must } from "@millrace/base/assert";
import type { Api } from "kafka-protocol-ts/api";
import { ByteReader } from "kafka-protocol-ts/reader";
import { ByteWriter } from "kafka-protocol-ts/writer";
import type { BoundHandler, RequestContext } from "../apis/handler.ts";

/** A request of this node to itself goes through both codecs, as it would over a connection: defaults are filled in. */
export async function callInProcess<Req, Res, ReqInput, ResInput>(
  handlers: ReadonlyMap<number, BoundHandler>,
  api: Api<Req, Res, ReqInput, ResInput>,
  message: ReqInput,
  connection: RequestContext["connection"],
): Promise<Res> {
  const handler = must(handlers.get(api.key), `a handler of ${api.name}`);
  const [, version] = handler.versions;
  const context = { version, correlationId: 0, clientId: null, connection };
  const request = api.request.read(
    readerOf((writer) => api.request.write(writer, message, version)),
    version,
  );
  const response = (await handler.handle(request, context)) as ResInput;
  return api.response.read(
    readerOf((writer) => api.response.write(writer, response, version)),
    version,
  );
}

function readerOf(write: (writer: ByteWriter) => void): ByteReader {
  const writer = new ByteWriter();
  write(writer);
  return new ByteReader(writer.toBuffer());
}
