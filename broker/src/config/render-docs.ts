import { brokerKeys } from "./broker-keys.ts";
import { clientMetricsKeys } from "./client-metrics-keys.ts";
import { groupKeys } from "./group-keys.ts";
import { whyMissing } from "./key.ts";
import type { BrokerKey, ConfigKey, ConfigTable, GroupKey, TopicKey } from "./key.ts";
import { environmentName } from "./static-config.ts";
import { topicKeys } from "./topic-keys.ts";
import { defaultOf } from "./value.ts";

const topicTable: ConfigTable<TopicKey> = topicKeys;
const brokerTable: ConfigTable<BrokerKey> = brokerKeys;
const groupTable: ConfigTable<GroupKey> = groupKeys;
const clientMetricsTable: ConfigTable = clientMetricsKeys;

/** The text of docs/config.md. A test holds the file equal to it. */
export function renderConfigDocs(): string {
  return `${[
    "# Settings",
    "Generated from the tables in `broker/src/config`. Names, types and bounds are those of Apache Kafka 4.3 unless a row says otherwise.",
    `A broker reads its settings from a properties file (\`--config FILE\`), then from the environment (\`num.partitions\` is \`${environmentName("num.partitions")}\`, \`millrace.durability\` is \`${environmentName("millrace.durability")}\`), then from \`--set key=value\`; the later one counts. An unknown name is warned about and ignored. A value that is not valid stops the start.`,
    "While it runs, a topic's override counts before this broker's dynamic value, that before the one for all brokers, that before what was given at start, and that before the default.",
    "## Where we differ",
    table(["setting", "here", "Apache Kafka 4.3", "why"], differences()),
    "## Without effect yet",
    "These are accepted, so that existing files and scripts work; setting one is warned about. A row marked *refused* stops the start instead, since to ignore it would be unsafe.",
    table(["setting", "of", "why"], withoutEffect()),
    "## Topics",
    table(["setting", "type", "default", "valid", "broker-wide", "meaning"], topicRows()),
    "## Brokers",
    "Read-only settings need a restart; per-broker and cluster-wide ones are changed through IncrementalAlterConfigs, cluster-wide ones also for all brokers at once (resource name empty).",
    table(["setting", "type", "default", "valid", "mode", "meaning"], brokerRows()),
    "## Groups",
    table(["setting", "type", "default", "valid", "broker-wide", "meaning"], groupRows()),
    "## Client metrics",
    table(["setting", "type", "default", "valid", "meaning"], clientMetricsRows()),
  ].join("\n\n")}\n`;
}

type Row = readonly string[];

function table(head: Row, rows: readonly Row[]): string {
  const line = (cells: Row): string => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), `|${head.map(() => "---").join("|")}|`, ...rows.map(line)].join("\n");
}

function tables(): readonly { readonly of: string; readonly rows: readonly [string, ConfigKey][] }[] {
  return [
    { of: "topic", rows: sorted(topicTable) },
    { of: "broker", rows: sorted(brokerTable) },
    { of: "group", rows: sorted(groupTable) },
    { of: "client metrics", rows: sorted(clientMetricsTable) },
  ];
}

function differences(): Row[] {
  return tables().flatMap(({ of, rows }) =>
    rows.flatMap(([name, key]) =>
      key.differs === undefined
        ? []
        : [[`\`${name}\` (${of})`, shownDefault(name, key), key.differs.kafka ?? "(no such setting)", key.differs.why]],
    ),
  );
}

function withoutEffect(): Row[] {
  return tables().flatMap(({ of, rows }) =>
    rows.flatMap(([name, key]) => {
      if (key.refused !== undefined) return [[`\`${name}\``, of, `*refused*: ${whyMissing[key.refused]}`]];
      return key.inert === undefined ? [] : [[`\`${name}\``, of, whyMissing[key.inert]]];
    }),
  );
}

function topicRows(): Row[] {
  return sorted(topicTable).map(([name, key]) => [...common(name, key), code(key.fallback), key.doc]);
}

function brokerRows(): Row[] {
  return sorted(brokerTable).map(([name, key]) => [...common(name, key), key.mode, key.doc]);
}

function groupRows(): Row[] {
  return sorted(groupTable).map(([name, key]) => [...common(name, key), code(key.fallback), key.doc]);
}

function clientMetricsRows(): Row[] {
  return sorted(clientMetricsTable).map(([name, key]) => [...common(name, key), key.doc]);
}

function common(name: string, key: ConfigKey): Row {
  return [`\`${name}\``, key.kind, shownDefault(name, key), validValues(key)];
}

function shownDefault(name: string, key: ConfigKey): string {
  const { text } = defaultOf(name, key);
  if (text === null) return "(none)";
  return text === "" ? "(empty)" : text;
}

function validValues(key: ConfigKey): string {
  if (key.oneOf !== undefined) return key.oneOf.join(", ");
  if (key.form === "throttled-replicas") return "`*` or partition:broker, ...";
  if (key.form === "client-match") return "key=pattern, ...";
  if (key.form === "offset-reset") return "latest, earliest, by_duration:DURATION";
  if (key.min === undefined && key.max === undefined) return "";
  if (key.max === undefined) return `>= ${key.min}`;
  const range = `${key.min} to ${key.max}`;
  return key.orEqual === undefined ? range : `${range}, or ${key.orEqual}`;
}

function sorted<Key extends ConfigKey>(rows: ConfigTable<Key>): [string, Key][] {
  return Object.entries(rows).sort(([a], [b]) => (a < b ? -1 : 1));
}

function code(name: string | undefined): string {
  return name === undefined ? "" : `\`${name}\``;
}
