import { expect, test } from "vitest";
import { expectInvariants, expectTable } from "../../test/spec-page.ts";
import type { ProducerAnswer, Producer } from "./commands.ts";
import { TransactionHost } from "./testing/transaction-host.ts";

const page = new URL("SPEC.md", import.meta.url);

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

test("the table of states and events is what the machine does", () => {
  expectTable(page, states, events, cell);
});

test("every invariant of the specification is checked, and every check is in the specification", () => {
  const files = ["testing/transaction-host.ts", "properties.test.ts"];
  expectInvariants(
    page,
    "T",
    files.map((name) => new URL(name, import.meta.url)),
  );
});
