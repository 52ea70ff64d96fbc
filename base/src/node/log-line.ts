/** What pino writes: one JSON object a line. */
interface LogEntry {
  readonly level: string;
  readonly time: string;
  readonly message?: string;
  readonly [field: string]: unknown;
}

const colors: Readonly<Record<string, number>> = { debug: 90, info: 32, warn: 33, error: 31 };

/**
 * Turns a line of JSON into one for a reader:
 *
 *     10:03:12.345 WARN  connection closed peer=127.0.0.1:53412 reason="frame of 2 GiB"
 *
 * An error's stack follows on lines of its own.
 */
export function lineFormatter(options: { readonly isColored: boolean }): (json: string) => string {
  return (json) => {
    const { level, time, message = "", ...fields } = JSON.parse(json) as LogEntry;
    const name = level.toUpperCase().padEnd(5);
    const colored = options.isColored ? `\u001b[${colors[level] ?? 0}m${name}\u001b[0m` : name;
    let line = `${localTime(time)} ${colored} ${oneLine(message)}`;
    let stacks = "";
    for (const [key, value] of Object.entries(fields)) {
      if (isErrorEntry(value)) {
        line += ` ${key}=${quoted(value.message)}`;
        for (const stackLine of value.stack.split("\n")) stacks += `    ${oneLine(stackLine)}\n`;
      } else line += ` ${key}=${typeof value === "string" ? quoted(value) : oneLine(JSON.stringify(value))}`;
    }
    return `${line}\n${stacks}`;
  };
}

function localTime(time: string): string {
  const date = new Date(time);
  const clock = [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) => String(part).padStart(2, "0"));
  return `${clock.join(":")}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

function isErrorEntry(value: unknown): value is { readonly message: string; readonly stack: string } {
  if (typeof value !== "object" || value === null) return false;
  return "stack" in value && typeof value.stack === "string" && "message" in value && typeof value.message === "string";
}

function quoted(text: string): string {
  return oneLine(/^[^\s"=]+$/.test(text) ? text : JSON.stringify(text));
}

/** Whatever a peer put into a name: it neither begins a line nor moves the cursor. */
function oneLine(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, (control) => {
    return `\\u${control.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}
