import { Readable } from "node:stream";
import fc from "fast-check";
import { expect, test } from "vitest";
import { linesOf } from "./input.ts";

async function lines(chunks: readonly Buffer[]): Promise<string[]> {
  const found: string[] = [];
  for await (const line of linesOf(Readable.from(chunks, { objectMode: true }))) found.push(line.toString("latin1"));
  return found;
}

test("lines are bytes between line feeds, and a last one needs none", async () => {
  expect(await lines([Buffer.from("a\nb")])).toEqual(["a", "b"]);
  expect(await lines([Buffer.from("a\n\n"), Buffer.from("\xff\r\n", "latin1")])).toEqual(["a", "", "\xff\r"]);
  expect(await lines([])).toEqual([]);
});

test("where the input was cut makes no difference", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(fc.constantFrom(10, 65, 195, 13), { minLength: 1, maxLength: 9 })),
      async (chunks) => {
        const bytes = Buffer.concat(chunks.map((chunk) => Buffer.from(chunk)));
        const expected = bytes.toString("latin1").split("\n");
        if (expected.at(-1) === "") expected.pop();
        expect(await lines(chunks.map((chunk) => Buffer.from(chunk)))).toEqual(expected);
      },
    ),
  );
});
