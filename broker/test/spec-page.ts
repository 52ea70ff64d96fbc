import { readFileSync, writeFileSync } from "node:fs";
import { expect } from "vitest";

/*
 * The SPEC.md of a machine is kept true: its table is what the machine does, and its invariants are those that tests check.
 * `REWRITE_SCRIPTS=1` writes the table anew; read the diff before it is kept.
 */
const isRewriting = process.env["REWRITE_SCRIPTS"] === "1";
const [start, end] = ["<!-- table -->\n", "<!-- /table -->"];

/** A row a request or timer, a column a state; `cell` brings a machine into the state and tells what becomes of it. */
export function expectTable<State, Event>(
  page: URL,
  states: Readonly<Record<string, State>>,
  events: Readonly<Record<string, Event>>,
  cell: (state: State, event: Event) => string,
): void {
  const rows = Object.entries(events).map(([name, event]) => {
    const cells = Object.values(states).map((state) => cell(state, event));
    return `| ${[name, ...cells].join(" | ")} |\n`;
  });
  const names = Object.keys(states);
  const table = `| | ${names.join(" | ")} |\n|---${"|---".repeat(names.length)}|\n${rows.join("")}`;
  const text = readFileSync(page, "utf8");
  const from = text.indexOf(start) + start.length;
  const to = text.indexOf(end);
  expect([from > start.length, to > from], "the page has a place for the table").toEqual([true, true]);
  if (isRewriting) writeFileSync(page, text.slice(0, from) + table + text.slice(to));
  else expect(text.slice(from, to)).toBe(table);
}

/** Each `- **I1**` of the page is named by some check in the files, and each check that they name is on the page. */
export function expectInvariants(page: URL, letter: string, files: readonly URL[]): void {
  const numbersIn = (file: URL, pattern: RegExp): number[] =>
    (readFileSync(file, "utf8").match(pattern) ?? []).map((one) => Number(one.replace(/\D/g, "")));
  const specified = numbersIn(page, new RegExp(String.raw`^- \*\*${letter}\d+\*\*`, "gm"));
  const checked = new Set(files.flatMap((file) => numbersIn(file, new RegExp(String.raw`\b${letter}\d+\b`, "g"))));
  expect(specified.length).toBeGreaterThan(0);
  expect([...checked].toSorted((a, b) => a - b)).toEqual(specified);
}
