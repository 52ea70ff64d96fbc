import { brokerHandlers } from "@millrace/broker/apis/registry";
import { renderConfigDocs } from "@millrace/broker/config/render-docs";
import { apiTable } from "kafka-protocol-ts/api-table";
import { renderCompatibility } from "./compatibility.ts";
import { readText } from "./repository.ts";

/** The pages of `docs/` that are made of tables in the broker, by path. The protocol's generator makes the others. */
export function generatedPages(): ReadonlyMap<string, string> {
  return new Map([
    ["docs/config.md", renderConfigDocs()],
    [
      "docs/compatibility.md",
      renderCompatibility(readText("docs/compatibility.md"), Object.values(apiTable), brokerHandlers),
    ],
  ]);
}
