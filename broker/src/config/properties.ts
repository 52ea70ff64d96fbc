/**
 * Reads a Java properties file, the format of Kafka's server.properties: `key=value`, `key: value` or `key value`,
 * comments with # or !, a backslash at the end of a line joins the next one, and \t \n \r \f \uXXXX are characters.
 * The last of two equal keys counts.
 */
export function parseProperties(text: string): Map<string, string> {
  const entries = new Map<string, string>();
  for (const line of logicalLines(text)) {
    const { key, value } = splitEntry(line);
    entries.set(unescape(key), unescape(value));
  }
  return entries;
}

function logicalLines(text: string): string[] {
  const lines: string[] = [];
  let joined: string | null = null;
  for (const natural of text.split(/\r\n|\r|\n/)) {
    const line: string = natural.replace(/^[ \t\f]+/, "");
    if (joined === null && (line === "" || line.startsWith("#") || line.startsWith("!"))) continue;
    const whole: string = (joined ?? "") + line;
    const isContinued = /(?:^|[^\\])(?:\\\\)*\\$/.test(whole);
    joined = isContinued ? whole.slice(0, -1) : null;
    if (!isContinued) lines.push(whole);
  }
  if (joined !== null) lines.push(joined);
  return lines;
}

/** A key ends at the first =, : or blank that no backslash protects; one = or : with blanks around it is the separator. */
function splitEntry(line: string): { readonly key: string; readonly value: string } {
  const match = /^((?:\\.|[^\\=: \t\f])*)[ \t\f]*[=:]?[ \t\f]*(.*)$/s.exec(line);
  return { key: match?.[1] ?? line, value: match?.[2] ?? "" };
}

const escapes: Readonly<Record<string, string>> = { t: "\t", n: "\n", r: "\r", f: "\f" };

function unescape(text: string): string {
  return text.replaceAll(
    /\\(?:u([0-9a-fA-F]{4})|(.)|$)/gs,
    (_, hex: string | undefined, character: string | undefined) => {
      if (hex !== undefined) return String.fromCharCode(Number.parseInt(hex, 16));
      return character === undefined ? "" : (escapes[character] ?? character);
    },
  );
}
