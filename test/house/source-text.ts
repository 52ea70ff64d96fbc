/**
 * A TypeScript file without its comments, and without the insides of its strings where asked: what is blanked becomes
 * spaces, so that line numbers stay true. It reads tokens, not grammar: enough to find calls and imports, and as fast
 * as a search through text.
 */
export function withoutComments(source: string): string {
  return blank(source, { strings: false });
}

export function withoutCommentsAndStrings(source: string): string {
  return blank(source, { strings: true });
}

// The order matters: whichever begins first wins, so a `//` inside a string is no comment.
const tokens = new RegExp(
  [
    String.raw`(?<comment>\/\/[^\n]*|\/\*[\s\S]*?\*\/)`,
    String.raw`(?<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|` + "`(?:\\\\.|[^`\\\\])*`)",
    // A slash that follows an operator or a keyword begins a regular expression; elsewhere it divides.
    String.raw`(?<=[=(,:?!&|{};\[\n]\s*|\breturn\s+)(?<regex>\/(?![*\/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^\/\\\n])+\/[dgimsuvy]*)`,
  ].join("|"),
  "g",
);

function blank(source: string, what: { readonly strings: boolean }): string {
  return source.replace(tokens, (token, ...rest) => {
    const groups = rest.at(-1) as { readonly comment?: string; readonly string?: string };
    if (groups.comment !== undefined) return spaces(token);
    if (!what.strings) return token;
    return token[0] + spaces(token.slice(1, -1)) + (token.at(-1) ?? "");
  });
}

/** As long as the text, with its lines. */
export function spaces(text: string): string {
  return text.replace(/[^\n]/g, " ");
}

export interface Import {
  readonly specifier: string;
  readonly line: number;
}

const importForms: readonly RegExp[] = [
  /(?:^|[;}\s])(?:import|export)\b[^;"'`()]*?\bfrom\s*["']([^"'\n]+)["']/g,
  /(?:^|[;}\s])import\s*["']([^"'\n]+)["']/g,
  /\b(?:import|require)\s*\(\s*["'`]([^"'`$\n]+)["'`]/g,
];

/** What a file imports: static, re-exported, for types only, for its effect, or when it runs, where that is a literal. */
export function importsOf(source: string): Import[] {
  const text = withoutComments(source);
  return importForms
    .flatMap((form) => [...text.matchAll(form)])
    .map((match) => ({ specifier: match[1] ?? "", line: lineAt(text, match.index + match[0].length) }))
    .toSorted((a, b) => a.line - b.line);
}

export function lineAt(text: string, position: number): number {
  return text.slice(0, position).split("\n").length;
}
