import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import { brokerKeys } from "./broker-keys.ts";
import { whyMissing } from "./key.ts";
import type { BrokerKey, ConfigTable } from "./key.ts";
import { parseProperties } from "./properties.ts";
import { defaultOf, parseValue } from "./value.ts";

/** Where a broker's settings come from; a later one counts more. */
export interface ConfigSources {
  readonly file?: { readonly path: string; readonly text: string };
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Each `key=value`, as after --set. */
  readonly set?: readonly string[];
}

/** What was given at start: every text is valid. */
export interface StaticConfig {
  readonly texts: ReadonlyMap<string, string>;
  /** For the log: unknown keys, and settings that change nothing here. */
  readonly warnings: readonly string[];
}

const table: ConfigTable<BrokerKey> = brokerKeys;

/** Reads file, environment and command line. A value that is not valid, or that would be unsafe to ignore, is refused: all of them are named. */
export function loadStaticConfig(sources: ConfigSources): Result<StaticConfig, "invalid-config"> {
  const given: Given[] = [...fromFile(sources), ...fromEnvironment(sources), ...fromSet(sources)];
  const faults: string[] = [];
  const warnings: string[] = [];
  const texts = new Map<string, string>();
  for (const { name, text, origin } of given) {
    const key = table[name];
    if (text === null) faults.push(`${name} (${origin}) is not of the form key=value`);
    else if (key === undefined) warnings.push(`unknown setting ${name} (${origin}) is ignored`);
    else {
      const parsed = parseValue(name, key, text);
      const isDefault = parsed.ok && parsed.value.text === defaultOf(name, key).text;
      if (!parsed.ok) faults.push(`${parsed.message} (${origin})`);
      else if (key.refused !== undefined && !isDefault)
        faults.push(`${name} (${origin}) can not be served: ${whyMissing[key.refused]}`);
      else {
        if (key.inert !== undefined && !isDefault)
          warnings.push(`${name} (${origin}) has no effect: ${whyMissing[key.inert]}`);
        texts.set(name, text);
      }
    }
  }
  const id = texts.get("broker.id");
  if (id !== undefined && !texts.has("node.id")) texts.set("node.id", id);
  return faults.length > 0 ? failed("invalid-config", faults.join("; ")) : ok({ texts, warnings });
}

interface Given {
  readonly name: string;
  /** Null: nothing that could be a value. */
  readonly text: string | null;
  readonly origin: string;
}

function fromFile({ file }: ConfigSources): Given[] {
  if (file === undefined) return [];
  return [...parseProperties(file.text)].map(([name, text]) => ({ name, text, origin: file.path }));
}

function fromSet({ set = [] }: ConfigSources): Given[] {
  return set.map((entry) => {
    const equals = entry.indexOf("=");
    if (equals <= 0) return { name: entry, text: null, origin: "--set" };
    return { name: entry.slice(0, equals).trim(), text: entry.slice(equals + 1), origin: "--set" };
  });
}

const prefix = "MILLRACE_";

/** The environment variable of a setting: num.partitions is MILLRACE_NUM_PARTITIONS, millrace.durability is MILLRACE_DURABILITY. */
export function environmentName(name: string): string {
  return (
    prefix +
    name
      .replace(/^millrace\./, "")
      .replaceAll(".", "_")
      .toUpperCase()
  );
}

const byEnvironmentName: ReadonlyMap<string, string> = new Map(
  Object.keys(table).map((name) => [environmentName(name), name]),
);

function fromEnvironment({ environment = {} }: ConfigSources): Given[] {
  const given: Given[] = [];
  for (const [variable, text] of Object.entries(environment)) {
    if (text === undefined || !variable.startsWith(prefix)) continue;
    const name = byEnvironmentName.get(variable);
    given.push({
      name: name ?? variable,
      text,
      origin: name === undefined ? "environment" : `environment ${variable}`,
    });
  }
  return given;
}
