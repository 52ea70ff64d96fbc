import { expect, test } from "vitest";
import { examplesOf } from "./examples.ts";
import { entriesOf, publicSymbolsOf } from "./public-symbols.ts";
import type { PublicSymbol } from "./public-symbols.ts";

const entries = entriesOf("client");
const symbols = publicSymbolsOf("client", entries);

/** KafkaJS's own types, field by field: KafkaJS says what they mean, and the page on migration what differs. */
const isOfKafkaJs = ({ file, isMember, isType }: PublicSymbol): boolean =>
  file.startsWith("client/src/kafkajs/") && (isMember || isType);

test("what the client exports says what it is: each symbol, and each method and option", () => {
  const lacking = symbols
    .filter((symbol) => symbol.docstring === "" && !isOfKafkaJs(symbol))
    .map(({ file, name }) => `${file}: ${name}`);
  expect(
    lacking,
    "write a docstring: what it is, in which unit, with which errors; or take it out of the entry",
  ).toEqual([]);
});

test("what the client exports and can be called or made shows how", () => {
  const lacking = symbols
    .filter(({ wantsExample, examples }) => wantsExample && examples.length === 0)
    .map(({ file, name }) => `${file}: ${name}`);
  expect(lacking, "write an @example; test/snippets.test.ts compiles it").toEqual([]);
});

test("these look at something", () => {
  expect(entries.length).toBeGreaterThan(5);
  const names = symbols.map(({ name }) => name);
  expect(names).toEqual(
    expect.arrayContaining(["Producer.send", "ProducerOptions.lingerMs", "Kafka", "KeyRing.rotate"]),
  );
  expect(names.filter((name) => /#|\.(?:constructor|prototype|handOut)$/.test(name))).toEqual([]);
  expect(examplesOf("client").length).toBeGreaterThan(50);
});
