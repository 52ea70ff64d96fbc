import { UsageError } from "./usage-error.ts";

/** "key=value" texts as an object; the value may hold further equal signs. The last of several values counts. */
export function keyValues(option: string, texts: readonly string[] = []): Record<string, string> {
  return Object.fromEntries(
    texts.map((text) => {
      const at = text.indexOf("=");
      if (at <= 0) throw new UsageError(`${option}: "${text}" is not key=value`);
      return [text.slice(0, at).trim(), text.slice(at + 1).trim()];
    }),
  );
}

/** A whole number within bounds, both inclusive. */
export function wholeNumber(
  option: string,
  text: string | undefined,
  { min, max = Number.MAX_SAFE_INTEGER }: { readonly min: number; readonly max?: number },
): number | undefined {
  if (text === undefined) return undefined;
  const value = /^[+-]?\d+$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  const bounds = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `between ${min} and ${max}`;
  throw new UsageError(`${option}: "${text}" is not a whole number ${bounds}`);
}

export function brokerAddresses(bootstrap: string): readonly string[] {
  return bootstrap
    .split(",")
    .map((address) => address.trim())
    .filter((address) => address !== "");
}
