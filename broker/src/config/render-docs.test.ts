import { expect, test } from "vitest";
import { brokerKeys } from "./broker-keys.ts";
import { renderConfigDocs } from "./render-docs.ts";
import { topicKeys } from "./topic-keys.ts";

const page = renderConfigDocs();

test("every setting has its line, with default, bounds and meaning", () => {
  for (const name of [...Object.keys(topicKeys), ...Object.keys(brokerKeys)]) expect(page).toContain(`| \`${name}\` |`);
  expect(page).toContain("| `segment.bytes` | int | 1073741824 | >= 1048576 | `log.segment.bytes` |");
  expect(page).toContain("| `compression.gzip.level` | int | -1 | 1 to 9, or -1 |");
});

test("differences to Kafka are told in a section of their own, with the reason", () => {
  const [, section = ""] = page.split("## Where we differ");
  const [lines = ""] = section.split("\n## ");
  expect(lines).toContain(
    "| `log.dir` (broker) | ./data | /tmp/kafka-logs | Data must not lie where a restart of the machine cleans up. |",
  );
  expect(lines).toContain("| `millrace.durability` (topic) | fsync | (no such setting) |");
});
