import { afterAll, beforeAll, beforeEach, describe, test } from "vitest";
import { clientNames, clients, whyClientMissing, type ClientName } from "./clients.ts";
import { ExpectedTopic } from "./expected.ts";
import {
  checkPlacement,
  consume,
  partitionCount,
  produce,
  quickGroups,
  skipWhenMissing,
  Workspace,
} from "./journey.ts";
import { ClientProgram } from "./program.ts";
import { sampleRecords } from "./records.ts";
import { Target } from "./target.ts";

const recordsPerCompression = 400;

describe("what one client writes, every other reads", () => {
  const workspace = new Workspace();
  const programs = new Map<ClientName, ClientProgram>();
  const topics = new Map<ClientName, ExpectedTopic>();
  const present = clientNames.filter((name) => whyClientMissing(name) === null);
  let target: Target;

  beforeAll(async () => {
    target = await Target.start({ settings: quickGroups });
    for (const name of present) programs.set(name, ClientProgram.start(clients[name], target.address));
  });
  afterAll(async () => {
    for (const program of programs.values()) await program[Symbol.asyncDispose]();
    await target?.[Symbol.asyncDispose]();
    workspace[Symbol.dispose]();
  });

  const programOf = (name: ClientName): ClientProgram => programs.get(name)!;

  describe.for(clientNames)("%s", (name) => {
    beforeEach((context) => skipWhenMissing(context, whyClientMissing(name)));

    test("writes, with its keys where all put them", async () => {
      const topic = new ExpectedTopic(`written-by-${name}`);
      const program = programOf(name);
      const { compressions, cannot } = await program.hello();
      await program.createTopic({ topic: topic.name, partitions: partitionCount });
      for (const [index, compression] of compressions.entries()) {
        const records = sampleRecords({ count: recordsPerCompression, seed: 100 + index, without: cannot });
        await produce(workspace, program, { topic, compression, records });
      }
      checkPlacement(topic);
      topics.set(name, topic);
    });
  });

  describe.for(clientNames)("%s", (name) => {
    beforeEach((context) => skipWhenMissing(context, whyClientMissing(name)));

    test("reads what the others wrote", async () => {
      const foreign = [...topics].filter(([writer]) => writer !== name).map(([, topic]) => topic);
      const count = foreign.reduce((sum, topic) => sum + topic.count, 0);
      const names = foreign.map((topic) => topic.name);
      const consumed = await consume(workspace, programOf(name), { topics: names, group: `reader-${name}`, count });
      for (const topic of foreign) {
        const own = consumed.filter((record) => record.topic === topic.name);
        topic.checkComplete(topic.check(own));
      }
    });
  });
});
