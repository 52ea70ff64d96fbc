/** A block of a guide that runs as it stands, but for the addresses of what it talks to. */
export interface Snippet {
  /** "docs/client/serdes.md". */
  readonly page: string;
  /** Of the first line of the block. */
  readonly line: number;
  /** What runs: the page's preamble, and the block. */
  readonly code: string;
  readonly needs: readonly Need[];
  /** The lines of the page that the lines of the code are. */
  readonly lines: readonly number[];
}

/** What a block talks to: a broker, a schema registry. All blocks share them. */
export type Need = "broker" | "registry";

/** The address that stands in the guides for each. */
const written = { broker: "localhost:9092", registry: "localhost:8081" } as const satisfies Record<Need, string>;
const needs = Object.keys(written) as readonly Need[];

/**
 * The blocks of a page: all that begin with "```ts". One that begins with "```ts preamble" stands before each that follows it on the
 * page, so that these need not say again what their cluster and their topics are.
 *
 * @throws Error where a block is marked with anything else, or does not end.
 */
export function snippetsOf(page: string, text: string): Snippet[] {
  const lines = text.split("\n");
  const snippets: Snippet[] = [];
  let preamble: readonly number[] = [];
  let isUsed = true;
  for (let index = 0; index < lines.length; index++) {
    const words = /^```(?:ts|typescript)\b *(.*)$/.exec(lines[index] ?? "")?.[1];
    if (words === undefined) continue;
    const where = `${page}:${index + 1}`;
    const end = lines.indexOf("```", index);
    if (end < 0) throw new Error(`${where}: the block does not end`);
    if (words !== "" && words !== "preamble")
      throw new Error(`${where}: a block is "ts" or "ts preamble", not ${words}`);
    const own = lines.slice(index + 1, end).map((_, at) => index + 2 + at);
    const all = [...preamble, ...own];
    index = end;
    isUsed = words === "";
    if (words === "preamble") preamble = all;
    else snippets.push(snippet(page, own[0] ?? index, all, lines));
  }
  if (!isUsed) throw new Error(`${page}: a preamble has no block behind it`);
  return snippets;
}

function snippet(page: string, line: number, all: readonly number[], lines: readonly string[]): Snippet {
  const code = all.map((each) => lines[each - 1]).join("\n");
  return { page, line, code, lines: all, needs: needs.filter((need) => code.includes(written[need])) };
}

/** The code with the addresses that are there. */
export function addressed({ code }: Snippet, addresses: Readonly<Partial<Record<Need, string>>>): string {
  return needs.reduce((text, need) => text.replaceAll(written[need], addresses[need] ?? written[need]), code);
}
