import { metadata as metadataApi } from "kafka-protocol-ts/messages/03-metadata";
import type { BrokerConnection } from "../network/broker-connection.ts";
import type { CallOptions, Calls } from "./calls.ts";
import { anyBroker, askMetadata, brokerOf } from "./routes.ts";

/** The ids of the brokers that the cluster has now. */
export async function brokerIds(calls: Calls, call: string, options: CallOptions): Promise<readonly number[]> {
  const { wire } = calls;
  const answer = await calls.ask({ call, route: anyBroker(wire) }, options, (connection) =>
    askMetadata(wire, connection, { topics: connection.versionOf(metadataApi) === 0 ? null : [] }),
  );
  return answer.brokers.map(({ nodeId }) => nodeId).sort((a, b) => a - b);
}

/** Asks all brokers at once, and gives their answers one after the other. */
export async function* onEachBroker<Answer>(
  calls: Calls,
  call: string,
  options: CallOptions,
  send: (connection: BrokerConnection) => Promise<Answer>,
): AsyncGenerator<Answer, void> {
  const asked = (await brokerIds(calls, call, options)).map(async (nodeId) =>
    calls.one(
      {
        call,
        items: [nodeId],
        name: (id) => `${call} on broker ${id}`,
        route: brokerOf(calls.wire, (id: number) => id),
        send: async (connection) => [{ ok: true, value: await send(connection) }],
      },
      options,
    ),
  );
  // Whoever stops reading early does not want to hear of the others.
  for (const each of asked) each.catch(() => {});
  for (const each of asked) yield await each;
}
