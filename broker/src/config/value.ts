import { assert, unreachable } from "@millrace/base/assert";
import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { ConfigKey, ConfigKind, ConfigTable } from "./key.ts";

export type Value = string | number | boolean | readonly string[] | null;

/** A setting as the program uses it and as DescribeConfigs shows it: a long beyond 2^53 saturates and keeps its text. */
export interface ParsedValue {
  readonly value: Value;
  readonly text: string | null;
}

const int = { min: -(2n ** 31n), max: 2n ** 31n - 1n };
const short = { min: -(2n ** 15n), max: 2n ** 15n - 1n };
const long = { min: -(2n ** 63n), max: 2n ** 63n - 1n };

/** Text to a value, with Kafka's reasons for a refusal: clients and people look for these words. */
export function parseValue(name: string, key: ConfigKey, text: string): Result<ParsedValue, "invalid-value"> {
  const trimmed = text.trim();
  switch (key.kind) {
    case "boolean":
      return parseBoolean(name, trimmed);
    case "int":
      return parseWhole(name, key, trimmed, int);
    case "short":
      return parseWhole(name, key, trimmed, short);
    case "long":
      return parseWhole(name, key, trimmed, long);
    case "double":
      return parseDouble(name, key, trimmed);
    case "list":
      return parseList(name, key, trimmed);
    case "string":
      return parseString(name, key, trimmed);
    case "password":
      return ok({ value: text, text });
    default:
      return unreachable(key.kind);
  }
}

/** The default of a row; a table whose default is not valid is a bug. */
export function defaultOf(name: string, key: ConfigKey): ParsedValue {
  if (key.default === null) return { value: null, text: null };
  const text = Array.isArray(key.default) ? key.default.join(",") : String(key.default);
  const parsed = parseValue(name, key, text);
  assert(parsed.ok, () => `the default of ${name} is valid`);
  return parsed.value;
}

export function defaultsOf(table: ConfigTable): ReadonlyMap<string, ParsedValue> {
  return new Map(Object.entries(table).map(([name, key]) => [name, defaultOf(name, key)]));
}

/** Elements of a list setting, as they are separated by commas. */
export function splitList(text: string): string[] {
  const trimmed = text.trim();
  return trimmed === "" ? [] : trimmed.split(/\s*,\s*/);
}

function invalid(name: string, shown: string, reason?: string): Result<never, "invalid-value"> {
  const because = reason === undefined ? "" : `: ${reason}`;
  return failed("invalid-value", `Invalid value ${shown} for configuration ${name}${because}`);
}

function parseBoolean(name: string, text: string): Result<ParsedValue, "invalid-value"> {
  const word = text.toLowerCase();
  if (word !== "true" && word !== "false") return invalid(name, text, "Expected value to be either true or false");
  return ok({ value: word === "true", text: word });
}

function parseWhole(
  name: string,
  key: ConfigKey,
  text: string,
  range: { readonly min: bigint; readonly max: bigint },
): Result<ParsedValue, "invalid-value"> {
  const exact = /^[+-]?\d+$/.test(text) ? BigInt(text.replace("+", "")) : null;
  if (exact === null || exact < range.min || exact > range.max) {
    return invalid(name, text, `Not a number of type ${key.kind.toUpperCase()}`);
  }
  const value = saturated(exact);
  const fault = boundsFault(key, value);
  return fault === null ? ok({ value, text: String(exact) }) : invalid(name, String(exact), fault);
}

function saturated(exact: bigint): number {
  if (exact > BigInt(Number.MAX_SAFE_INTEGER)) return Number.MAX_SAFE_INTEGER;
  if (exact < BigInt(Number.MIN_SAFE_INTEGER)) return Number.MIN_SAFE_INTEGER;
  return Number(exact);
}

function parseDouble(name: string, key: ConfigKey, text: string): Result<ParsedValue, "invalid-value"> {
  if (!/^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/.test(text)) {
    return invalid(name, text, "Not a number of type DOUBLE");
  }
  const value = Number(text);
  const fault = boundsFault(key, value);
  return fault === null ? ok({ value, text: doubleText(value) }) : invalid(name, doubleText(value), fault);
}

