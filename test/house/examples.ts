import { entriesOf, publicSymbolsOf } from "./public-symbols.ts";
import type { PublicSymbol } from "./public-symbols.ts";
import { readJson } from "./repository.ts";

/** An example of a docstring as a module of its own. */
export interface Example {
  readonly file: string;
  readonly code: string;
}

/**
 * What an example may use without saying where it comes from, as readers guess it; beside what the entry that exports its symbol
 * exports itself.
 */
const surroundings = `
import type { Admin, Cluster, Consumer, Producer, SchemaRegistry, Serde, Topic } from "@millrace/client";
import type { Kafka } from "@millrace/client/kafkajs";
import type { KeyRing } from "@millrace/client/serdes/encryption/keys";

declare global {
  interface Order { readonly id: string; readonly cents: number }
  const cluster: Cluster;
  const admin: Admin;
  const producer: Producer;
  const consumer: Consumer;
  const registry: SchemaRegistry;
  const keys: KeyRing;
  const kafka: Kafka;
  const order: Order;
  const z: typeof import("zod");
  const orders: Topic<string, Order>;
  const bills: Topic<string, Order>;
  function handle(record: { readonly value: Order }, options?: { readonly signal: AbortSignal }): Promise<void>;
  function store(orders: readonly Order[]): Promise<void>;
}
`;

/** The examples of what a room exports, and the module that declares their surroundings. */
export function examplesOf(room: string): readonly Example[] {
  const entries = entriesOf(room);
  const symbols = publicSymbolsOf(room, entries);
  const { name } = readJson<{ readonly name: string }>(`${room}/package.json`);
  const pathOf = (entry: string): string =>
    entry
      .replace(`${room}/src/`, `${name}/`)
      .replace(/\/index\.ts$/, "")
      .replace(/\.ts$/, "");
  const modules = symbols
    .flatMap((symbol) => symbol.examples.map((example) => ({ symbol, example })))
    .map(({ symbol: { entry, file, name: shown }, example }, at) => {
      const imports = [...new Set([entry, ...entries])].flatMap((each) => importsOf(symbols, each));
      return {
        // Names may differ in nothing but capitals.
        file: `example-${at}-of-${shown.replace(/\W+/g, "-")}.ts`,
        code: `// ${file}: ${shown}\n${importLines(imports, example, pathOf)}\n${codeOf(example)}\nexport {};\n`,
      };
    });
  return [...modules, { file: "example-surroundings.ts", code: surroundings }];
}

interface Import {
  readonly name: string;
  readonly entry: string;
  readonly isType: boolean;
}

function importsOf(symbols: readonly PublicSymbol[], wanted: string): readonly Import[] {
  return symbols.filter(({ entry, isMember }) => entry === wanted && !isMember);
}

/** Of the names that the example uses and does not make itself; where two entries have one, its own entry's. */
function importLines(imports: readonly Import[], example: string, pathOf: (entry: string) => string): string {
  const taken = new Set<string>();
  return imports
    .filter(({ name }) => {
      const isUsed = new RegExp(String.raw`(?<![\w.])${name}\b(?!\s*:)`).test(example);
      const isMade = new RegExp(String.raw`\b(?:const|class|interface|import \{[^}]*)\s*\b${name}\b`).test(example);
      if (!isUsed || isMade || taken.has(name)) return false;
      taken.add(name);
      return true;
    })
    .map(({ name, entry, isType }) => `import ${isType ? "type " : ""}{ ${name} } from "${pathOf(entry)}";`)
    .join("\n");
}

function codeOf(example: string): string {
  return example.replace(/^```\w*\n?|```$/gm, "");
}
