import { describe, expect, test } from "vitest";
import { alterConfigs } from "kafka-protocol-ts/messages/33-alter-configs";
import { describeConfigs } from "kafka-protocol-ts/messages/32-describe-configs";
import { incrementalAlterConfigs } from "kafka-protocol-ts/messages/44-incremental-alter-configs";
import { listConfigResources } from "kafka-protocol-ts/messages/74-list-config-resources";
import { errorMessage } from "kafka-protocol-ts/errors";
import { call, servicesOf } from "../../test/handler-call.ts";
import { metadataService, wish } from "../../test/metadata-world.ts";
import type { Services } from "../services.ts";
import { describeConfigsHandler } from "./32-describe-configs.ts";
import { alterConfigsHandler } from "./33-alter-configs.ts";
import { incrementalAlterConfigsHandler } from "./44-incremental-alter-configs.ts";
import { listConfigResourcesHandler } from "./74-list-config-resources.ts";

const apis = {
  describeConfigs: { api: describeConfigs, handler: describeConfigsHandler },
  alterConfigs: { api: alterConfigs, handler: alterConfigsHandler },
  incrementalAlterConfigs: { api: incrementalAlterConfigs, handler: incrementalAlterConfigsHandler },
  listConfigResources: { api: listConfigResources, handler: listConfigResourcesHandler },
};

async function services(settings: Readonly<Record<string, string>> = {}): Promise<Services> {
  const service = await metadataService({ settings });
  await service.createTopics([wish("b", { configs: [{ name: "retention.ms", value: " 1000 " }] })]);
  return servicesOf(service);
}

function resource(resourceType: number, resourceName: string, configurationKeys: readonly string[] | null = null) {
  return { resourceType, resourceName, configurationKeys };
}

describe("DescribeConfigs", () => {
  test("answers in every version what that version can say", async () => {
    const given = await services();
    for (const version of [1, 2, 3, 4]) {
      const { results } = await call(given, apis.describeConfigs, version, {
        resources: [resource(2, "b", ["retention.ms", "nope"])],
        includeSynonyms: true,
        ...(version >= 3 ? { includeDocumentation: true } : {}),
      });
      expect(results, `v${version}`).toMatchObject([{ errorCode: 0, errorMessage: "", resourceName: "b" }]);
      expect(results[0]?.configs).toHaveLength(1);
      expect(results[0]?.configs[0]).toMatchObject({
        name: "retention.ms",
        value: "1000",
        readOnly: false,
        configSource: 1,
        isSensitive: false,
        synonyms: [{ name: "retention.ms", value: "1000", source: 1 }],
        configType: version >= 3 ? 5 : 0,
      });
      expect(results[0]?.configs[0]?.documentation ?? "").toMatch(version >= 3 ? /Age at which/ : /^$/);
    }
  });

  test("without names, or with none, all settings are told; synonyms and sentences only when asked for", async () => {
    const given = await services();
    for (const keys of [null, []]) {
      const { results } = await call(given, apis.describeConfigs, 4, { resources: [resource(2, "b", keys)] });
      expect(results[0]?.configs).toHaveLength(35);
      for (const config of results[0]?.configs ?? []) {
        expect(config).toMatchObject({ synonyms: [], documentation: null });
      }
    }
  });

  test.for([
    [2, "nope", 3, ""],
    [2, "", 17, "Topic name is invalid: the empty string is not allowed"],
    [4, "7", 42, "Unexpected broker id, expected 1 or empty string, but received 7"],
    [4, "abc", 42, "Broker id must be an integer, but it is: abc"],
    [8, "7", 42, "Unexpected broker id, expected 1 but received 7"],
    [8, "", 42, "Broker id must not be empty"],
    [8, "abc", 42, "Broker id must be an integer, but it is: abc"],
    [16, "", 42, "Client metrics subscription name must not be empty"],
    [32, "", 42, "Group name must not be empty"],
  ] as const)("T61: of type %i the name %j is refused with %i", async ([type, name, errorCode, message]) => {
    const { results } = await call(await services(), apis.describeConfigs, 4, { resources: [resource(type, name)] });
    expect(results).toEqual([
      { errorCode, errorMessage: message, resourceType: type, resourceName: name, configs: [] },
    ]);
  });

  test("T61: an unknown type refuses the whole request", async () => {
    const { results } = await call(await services(), apis.describeConfigs, 4, {
      resources: [resource(99, "z"), resource(2, "b")],
    });
    expect(results.map((result) => [result.errorCode, result.errorMessage])).toEqual([
      [42, errorMessage(42)],
      [42, errorMessage(42)],
    ]);
  });

  test("T61: an unknown group or subscription has the defaults", async () => {
    const { results } = await call(await services(), apis.describeConfigs, 4, {
      resources: [resource(32, "g"), resource(16, "m")],
      includeSynonyms: true,
    });
    expect(results.map(({ errorCode, configs }) => [errorCode, configs.length])).toEqual([
      [0, 17],
      [0, 3],
    ]);
    expect(results[1]?.configs.find(({ name }) => name === "interval.ms")).toMatchObject({
      value: "300000",
      configSource: 5,
      configType: 3,
      synonyms: [],
    });
  });

  test("a broker tells its settings, all brokers together only what was set for all, its logger a level", async () => {
    const given = await services({ "num.partitions": "3" });
    const { results } = await call(given, apis.describeConfigs, 4, {
      resources: [resource(4, "1", ["num.partitions"]), resource(4, ""), resource(8, "1")],
      includeSynonyms: true,
    });
    expect(results[0]?.configs).toMatchObject([{ value: "3", readOnly: true, configSource: 4, configType: 3 }]);
    expect(results[1]).toMatchObject({ errorCode: 0, configs: [] });
    expect(results[2]?.configs).toMatchObject([{ name: "root", value: "INFO", configSource: 6 }]);
  });
});

