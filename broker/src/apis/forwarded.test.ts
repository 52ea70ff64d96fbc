import { describe, expect, test } from "vitest";
import { failed } from "@millrace/base/result";
import type { Api } from "kafka-protocol-ts/api";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { createTopics } from "kafka-protocol-ts/messages/19-create-topics";
import { electLeaders } from "kafka-protocol-ts/messages/43-elect-leaders";
import { forwardableKeys } from "../peers/envelope-handler.ts";
import type { Services } from "../services.ts";
import { ByteReader } from "kafka-protocol-ts/reader";
import { ByteWriter } from "kafka-protocol-ts/writer";
import type { ControllerLink } from "../controller/controller-link.ts";
import { CloseConnection } from "./handler.ts";
import type { Handler } from "./handler.ts";
import { refusals } from "./refusals.ts";
import { brokerHandlers, controllerHandlers } from "./registry.ts";

/** What both listeners serve is decided by the active controller, but for these. */
const ofEachNode = new Set(["ApiVersions", "DescribeCluster"]);
const onControllers = new Set(controllerHandlers.map(({ api }) => api.key));
const forwardedHandlers = brokerHandlers.filter(({ api }) => onControllers.has(api.key) && !ofEachNode.has(api.name));

/** A request that asks for one of each thing that can be asked for. */
const requests: Readonly<Record<string, object>> = {
  CreateTopics: { topics: [{ name: "a", numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] }] },
  DeleteTopics: { topics: [{ name: "a" }], topicNames: ["a"] },
  AlterConfigs: { resources: [{ resourceType: 2, resourceName: "a", configs: [] }], validateOnly: false },
  CreatePartitions: { topics: [{ name: "a", count: 2, assignments: null }], timeoutMs: 1, validateOnly: false },
  ElectLeaders: { electionType: 0, topicPartitions: [{ topic: "a", partitions: [0] }], timeoutMs: 1 },
  IncrementalAlterConfigs: { resources: [{ resourceType: 2, resourceName: "a", configs: [] }], validateOnly: false },
  AlterPartitionReassignments: { topics: [{ name: "a", partitions: [{ partitionIndex: 0, replicas: [1] }] }] },
  ListPartitionReassignments: { topics: null },
  DescribeQuorum: { topics: [{ topicName: "__cluster_metadata", partitions: [{ partitionIndex: 0 }] }] },
  UpdateFeatures: { featureUpdates: [{ feature: "f", maxVersionLevel: 1, allowDowngrade: false, upgradeType: 1 }] },
  UnregisterBroker: { brokerId: 1 },
  AddRaftVoter: {
    clusterId: null,
    timeoutMs: 1,
    voterId: 1,
    voterDirectoryId: "AAAAAAAAAAAAAAAAAAAAAQ",
    listeners: [],
  },
  RemoveRaftVoter: { clusterId: null, voterId: 1, voterDirectoryId: "AAAAAAAAAAAAAAAAAAAAAQ" },
};

function withoutController(failure: ErrorCode): Services {
  const controllerLink = { isHere: false, forward: async () => failed(failure, "nobody") } as unknown as ControllerLink;
  return { controllerLink } as Services;
}

async function answer({ api, handle }: Handler, services: Services, version: number): Promise<unknown> {
  const context = {
    ...{ version, correlationId: 1, clientId: null },
    connection: { id: "1", clientHost: "127.0.0.1", listenerName: "PLAINTEXT", kind: "broker" as const },
  };
  const response = await handle(services, requests[api.name], context);
  return throughCodec(api, response, version);
}

function throughCodec(api: Api<unknown, unknown>, response: unknown, version: number): unknown {
  const writer = new ByteWriter();
  api.response.write(writer, response, version);
  return api.response.read(new ByteReader(writer.toBuffer()), version);
}

/** Every error code in an answer. */
function codesIn(value: unknown): unknown[] {
  if (Array.isArray(value)) return value.flatMap(codesIn);
  if (value === null || typeof value !== "object") return [];
  return Object.entries(value).flatMap(([name, each]) =>
    name === "errorCode" ? [each] : name === "topicConfigErrorCode" ? [] : codesIn(each),
  );
}

function isCode(code: unknown): boolean {
  return code !== null;
}

describe("a request that no controller answers", () => {
  test("has an answer for each API that is forwarded, and for no other", () => {
    const keys = forwardedHandlers.map(({ api }) => api.key).sort((a, b) => a - b);
    expect([...refusals.keys()].sort((a, b) => a - b)).toEqual(keys);
    expect(forwardedHandlers.map(({ api }) => api.name).sort()).toEqual(Object.keys(requests).sort());
    expect(keys.filter((key) => !forwardableKeys.has(key))).toEqual([]);
  });

  test.for(forwardedHandlers.map((each) => [each.api.name, each] as const))(
    "%s says so for each of its items, in every version",
    async ([, each]) => {
      const [first, last] = each.versions;
      for (let version = first; version <= last; version++) {
        const answered = await answer(each, withoutController(ErrorCode.REQUEST_TIMED_OUT), version);
        // ElectLeaders v0 has no code for the whole of it.
        const hasNone = each.api.key === electLeaders.key && version === 0;
        const codes = codesIn(hasNone ? { ...(answered as object), errorCode: null } : answered).filter(isCode);
        expect(codes.length, `v${version}`).toBeGreaterThan(0);
        expect(new Set(codes), `v${version}`).toEqual(new Set([ErrorCode.REQUEST_TIMED_OUT]));
      }
    },
  );

  test("cuts a client off whose version the controller does not take", async () => {
    const topics = forwardedHandlers.find(({ api }) => api.key === createTopics.key);
    if (topics === undefined) throw new Error("CreateTopics is forwarded");
    const services = withoutController(ErrorCode.UNSUPPORTED_VERSION);
    await expect(answer(topics, services, 7)).rejects.toThrow(CloseConnection);
  });

  test("names the partitions of an election", async () => {
    const elect = forwardedHandlers.find(({ api }) => api.key === electLeaders.key);
    if (elect === undefined) throw new Error("ElectLeaders is forwarded");
    const outcome = { partitionId: 0, errorCode: ErrorCode.REQUEST_TIMED_OUT, errorMessage: "nobody" };
    expect(await answer(elect, withoutController(ErrorCode.REQUEST_TIMED_OUT), 0)).toMatchObject({
      replicaElectionResults: [{ topic: "a", partitionResult: [outcome] }],
    });
  });
});
