import { readdirSync } from "node:fs";
import { join } from "node:path";
import {
  type ApiSchema,
  type MessageSchema,
  type RecordKindSchema,
  type TypedMessageSchema,
  requestSchema,
  responseSchema,
} from "../src/schema.ts";

/** What protocol/schema declares. */
export interface Declarations {
  /** By the file's name without its ending: "01-fetch". In the order of keys. */
  readonly apis: ReadonlyMap<string, ApiSchema>;
  /** By the file's name without its ending: "group-records". */
  readonly internal: ReadonlyMap<string, InternalDeclaration>;
  /** Read and written by hand, in src/header.ts. */
  readonly headers: readonly MessageSchema[];
}

export interface InternalDeclaration {
  /** Of the constant: "groupRecords". */
  readonly name: string;
  readonly list: readonly (MessageSchema | TypedMessageSchema | RecordKindSchema)[];
}

const folder: string = join(import.meta.dirname, "../schema");

/** Imports every file of protocol/schema. Each exports one constant. */
export async function readDeclarations(): Promise<Declarations> {
  const apis = new Map<string, ApiSchema>();
  const files = sourcesIn(folder).filter((name) => name !== "headers");
  for (const file of files.toSorted((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10)))
    apis.set(file, (await onlyExport<ApiSchema>(join(folder, file))).value);
  const internal = new Map<string, InternalDeclaration>();
  for (const file of sourcesIn(join(folder, "internal"))) {
    const { name, value } = await onlyExport<InternalDeclaration["list"]>(join(folder, "internal", file));
    internal.set(file, { name, list: value });
  }
  return { apis, internal, headers: (await onlyExport<readonly MessageSchema[]>(join(folder, "headers"))).value };
}

/** Every message there is: requests and responses in the order of keys, headers, and what is internal. */
export function messagesIn({ apis, internal, headers }: Declarations): readonly (MessageSchema | TypedMessageSchema)[] {
  const ofApis = [...apis.values()].flatMap((api) => [requestSchema(api), responseSchema(api)]);
  const ofInternal = [...internal.values()].flatMap(({ list }) =>
    list.flatMap((entry) => ("key" in entry ? [entry.key, entry.value] : [entry])),
  );
  return [...ofApis, ...headers, ...ofInternal];
}

function sourcesIn(path: string): string[] {
  const names = readdirSync(path).filter((name) => name.endsWith(".ts"));
  return names.map((name) => name.slice(0, -".ts".length)).sort();
}

async function onlyExport<T>(path: string): Promise<{ readonly name: string; readonly value: T }> {
  const exported = Object.entries((await import(`${path}.ts`)) as Record<string, T>);
  const [only] = exported;
  if (only === undefined || exported.length !== 1) throw new Error(`${path}.ts must export one constant`);
  return { name: only[0], value: only[1] };
}
