import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createTopic, deleteBefore, offsetAt, produceTo } from "./calls.ts";
import { batchOf, running, temporaryDirectory } from "./fixture.ts";

test("a start that fails before the logs are loaded changes nothing that the next one needs", async () => {
  await using directory = await temporaryDirectory();
  {
    await using it = await running(directory.path);
    await using client = await it.client();
    await createTopic(client, "orders");
    for (const value of ["a", "b", "c"]) await produceTo(client, batchOf([value]));
    await deleteBefore(client, { topic: "orders", partition: 0 }, 2);
  }
  const metadata = join(directory.path, "metadata");
  const name = (await readdir(metadata)).find((each) => each.endsWith(".log"))!;
  const sound = await readFile(join(metadata, name));
  const damaged = Buffer.from(sound);
  damaged[10]! ^= 1;
  await writeFile(join(metadata, name), damaged);
  const before = await readdir(directory.path);
  await expect(running(directory.path)).rejects.toThrow(name);
  expect(await readdir(directory.path)).toEqual(before);
  await writeFile(join(metadata, name), sound);
  await using it = await running(directory.path);
  await using client = await it.client();
  expect(await offsetAt(client, { topic: "orders", partition: 0 }, -2)).toMatchObject({ offset: 2 });
  expect(it.log.lines.find(({ message }) => message === "logs loaded")?.fields).toMatchObject({ isClean: true });
});
