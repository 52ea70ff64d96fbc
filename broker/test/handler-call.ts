import { ByteReader } from "kafka-protocol-ts/reader";
import { ByteWriter } from "kafka-protocol-ts/writer";
import type { Api } from "kafka-protocol-ts/api";
import type { ControllerLink } from "@millrace/broker/controller/controller-link";
import { TopicCreation } from "@millrace/broker/topic-creation";
import type { Handler, RequestContext } from "@millrace/broker/apis/handler";
import type { MetadataService } from "@millrace/broker/metadata/metadata";
import type { Services } from "@millrace/broker/services";

/** What handlers of metadata and settings work with: every partition works, and nothing else is there. */
export function servicesOf(metadata: MetadataService): Services {
  const identity: Services["identity"] = {
    nodeId: 1,
    clusterId: "cluster-1",
    directoryId: "AAAAAAAAAAAAAAAAAAAAAQ",
    rack: null,
    advertised: new Map([["PLAINTEXT", { host: "127.0.0.1", port: 9092 }]]),
  };
  const partitions = { isOffline: () => false };
  const controllerLink = { isHere: true } as ControllerLink;
  const topicCreation = new TopicCreation({ metadata, link: controllerLink });
  const { configs } = metadata;
  return { metadata, configs, identity, partitions, controllerLink, topicCreation } as unknown as Services;
}

/** Sends a request through both codecs, as it would come over a connection: what is answered is what a client reads. */
export async function call<Req, Res, ReqInput, ResInput>(
  services: Services,
  { api, handler }: { readonly api: Api<Req, Res, ReqInput, ResInput>; readonly handler: Handler },
  version: number,
  request: ReqInput,
  connection: Partial<RequestContext["connection"]> = {},
): Promise<Res> {
  const context: RequestContext = {
    version,
    correlationId: 1,
    clientId: "test",
    connection: { id: "1", clientHost: "127.0.0.1", listenerName: "PLAINTEXT", kind: "broker", ...connection },
  };
  const requestWriter = new ByteWriter();
  api.request.write(requestWriter, request, version);
  const received = api.request.read(new ByteReader(joined(requestWriter)), version);
  const response = await handler.handle(services, received, context);
  const responseWriter = new ByteWriter();
  api.response.write(responseWriter, response as ResInput, version);
  return api.response.read(new ByteReader(joined(responseWriter)), version);
}

function joined(writer: ByteWriter): Buffer {
  return Buffer.concat(writer.finish().map((part) => Buffer.from(part as Uint8Array)));
}