function boundsFault({ min, max, orEqual }: ConfigKey, value: number): string | null {
  const isBelow = min !== undefined && value < min;
  const isAbove = max !== undefined && value > max;
  if (value === orEqual || (!isBelow && !isAbove)) return null;
  if (orEqual !== undefined) return `Value must be between ${min} and ${max} or equal to ${orEqual}`;
  return isBelow ? `Value must be at least ${min}` : `Value must be no more than ${max}`;
}

function parseString(name: string, key: ConfigKey, text: string): Result<ParsedValue, "invalid-value"> {
  const value = key.ignoresCase === true ? text.toLowerCase() : text;
  if (key.oneOf !== undefined && !key.oneOf.includes(value)) {
    return invalid(name, text, `String must be one of: ${key.oneOf.join(", ")}`);
  }
  if (key.form === "offset-reset" && !isOffsetReset(text)) {
    return invalid(
      name,
      text,
      "The value must be either 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'.",
    );
  }
  return ok({ value, text: value });
}

const isoDuration = /^[+-]?P(?=.)(?:\d+D)?(?:T(?=.)(?:\d+H)?(?:\d+M)?(?:\d+(?:\.\d+)?S)?)?$/i;

function isOffsetReset(text: string): boolean {
  return (
    text === "latest" || text === "earliest" || (text.startsWith("by_duration:") && isoDuration.test(text.slice(12)))
  );
}

function parseList(name: string, key: ConfigKey, text: string): Result<ParsedValue, "invalid-value"> {
  const elements = splitList(text);
  if (key.isNonEmpty === true && elements.length === 0) {
    return failed(
      "invalid-value",
      `Configuration '${name}' must not be empty. Valid values include: any non-empty value`,
    );
  }
  if (elements.includes("")) return failed("invalid-value", `Configuration '${name}' values must not be empty.`);
  if (key.oneOf !== undefined) {
    const unknown = elements.find((element) => key.oneOf?.includes(element) === false);
    if (unknown !== undefined) return invalid(name, unknown, `String must be one of: ${key.oneOf.join(", ")}`);
  }
  const fault = formFault(name, key, elements);
  if (fault !== null) return fault;
  return ok({ value: elements, text: elements.join(",") });
}

const matchKeys = new Set([
  "client_instance_id",
  "client_id",
  "client_software_name",
  "client_software_version",
  "client_source_address",
  "client_source_port",
]);

function formFault(name: string, key: ConfigKey, elements: readonly string[]): Result<never, "invalid-value"> | null {
  if (key.form === "throttled-replicas") {
    const isAll = elements.length === 1 && elements[0] === "*";
    if (isAll || elements.every((element) => /^\d+:\d+$/.test(element))) return null;
    const form = "[partitionId]:[brokerId],[partitionId]:[brokerId],...";
    return invalid(
      name,
      `[${elements.join(", ")}]`,
      `${name} must be the literal '*' or a list of replicas in the following format: ${form}`,
    );
  }
  if (key.form === "client-match") {
    const illegal = elements.find((element) => !isClientMatch(element));
    return illegal === undefined ? null : failed("invalid-value", `Illegal client matching pattern: ${illegal}`);
  }
  return null;
}

function isClientMatch(element: string): boolean {
  const [key = "", pattern] = element.split("=").map((side) => side.trim());
  if (pattern === undefined || !matchKeys.has(key)) return false;
  try {
    return new RegExp(pattern) instanceof RegExp;
  } catch {
    return false;
  }
}

/** As Java prints a double: 0.5, 1.0, 1.7976931348623157E308. */
export function doubleText(value: number): string {
  const size = Math.abs(value);
  if (value === 0 || (size >= 1e-3 && size < 1e7)) return Number.isInteger(value) ? `${value}.0` : String(value);
  const [digits = "", exponent = ""] = value.toExponential().split("e");
  return `${digits.includes(".") ? digits : `${digits}.0`}E${exponent.replace("+", "")}`;
}

/** Whether a kind's values are secrets: shown to nobody. */
export function isSensitive(kind: ConfigKind): boolean {
  return kind === "password";
}
