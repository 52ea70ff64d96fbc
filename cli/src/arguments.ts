import { UsageError } from "./usage-error.ts";

/** "key=value" texts as an object; the value may hold further equal signs. */
export function keyValues(texts: readonly string[] = []): Record<string, string> {
  const pairs: Record<string, string> = {};
  for (const text of texts) {
    const at = text.indexOf("=");
    if (at <= 0) throw new UsageError(`"${text}" is not key=value`);
    pairs[text.slice(0, at).trim()] = text.slice(at + 1).trim();
  }
  return pairs;
}

export function wholeNumber(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new UsageError(`${name} is "${text}", which is not a whole number`);
  return value;
}
