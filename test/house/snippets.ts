/** A block of a guide that can be run as it stands: "```ts runnable", and what it needs behind it. */
export interface Snippet {
  /** "docs/client/serdes.md". */
  readonly page: string;
  /** Of the first line of the code. */
  readonly line: number;
  readonly code: string;
  readonly needs: readonly Need[];
}

/**
 * What a block finds in its environment: `broker`, a broker that runs, in BROKERS; `registry`, a schema registry, in
 * REGISTRY. All blocks share them.
 */
export type Need = "broker" | "registry";

const needs: readonly string[] = ["broker", "registry"] satisfies readonly Need[];

/** @throws Error where a block asks for what is unknown, or does not end. */
export function snippetsOf(page: string, text: string): Snippet[] {
  const lines = text.split("\n");
  const snippets: Snippet[] = [];
  for (let index = 0; index < lines.length; index++) {
    const words = /^```ts runnable\b *(.*)$/.exec(lines[index] ?? "")?.[1];
    if (words === undefined) continue;
    const end = lines.indexOf("```", index);
    const where = `${page}:${index + 1}`;
    if (end < 0) throw new Error(`${where}: the block does not end`);
    const wanted = words.split(" ").filter((word) => word !== "");
    const unknown = wanted.filter((word) => !needs.includes(word));
    if (unknown.length > 0) throw new Error(`${where}: ${unknown.join(", ")} is none of ${needs.join(", ")}`);
    snippets.push({ page, line: index + 2, code: lines.slice(index + 1, end).join("\n"), needs: wanted as Need[] });
    index = end;
  }
  return snippets;
}
