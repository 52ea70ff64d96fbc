import { expect, test } from "vitest";
import { append, Bench, durable, readAll, values } from "../test/support.ts";

test("what was appended is read again, also after a restart", async () => {
  const bench = await Bench.open();
  const log = await bench.create("orders");
  expect(append(log, { records: ["a", "b"] }).firstOffset).toBe(0);
  expect(append(log, { records: ["c"] }).firstOffset).toBe(2);
  await durable(log);
  expect(log.flushedOffset).toBe(3);
  expect(values(await readAll(log))).toEqual(["a", "b", "c"]);
  await bench.directory.close();

  const again = await Bench.open({ disk: bench.disk });
  expect(again.report).toMatchObject({ isClean: true, logsCount: 1, recoveredBytes: 0, offline: [], unknown: [] });
  const reopened = again.log("orders");
  expect(reopened.logEndOffset).toBe(3);
  expect(values(await readAll(reopened))).toEqual(["a", "b", "c"]);
  append(reopened, { records: ["d"] });
  await durable(reopened);
  expect(values(await readAll(reopened, 1))).toEqual(["b", "c", "d"]);
  await again.directory.close();
});
