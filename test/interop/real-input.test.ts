import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { clients, whyClientMissing, type ClientName } from "./clients.ts";
import { ExpectedTopic } from "./expected.ts";
import { consume, partitionCount, quickGroups, skipWhenMissing, Workspace } from "./journey.ts";
import { runKcat, startKcat } from "./kcat.ts";
import { ClientProgram } from "./program.ts";
import { generator, writeRecords, type ConsumedRecord, type SampleRecord } from "./records.ts";
import { whyMissing } from "./runtimes.ts";
import { Target } from "./target.ts";

const lineCount = 120_000;
const topic = "access-log";

/**
 * What a newcomer would do: a text file goes in, the broker is killed in the middle of a second one and started again,
 * and what comes out with another client is what went in. A line is *acknowledged* when its writer says so: kcat ends
 * with 0 only if every message was delivered, and the programs of the clients get an answer for each record. Both
 * writers are idempotent and outlive the broker, so in the end every line is acknowledged, and must be there once.
 */
describe("a real text file of 120,000 lines over six partitions", () => {
  test("kcat writes it; the broker is killed in the second run; another client reads every line once", async (context) => {
    skipWhenMissing(context, whyMissing("kcat"));
    using workspace = new Workspace();
    await using target = await Target.start({ settings: quickGroups });
    await using reader = ClientProgram.start(clients[firstPresent(["java", "franz-go", "kafkajs"])], target.address);
    await reader.createTopic({ topic, partitions: partitionCount });
    // -E: a broker that is gone for a while is no reason to end.
    const producer = ["-P", "-E", "-t", topic, "-X", "enable.idempotence=true", "-X", "acks=all"];

    const first = accessLog({ seed: 1 });
    const file = workspace.path("access.log");
    writeFileSync(file, textOf(first));
    await runKcat(target.address, [...producer, "-l", file]);

    const second = accessLog({ seed: 2 });
    const half = lineCount / 2;
    const kcat = startKcat(target.address, producer);
    const feed = async (lines: readonly string[]): Promise<void> => {
      if (kcat.process.stdin?.write(textOf(lines)) === false) await once(kcat.process.stdin, "drain");
    };
    await feed(second.slice(0, half));
    await endOffsetsReach(target, lineCount + half / 4);
    await feed(second.slice(half, half + 10_000));
    await target.kill();
    await feed(second.slice(half + 10_000));
    kcat.process.stdin?.end();
    await target.start();
    await kcat.output;

    const consumed = await consume(workspace, reader, { topics: [topic], group: "reader", count: 2 * lineCount });
    // Compared here, since a difference of files is too long to print.
    const [one, two] = runsIn(consumed);
    expect(one === textOf(first) && two === textOf(second), "the files that came out are those that went in").toBe(
      true,
    );
  });

  test("a client writes it; the broker is killed in the middle; what was acknowledged is where its ack said", async (context) => {
    const writerName = firstPresent(["java", "librdkafka", "franz-go", "kafkajs"]);
    const readerName = firstPresent(
      (["franz-go", "librdkafka", "kafkajs", "platformatic"] as const).filter((name) => name !== writerName),
    );
    await context.annotate(`${writerName} writes, ${readerName} reads`);
    using workspace = new Workspace();
    await using target = await Target.start({ settings: quickGroups });
    await using writer = ClientProgram.start(clients[writerName], target.address);
    await using reader = ClientProgram.start(clients[readerName], target.address);
    await writer.createTopic({ topic, partitions: partitionCount });

    const lines = accessLog({ seed: 3 });
    const records = lines.map((line): SampleRecord => ({
      key: null,
      value: Buffer.from(line),
      headers: [],
      timestamp: Date.now(),
    }));
    const file = workspace.path("records.jsonl");
    writeRecords(file, records);
    const isAmidst = Promise.withResolvers<void>();
    const args = { topic, partitions: partitionCount, compression: "none", file, progressEvery: 1_000 } as const;
    const written = writer.produce(args, (acknowledged) => {
      if (acknowledged >= lineCount / 4) isAmidst.resolve();
    });
    await Promise.race([isAmidst.promise, written]);
    await target.kill();
    await target.start();
    const answer = await written;

    const expected = new ExpectedTopic(topic);
    expected.add(records, answer);
    const consumed = await consume(workspace, reader, { topics: [topic], group: "reader", count: lineCount });
    expected.checkComplete(expected.check(consumed));
  });
});

function firstPresent(names: readonly ClientName[]): ClientName {
  // The last one comes with `npm ci`.
  return names.find((name) => whyClientMissing(name) === null) ?? "kafkajs";
}

/** A web server's log; each line begins with its number, from which its place in the file is found again. */
function accessLog({ seed }: { readonly seed: number }): string[] {
  const random = generator(seed);
  const pick = (choices: readonly string[]): string => choices[Math.floor(random() * choices.length)] ?? "";
  const agents = ["Mozilla/5.0 (X11; Linux x86_64)", "curl/8.9.1", "Opera/9.80 (Español; ñandú)", "日本語ブラウザ/1.0"];
  const folders = ["usr", "share", "doc", "catálogo", "größe", "lib", "images", "2026"];
  return Array.from({ length: lineCount }, (_, index) => {
    const address = Array.from({ length: 4 }, () => Math.floor(random() * 256)).join(".");
    const path = Array.from({ length: 1 + Math.floor(random() * 5) }, () => pick(folders)).join("/");
    const size = Math.floor(random() * 1e6);
    const status = pick(["200", "200", "200", "304", "404", "500"]);
    return `${index} run-${seed} ${address} - - "GET /${path}?id=${size} HTTP/1.1" ${status} ${size} "-" "${pick(agents)}"`;
  });
}

function textOf(lines: readonly string[]): string {
  return lines.map((line) => `${line}\n`).join("");
}

/** The files that went in, put together again by their line numbers; within a partition the order must be theirs. */
function runsIn(consumed: readonly ConsumedRecord[]): string[] {
  const runs = new Map<string, string[]>();
  const latest = new Map<string, number>();
  for (const { partition, value } of consumed) {
    const line = value?.toString() ?? "";
    const [number = "", run = ""] = line.split(" ", 2);
    const place = `${run} in partition ${partition}`;
    if (Number(number) <= (latest.get(place) ?? -1)) throw new Error(`${place}: line ${number} is out of order`);
    latest.set(place, Number(number));
    const lines = runs.get(run) ?? [];
    if (lines[Number(number)] !== undefined) throw new Error(`line ${number} of ${run} came twice`);
    lines[Number(number)] = line;
    runs.set(run, lines);
  }
  return [...runs.keys()].toSorted().map((run) => textOf(Array.from(runs.get(run) ?? [], (line) => line ?? "missing")));
}

async function endOffsetsReach(target: Target, sum: number): Promise<void> {
  const queries = Array.from({ length: partitionCount }, (_, partition) => ["-t", `${topic}:${partition}:-1`]).flat();
  for (;;) {
    const output = await runKcat(target.address, ["-Q", ...queries]);
    const offsets = [...output.matchAll(/offset (\d+)/g)].map(([, offset]) => Number(offset));
    if (offsets.reduce((total, offset) => total + offset, 0) >= sum) return;
    await sleep(20);
  }
}
