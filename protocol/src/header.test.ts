import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readDeclarations } from "../generator/declarations.ts";
import { apiTable } from "./api-table.ts";
import { readRequestHeader, readResponseHeader, writeRequestHeader, writeResponseHeader } from "./header.ts";
import { interpreted } from "./interpret.ts";
import { ByteReader } from "./reader.ts";
import { ByteWriter } from "./writer.ts";

const { headers } = await readDeclarations();
const [requestHeader, responseHeader] = headers.map(interpreted);
const apis = Object.values(apiTable);
const anyApi = fc
  .constantFrom(...apis)
  .chain((api) =>
    fc.record({ api: fc.constant(api), version: fc.integer({ min: api.versions[0], max: api.versions[1] }) }),
  );
const clientIds = fc.option(fc.string({ maxLength: 40 }), { nil: null });

test("a request header is what schema/headers.ts declares", () => {
  const property = fc.property(anyApi, fc.integer(), clientIds, ({ api, version }, correlationId, clientId) => {
    const isFlexible = api.flexibleFrom !== null && version >= api.flexibleFrom;
    const writer = new ByteWriter();
    writeRequestHeader(writer, api, version, correlationId, clientId);
    const bytes = writer.toBuffer();
    const expected = { requestApiKey: api.key, requestApiVersion: version, correlationId, clientId };
    expect(requestHeader?.read(new ByteReader(bytes), isFlexible ? 2 : 1)).toEqual(expected);
    const reader = new ByteReader(bytes);
    expect(readRequestHeader(reader)).toEqual({ apiKey: api.key, apiVersion: version, correlationId, clientId });
    expect(reader.remaining).toBe(0);
  });
  fc.assert(property);
});

test("a response header is what schema/headers.ts declares, and ApiVersions always answers with v0", () => {
  const property = fc.property(anyApi, fc.integer(), ({ api, version }, correlationId) => {
    const isFlexible = api.name !== "ApiVersions" && api.flexibleFrom !== null && version >= api.flexibleFrom;
    const writer = new ByteWriter();
    writeResponseHeader(writer, api, version, correlationId);
    const bytes = writer.toBuffer();
    expect(responseHeader?.read(new ByteReader(bytes), isFlexible ? 1 : 0)).toEqual({ correlationId });
    expect(bytes.length).toBe(isFlexible ? 5 : 4);
    expect(readResponseHeader(new ByteReader(bytes), api, version)).toBe(correlationId);
  });
  fc.assert(property);
});

describe("a header that nobody may serve is still a header", () => {
  test("an unknown API", () => {
    const reader = new ByteReader(Buffer.from("03e7 0000 00000007 ffff".replaceAll(" ", ""), "hex"));
    expect(readRequestHeader(reader)).toEqual({ apiKey: 999, apiVersion: 0, correlationId: 7, clientId: null });
  });

  test("ApiVersions of a client from the future, whose header is flexible", () => {
    const reader = new ByteReader(Buffer.from("0012 0063 00000001 0002 6162 00 01".replaceAll(" ", ""), "hex"));
    expect(readRequestHeader(reader)).toEqual({ apiKey: 18, apiVersion: 99, correlationId: 1, clientId: "ab" });
    expect(reader.remaining).toBe(1);
  });
});
