import { readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { ProducerAnswer, Producer } from "./commands.ts";
import { TransactionHost } from "./testing/transaction-host.ts";

/*
 * SPEC.md is kept true: its table is what the machine does.
 * `REWRITE_SCRIPTS=1` writes the table anew; read the diff before it is kept.
 */
const file = new URL("SPEC.md", import.meta.url);
const isRewriting = process.env["REWRITE_SCRIPTS"] === "1";

/** A host with the id "t" in a state, and its producer as its client knows it. */
type Scene = (clientVersion: 1 | 2) => { readonly host: TransactionHost; readonly producer: Producer };

function begun(clientVersion: 1 | 2): ReturnType<Scene> {
  const host = new TransactionHost();
  const producer = producerOf(host.init());
  expect(host.add(producer, [0], { clientVersion }).failure).toBeNull();
  return { host, producer };
}

function producerOf(answer: ProducerAnswer): Producer {
  if (answer.kind !== "granted") throw new Error(`answered ${JSON.stringify(answer)}`);
  return answer.producer;
}

/** In version 2 the client has the epoch that the end gave it. */
const ended =
  (outcome: "commit" | "abort", areMarkersWritten: boolean): Scene =>
  (clientVersion) => {
    const { host, producer } = begun(clientVersion);
    const next = producerOf(host.end(producer, outcome, { clientVersion }));
    if (areMarkersWritten) host.writeMarkers();
    return { host, producer: next };
  };

const states: Readonly<Record<string, Scene>> = {
  "no id": () => ({ host: new TransactionHost(), producer: { producerId: 7, producerEpoch: 0 } }),
  Empty: () => {
    const host = new TransactionHost();
    return { host, producer: producerOf(host.init()) };
  },
  Ongoing: begun,
  PrepareCommit: ended("commit", false),
  PrepareAbort: ended("abort", false),
  CompleteCommit: ended("commit", true),
  CompleteAbort: ended("abort", true),
};

const before = ({ producerId, producerEpoch }: Producer): Producer => ({
  producerId,
  producerEpoch: producerEpoch - 1,
});

interface Event {
  readonly clientVersion?: 2;
  happen(host: TransactionHost, producer: Producer): unknown;
}

const events: Readonly<Record<string, Event>> = {
  "InitProducerId, new process": { happen: (host) => host.init() },
  "InitProducerId, the same process": { happen: (host, producer) => host.init({ expected: producer }) },
  "InitProducerId, a fenced process": { happen: (host, producer) => host.init({ expected: before(producer) }) },
  "InitProducerId, with the epoch before an EndTxn v5": {
    clientVersion: 2,
    happen: (host, producer) => host.init({ expected: before(producer) }),
  },
  AddPartitionsToTxn: { happen: (host, producer) => host.add(producer, [1]) },
  "AddPartitionsToTxn, a fenced process": { happen: (host, producer) => host.add(before(producer), [1]) },
  "verify, a partition of it": { happen: (host, producer) => host.verify(producer, 0) },
  "verify, another one": { happen: (host, producer) => host.verify(producer, 9) },
  "EndTxn v0–v4, commit": { happen: (host, producer) => host.end(producer, "commit") },
  "EndTxn v0–v4, abort": { happen: (host, producer) => host.end(producer, "abort") },
  "EndTxn v5, commit": {
    clientVersion: 2,
    happen: (host, producer) => host.end(producer, "commit", { clientVersion: 2 }),
  },
  "EndTxn v5, abort": {
    clientVersion: 2,
    happen: (host, producer) => host.end(producer, "abort", { clientVersion: 2 }),
  },
  "EndTxn v5, commit, once more": {
    clientVersion: 2,
    happen: (host, producer) => host.end(before(producer), "commit", { clientVersion: 2 }),
  },
  "EndTxn v5, abort, once more": {
    clientVersion: 2,
    happen: (host, producer) => host.end(before(producer), "abort", { clientVersion: 2 }),
  },
  "every marker is written": { happen: (host) => host.writeMarkers() },
  "timeout of the transaction": { happen: (host) => host.advance(60_000) },
  "timeout, then EndTxn v5, commit": {
    clientVersion: 2,
    happen: (host, producer) => {
      host.advance(60_000);
      host.writeMarkers();
      return host.end(producer, "commit", { clientVersion: 2 });
    },
  },
  "timeout, then InitProducerId, the same process": {
    happen: (host, producer) => {
      host.advance(60_000);
      host.writeMarkers();
      return host.init({ expected: producer });
    },
  },
  failover: { happen: (host) => host.failover() },
  "nobody uses the id": { happen: (host) => host.advance(8 * 86_400_000) },
};

function cell(scene: Scene, { clientVersion, happen }: Event): string {
  const { host, producer } = scene(clientVersion ?? 1);
  const [stateBefore, epochBefore, markersBefore] = [
    host.state(),
    host.transaction()?.producerEpoch ?? null,
    new Set(host.markers),
  ];
  const answer = happen(host, producer);
  const [state, epoch] = [host.state(), host.transaction()?.producerEpoch ?? null];
  const words = [wordsOf(answer)];
  if (epochBefore !== null && epoch !== null && epoch !== epochBefore) words.push(`+${epoch - epochBefore}`);
  if (state !== stateBefore) words.push(`→ ${state}`);
  if (host.markers.some((each) => !markersBefore.has(each))) words.push("markers");
  return words.filter((each) => each !== "").join(" ") || "·";
}

function wordsOf(answer: unknown): string {
  if (answer === undefined) return "";
  if (answer === null) return "ok";
  if (typeof answer === "boolean") return answer ? "in" : "not in";
  if (typeof answer === "string") return answer;
  const { failure } = answer as { readonly failure?: string | null };
  return failure ?? "ok";
}

test("SPEC.md's table is what the machine does", () => {
  const rows = Object.entries(events).map(
    ([name, event]) => `| ${[name, ...Object.values(states).map((scene) => cell(scene, event))].join(" | ")} |`,
  );
  const head = ["", ...Object.keys(states)];
  const table = [`| ${head.join(" | ")} |`, `|${"---|".repeat(head.length)}`, ...rows].join("\n");
  const text = readFileSync(file, "utf8");
  const [start, end] = ["<!-- table -->\n", "\n<!-- /table -->"];
  const from = text.indexOf(start) + start.length;
  const to = text.indexOf(end);
  expect(from).toBeGreaterThan(start.length);
  if (isRewriting) writeFileSync(file, text.slice(0, from) + table + text.slice(to));
  else expect(text.slice(from, to)).toBe(table);
});

test("every invariant of the specification is checked, and every check is in the specification", () => {
  const numbersIn = (name: string, pattern: RegExp): number[] => {
    const numbers = readFileSync(new URL(name, import.meta.url), "utf8").match(pattern) ?? [];
    return [...new Set(numbers.map((one) => Number(one.replace(/\D/g, ""))))].toSorted((a, b) => a - b);
  };
  const checked = ["testing/transaction-host.ts", "properties.test.ts"].flatMap((name) => numbersIn(name, /\bT\d+\b/g));
  expect([...new Set(checked)].toSorted((a, b) => a - b)).toEqual(numbersIn("SPEC.md", /^- \*\*T\d+\*\*/gm));
});
