/** Java's properties as they occur here: `key=value` lines, and comments after `#`. */
export function parseProperties(text: string): ReadonlyMap<string, string> {
  const properties = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const trimmed = line.trim();
    if (trimmed === "" || trimmed.startsWith("#")) continue;
    const found = /^([^=:\s]+)\s*[=:]\s*(.*)$/.exec(trimmed);
    if (found !== null) properties.set(found[1] ?? "", (found[2] ?? "").replaceAll("\\:", ":").replaceAll("\\=", "="));
  }
  return properties;
}

export function formatProperties(properties: Readonly<Record<string, string | number>>): string {
  return Object.entries(properties)
    .map(([key, value]) => `${key}=${value}\n`)
    .join("");
}
