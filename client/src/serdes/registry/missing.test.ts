import { expect, test } from "vitest";
import { KafkaError } from "../../errors.ts";
import { Missing } from "./missing.ts";

test("what is missing is believed for a while, and takes memory for no longer", () => {
  const missing = new Missing(1_000);
  const error = new KafkaError("SCHEMA_NOT_FOUND", "not there");
  for (let at = 0; at < 100; at++) missing.note(`id ${at}`, error, at * 100);
  expect(missing.size).toBe(10);
  expect(missing.find("id 99", 10_899)).toBe(error);
  expect(missing.find("id 90", 10_000)).toBeNull();
  expect(missing.find("id 99", 10_900)).toBeNull();
  expect(missing.size).toBe(0);
});