describe("IncrementalAlterConfigs", () => {
  const change = (name: string, value: string | null, configOperation = 0) => ({ name, configOperation, value });

  test("T62: answers each resource, in every version", async () => {
    for (const version of [0, 1]) {
      const given = await services();
      const { responses } = await call(given, apis.incrementalAlterConfigs, version, {
        resources: [
          { resourceType: 2, resourceName: "b", configs: [change("segment.ms", "9223372036854775807")] },
          { resourceType: 2, resourceName: "zz", configs: [change("segment.ms", "5")] },
          { resourceType: 4, resourceName: "1", configs: [change("num.partitions", "5")] },
          { resourceType: 4, resourceName: "", configs: [change("message.max.bytes", "2000")] },
        ],
        validateOnly: false,
      });
      expect(responses).toEqual([
        { errorCode: 0, errorMessage: null, resourceType: 2, resourceName: "b" },
        { errorCode: 3, errorMessage: "The topic 'zz' does not exist.", resourceType: 2, resourceName: "zz" },
        {
          errorCode: 42,
          errorMessage: "Cannot update these configs dynamically: [num.partitions]",
          resourceType: 4,
          resourceName: "1",
        },
        { errorCode: 0, errorMessage: null, resourceType: 4, resourceName: "" },
      ]);
      expect(given.configs.topic("b")).toMatchObject({
        "segment.ms": Number.MAX_SAFE_INTEGER,
        "max.message.bytes": 2000,
      });
    }
  });

  test.for([
    [[change("nope", "1")], 40, "Unknown topic config name: nope"],
    [[change("retention.ms", "x")], 40, "Invalid value x for configuration retention.ms: Not a number of type LONG"],
    [[change("retention.ms", "1", 2)], 40, "Can't APPEND to key retention.ms because its type is not LIST."],
    [[change("cleanup.policy", "")], 0, null],
  ] as const)("T62: %j answers %i", async ([configs, errorCode, message]) => {
    const { responses } = await call(await services(), apis.incrementalAlterConfigs, 1, {
      resources: [{ resourceType: 2, resourceName: "b", configs }],
      validateOnly: false,
    });
    expect(responses).toMatchObject([{ errorCode, errorMessage: message }]);
  });

  test("validateOnly says what would be, and changes nothing", async () => {
    const given = await services();
    const resources = [{ resourceType: 2, resourceName: "b", configs: [change("retention.ms", "77")] }];
    const { responses } = await call(given, apis.incrementalAlterConfigs, 1, { resources, validateOnly: true });
    expect(responses).toMatchObject([{ errorCode: 0 }]);
    expect(given.configs.topic("b")["retention.ms"]).toBe(1000);
  });

  test("what is set is described at once, with its sources", async () => {
    const given = await services();
    await call(given, apis.incrementalAlterConfigs, 1, {
      resources: [
        { resourceType: 4, resourceName: "1", configs: [change("message.max.bytes", "2000")] },
        { resourceType: 4, resourceName: "", configs: [change("message.max.bytes", " 3000")] },
      ],
      validateOnly: false,
    });
    const { results } = await call(given, apis.describeConfigs, 4, {
      resources: [resource(2, "b", ["max.message.bytes"]), resource(4, "1", ["message.max.bytes"]), resource(4, "")],
      includeSynonyms: true,
    });
    expect(results[0]?.configs).toMatchObject([
      {
        value: "2000",
        configSource: 2,
        synonyms: [
          { name: "message.max.bytes", value: "2000", source: 2 },
          { name: "message.max.bytes", value: "3000", source: 3 },
          { name: "message.max.bytes", value: "1048588", source: 5 },
        ],
      },
    ]);
    expect(results[1]?.configs).toMatchObject([{ value: "2000", configSource: 2, readOnly: false }]);
    expect(results[2]?.configs).toMatchObject([{ name: "message.max.bytes", value: "3000", configSource: 3 }]);
  });
});

