import { brokerAddresses, keyValues, wholeNumber } from "./arguments.ts";
import { placeOf } from "./commands/consume.ts";
import { diskReason } from "./disk-reason.ts";
import { readStartOptions } from "./start-options.ts";
import { expect, test } from "vitest";

test("key=value texts become settings; the value may hold equal signs, and the last one counts", () => {
  expect(keyValues("--set", ["a=1", " b = x=y ", "a=2", "c="])).toEqual({ a: "2", b: "x=y", c: "" });
  expect(keyValues("--set")).toEqual({});
  expect(Object.keys(keyValues("--set", ["__proto__=x"]))).toEqual(["__proto__"]);
  for (const text of ["a", "=1", ""])
    expect(() => keyValues("--set", [text])).toThrow(`--set: "${text}" is not key=value`);
});

test.for(["", "1.5", "0x10", "1e3", "x", "-1", "11", "9007199254740993"])(
  "%j is no whole number from 0 to 10",
  (text) => {
    expect(() => wholeNumber("--count", text, { min: 0, max: 10 })).toThrow(
      `--count: "${text}" is not a whole number between 0 and 10`,
    );
  },
);

test("a whole number within its bounds", () => {
  expect(wholeNumber("--count", "10", { min: 0, max: 10 })).toBe(10);
  expect(wholeNumber("--count", undefined, { min: 0 })).toBeUndefined();
  expect(() => wholeNumber("--count", "0", { min: 1 })).toThrow('"0" is not a whole number of at least 1');
});

test("several brokers stand behind each other", () => {
  expect(brokerAddresses(" a:1, b:2,")).toEqual(["a:1", "b:2"]);
});

test("a place is an end, an offset or a time", () => {
  expect(placeOf("earliest")).toBe("earliest");
  expect(placeOf("42")).toEqual({ offset: 42 });
  expect(placeOf("2026-01-31T12:00:00Z")).toEqual({ timestamp: Date.UTC(2026, 0, 31, 12) });
  expect(placeOf("2026-01-31")).toEqual({ timestamp: Date.UTC(2026, 0, 31) });
  for (const text of ["yesterday", "-1", "5 May 2026", "2026-13-01", "99999999999999999999"]) {
    expect(() => placeOf(text)).toThrow(`--from: "${text}" is neither`);
  }
});

test("a plain start is read without the program of all commands; whatever else is said is left to it", () => {
  const read = readStartOptions(["start", "-p", "0", "--data=d", "-c", "file", "-s", "a=1", "--set", "b=2"]);
  expect({ ...read }).toEqual({ port: "0", data: "d", config: "file", set: ["a=1", "b=2"] });
  expect({ ...readStartOptions(["start"]) }).toEqual({});
  const others = [
    [],
    ["topic", "list"],
    ["start", "--help"],
    ["start", "-s", "a=1", "b=2"],
    ["start", "--data"],
    ["start", "x"],
  ];
  for (const args of others) expect(readStartOptions(args)).toBeNull();
});

test("codes of the operating system are told in words", () => {
  expect(diskReason("ENOSPC")).toBe("the disk is full");
  expect(diskReason("EWEIRD")).toBeNull();
});
