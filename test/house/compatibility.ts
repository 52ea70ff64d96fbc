import { OWN_KEYS_FROM } from "kafka-protocol-ts/api";
import type { ApiInfo } from "kafka-protocol-ts/api";
import { clients, type ClientName } from "../interop/clients.ts";
import type { GroupMode } from "../interop/contract.ts";
import { readJson, readText } from "./repository.ts";

/** A handler as ApiVersions sees it. */
export interface Served {
  readonly api: ApiInfo;
  readonly versions: readonly [number, number];
}

/** Why an API of Kafka is not served. Every API is in here or has a handler, and none both: `test/docs.test.ts`. */
export const leftOut: readonly { readonly why: string; readonly keys: readonly number[] }[] = [
  {
    why: "There is no authentication, authorization or delegation yet.",
    keys: [17, 29, 30, 31, 36, 38, 39, 40, 41, 50, 51],
  },
  { why: "A partition stays in the log directory in which it was created.", keys: [34, 73] },
  {
    why: "What Kafka's controllers and brokers say to each other: the quorum here has messages of its own.",
    keys: [52, 53, 54, 59, 70],
  },
  { why: "There are no quotas yet.", keys: [48, 49] },
  {
    why: "Share groups (KIP-932) are not built yet.",
    keys: [76, 77, 78, 79, 83, 84, 85, 86, 87, 90, 91, 92],
  },
  { why: "Streams groups (KIP-1071) are not built yet; Kafka Streams uses classic groups.", keys: [88, 89] },
  {
    why: "No receiver of client telemetry is configured; Kafka does not advertise it then either.",
    keys: [71, 72],
  },
];

const consumerGroupHeartbeat = 68;

/** The page with its blocks written anew. */
export function renderCompatibility(page: string, apis: readonly ApiInfo[], served: readonly Served[]): string {
  const blocks: Readonly<Record<string, string>> = {
    clients: clientTable(),
    served: servedTable(served),
    "left out": leftOutTable(apis, served),
  };
  return page.replace(/(<!-- generated: ([\w ]+) -->\n)[\s\S]*?(?=<!-- end -->)/g, (_, open: string, name: string) => {
    const block = blocks[name];
    if (block === undefined) throw new Error(`docs/compatibility.md asks for a block "${name}", which nobody writes`);
    return `${open}\n${block}\n`;
  });
}

function servedTable(served: readonly Served[]): string {
  const rows = served
    .filter(({ api }) => api.key < OWN_KEYS_FROM)
    .toSorted((a, b) => a.api.key - b.api.key)
    .map(({ api, versions }) => [
      String(api.key),
      `[${api.name}](../broker/src/apis/${handlerFile(api)})`,
      range(versions),
      range(api.versions),
    ]);
  return table(["key", "API", "versions", "of Kafka 4.3"], rows);
}

function leftOutTable(apis: readonly ApiInfo[], served: readonly Served[]): string {
  const servedKeys = new Set(served.map(({ api }) => api.key));
  const rows = leftOut.map(({ why, keys }) => {
    const names = apis
      .filter(({ key }) => keys.includes(key) && !servedKeys.has(key))
      .map(({ key, name }) => `${name} (${key})`);
    return [names.join(", "), why];
  });
  return table(
    ["APIs", "why"],
    rows.filter(([names]) => names !== ""),
  );
}

/** `ListOffsets`, key 2 -> `02-list-offsets.ts`. */
export function handlerFile({ key, name }: ApiInfo): string {
  const words = name.replace(/(?<=[a-z])(?=[A-Z])/g, "-").toLowerCase();
  return `${String(key).padStart(2, "0")}-${words}.ts`;
}

function range([first, last]: readonly [number, number]): string {
  return first === last ? String(first) : `${first}–${last}`;
}

/** Each client's version is read from the file that pins it for the tests. */
function clientTable(): string {
  const { devDependencies } = readJson<{ readonly devDependencies: Readonly<Record<string, string>> }>("package.json");
  const npm = (name: string): string => devDependencies[name] ?? "?";
  const pinned = (file: string, pattern: RegExp): string => pattern.exec(readText(file))?.[1] ?? "?";
  const java = pinned("test/interop/java/pom.xml", /<kafka\.version>([^<]+)</);
  const go = pinned("test/interop/franz-go/go.mod", /franz-go v(\S+)/);
  const python = "test/interop/python/requirements.txt";
  const rows: Readonly<Record<ClientName | "kcat", readonly [name: string, version: string, language: string]>> = {
    millrace: ["@millrace/client", "of this repository", "TypeScript"],
    java: ["Apache Kafka's clients and console tools, Streams and Connect", java, "Java"],
    "franz-go": ["franz-go", go, "Go"],
    librdkafka: ["librdkafka, through confluent-kafka", pinned(python, /^confluent-kafka==(\S+)/m), "C, Python"],
    kcat: ["kcat", "as the system has it", "C"],
    "kafka-python": ["kafka-python", pinned(python, /^kafka-python==(\S+)/m), "Python"],
    kafkajs: ["kafkajs", npm("kafkajs"), "JavaScript"],
    platformatic: ["@platformatic/kafka", npm("@platformatic/kafka"), "TypeScript"],
  };
  return table(
    ["client", "version", "language", "groups"],
    Object.entries(rows).map(([name, cells]) => [...cells, groupModesOf(name)]),
  );
}

/** In which ways its groups are tested; kcat's are as they come. */
function groupModesOf(name: string): string {
  const words: Readonly<Record<GroupMode, string>> = {
    eager: "eager",
    cooperative: "cooperative",
    static: "static members",
    consumer: "KIP-848",
  };
  const modes = Object.values(clients).find((client) => client.name === name)?.groupModes ?? [{ mode: "eager" }];
  const isLeftOut = leftOut.some(({ keys }) => keys.includes(consumerGroupHeartbeat));
  return modes
    .map(({ mode }) => mode)
    .filter((mode) => mode !== "consumer" || !isLeftOut)
    .map((mode) => words[mode])
    .join(", ");
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |\n`).join("");
}