test("AlterConfigs replaces all overrides, in every version", async () => {
  for (const version of [0, 1, 2]) {
    const given = await services();
    const alter = (configs: readonly { readonly name: string; readonly value: string | null }[]) =>
      call(given, apis.alterConfigs, version, {
        resources: [{ resourceType: 2, resourceName: "b", configs }],
        validateOnly: false,
      });
    expect((await alter([{ name: "segment.ms", value: "5" }])).responses).toMatchObject([{ errorCode: 0 }]);
    expect(given.configs.topic("b")).toMatchObject({ "segment.ms": 5, "retention.ms": 604_800_000 });
    expect((await alter([{ name: "segment.ms", value: null }])).responses).toMatchObject([
      { errorCode: 42, errorMessage: "Null value not supported for : segment.ms" },
    ]);
  }
});

describe("ListConfigResources", () => {
  const list = async (version: number, resourceTypes?: readonly number[]) => {
    const given = await services();
    const configs = [{ name: "interval.ms", configOperation: 0, value: "1000" }];
    await call(given, apis.incrementalAlterConfigs, 1, {
      resources: [
        { resourceType: 16, resourceName: "m", configs },
        {
          resourceType: 32,
          resourceName: "g",
          configs: [{ name: "share.isolation.level", configOperation: 0, value: "read_committed" }],
        },
      ],
      validateOnly: false,
    });
    const answer = await call(
      given,
      apis.listConfigResources,
      version,
      resourceTypes === undefined ? {} : { resourceTypes },
    );
    return [
      answer.errorCode,
      ...answer.configResources.map(({ resourceName, resourceType }) => `${resourceType} ${resourceName}`),
    ];
  };

  test("v0 knows subscriptions, v1 all that has settings", async () => {
    expect(await list(0)).toEqual([0, "16 m"]);
    expect(await list(1, [])).toEqual([0, "2 b", "4 1", "8 1", "16 m", "32 g"]);
    expect(await list(1, [2, 32])).toEqual([0, "2 b", "32 g"]);
    expect(await list(1, [2, 99])).toEqual([35]);
  });
});
