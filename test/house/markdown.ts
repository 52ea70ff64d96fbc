import { lineAt, spaces } from "./source-text.ts";

/** A page without its code blocks and code spans: what looks like a link or a heading in them is none. */
function prose(text: string): string {
  return text
    .replace(/^(```+|~~~+)[\s\S]*?^\1[^\S\n]*$/gm, spaces)
    .replace(/(?<!`)(`+)(?!`)[^\n]*?(?<!`)\1(?!`)/g, spaces);
}

export function titlesOf(text: string): string[] {
  return [...prose(text).matchAll(/^# +(.+)$/gm)].map((match) => match[1] ?? "");
}

export interface Link {
  readonly target: string;
  readonly line: number;
}

/** `[words](target)`, images too, and `[name]: target`. */
export function linksOf(text: string): Link[] {
  const plain = prose(text);
  return [...plain.matchAll(/\]\(([^)\s]+)(?:\s+"[^"]*")?\)|^\[[^\]]+\]:\s+(\S+)/gm)].map((match) => ({
    target: match[1] ?? match[2] ?? "",
    line: lineAt(plain, match.index),
  }));
}

/** The anchors that a page's headings get: lower case, punctuation gone, spaces as hyphens, repeats numbered. */
export function headingAnchors(text: string): ReadonlySet<string> {
  const anchors = new Set<string>();
  const fenced = text.replace(/^(```+|~~~+)[\s\S]*?^\1[^\S\n]*$/gm, "");
  for (const [, heading = ""] of fenced.matchAll(/^#{1,6} +(.+?)\s*#*$/gm)) {
    const words = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase();
    const anchor = words.replace(/[^\p{L}\p{N}\s_-]/gu, "").replace(/ /g, "-");
    let unique = anchor;
    for (let count = 1; anchors.has(unique); count++) unique = `${anchor}-${count}`;
    anchors.add(unique);
  }
  return anchors;
}
