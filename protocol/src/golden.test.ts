import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { fileName, type Golden, goldenRequests, ofKafka } from "../generator/golden.ts";
import { apis } from "./apis.ts";
import { readRequestHeader, writeRequestHeader } from "./header.ts";
import { ByteReader } from "./reader.ts";
import { ByteWriter } from "./writer.ts";

const golden = goldenRequests();
const byName = new Map(ofKafka(Object.values(apis)).map((api) => [fileName(api), api]));

describe("what a real client sent is read, and written again to the same bytes", () => {
  test.for(golden.map((each) => [each.file, each] as const))("%s", ([, { api: name, version, bytes }]) => {
    const api = byName.get(name);
    if (api === undefined) throw new Error(`there is no API ${name}`);
    const reader = new ByteReader(bytes);
    const header = readRequestHeader(reader);
    expect(header).toMatchObject({ apiKey: api.key, apiVersion: version });
    const request = api.request.read(reader, version);
    expect(reader.remaining).toBe(0);
    const writer = new ByteWriter();
    writeRequestHeader(writer, api, version, header.correlationId, header.clientId);
    api.request.write(writer, request, version);
    expect(writer.toBuffer().toString("hex")).toBe(bytes.toString("hex"));
  });
});

test("every version of every API of Kafka has golden bytes or stands in golden/MISSING.md, and never both", () => {
  const missing = readFileSync(join(import.meta.dirname, "../golden/MISSING.md"), "utf8");
  const listed = [...missing.matchAll(/^- ([a-z-]+): ([\d, ]+)$/gm)].flatMap(([, name, versions]) =>
    (versions as string).split(", ").map((version) => `${name} v${version}`),
  );
  const present = new Set(golden.map(({ api, version }: Golden) => `${api} v${version}`));
  const expected = [...byName].flatMap(
    ([
      name,
      {
        versions: [first, last],
      },
    ]) => Array.from({ length: last - first + 1 }, (_, index) => `${name} v${first + index}`),
  );
  expect([...listed, ...present].sort()).toEqual(expected.sort());
});
