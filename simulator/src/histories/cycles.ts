import type { AnomalyKind, Findings } from "./findings.ts";
import { EdgeKind, Graph } from "./graph.ts";
import type { Logs } from "./logs.ts";
import { transactionName } from "./operations.ts";
import type { ClientId, Operations, Poll, Transaction, Write } from "./operations.ts";
import { writesByOffset } from "./writers.ts";

type Subject = Transaction | Write | Poll;

/** Which edges make a cycle, one that it must have, and the class in whose cycles that one must not lie already. */
interface CycleClass {
  readonly kind: AnomalyKind;
  readonly along: number;
  readonly through: EdgeKind;
  readonly unless?: AnomalyKind;
}

/**
 * Finds what precedes itself. What happens takes effect at one moment: a transaction with its commit, a send outside of
 * one when it is appended, a poll when it returns. Edges lead from earlier to later moments, so a circle is impossible.
 *
 * - write-read: a committed reader polled what the other wrote. Readers of uncommitted records count for writes outside of
 *   transactions only, since they see a transaction's records before its moment.
 * - process: one had been answered before its client began the other.
 * - write-write, when writes are isolated: all that one wrote to a partition lies before all that the other wrote there.
 */
export function checkCycles(
  operations: Operations,
  { logs, areWritesIsolated }: { readonly logs: Logs; readonly areWritesIsolated: boolean },
  findings: Findings,
): void {
  const flow = new Flow(operations, areWritesIsolated);
  flow.addReads();
  flow.addProcessOrder();
  if (areWritesIsolated) flow.addWriteOrder(logs);
  const { writeWrite, writeRead, process } = EdgeKind;
  const classes: readonly CycleClass[] = [
    { kind: "G0", along: writeWrite, through: writeWrite },
    { kind: "G0-process", along: writeWrite | process, through: process },
    { kind: "G1c", along: writeWrite | writeRead, through: writeRead },
    { kind: "G1c-process", along: writeWrite | writeRead | process, through: writeRead, unless: "G1c" },
  ];
  flow.search(classes, findings);
}

class Flow {
  readonly #operations: Operations;
  readonly #graph = new Graph();
  readonly #subjects: Subject[] = [];
  readonly #nodes = new Map<Subject, number>();

  constructor(operations: Operations, areAllNeeded: boolean) {
    this.#operations = operations;
    const { transactions, writes, polls } = operations;
    // Who only writes or only reads is in no circle of reads: the rest is most often a small part.
    const reading = new Set<ClientId>(polls.map(({ client }) => client));
    const writing = new Set<ClientId>(writes.map(({ client }) => client));
    const isNeeded = ({ client }: Subject): boolean => areAllNeeded || (reading.has(client) && writing.has(client));
    const alone = <T extends Write | Poll>(each: T): boolean => each.transaction === null && isNeeded(each);
    for (const subject of transactions) if (isNeeded(subject)) this.#subjects.push(subject);
    for (const subject of writes) if (alone(subject)) this.#subjects.push(subject);
    for (const subject of polls) if (alone(subject)) this.#subjects.push(subject);
    this.#graph.addNodes(this.#subjects.length);
    for (const [node, subject] of this.#subjects.entries()) this.#nodes.set(subject, node);
  }

  addReads(): void {
    for (const poll of this.#operations.polls) {
      const isCommitted = poll.isolation === "read_committed";
      const to = this.#nodes.get(isCommitted ? (poll.transaction ?? poll) : poll);
      if (to === undefined) continue;
      let previous = -1;
      for (const { write } of poll.reads) {
        if (write === null || (write.transaction !== null && !isCommitted)) continue;
        const from = this.#nodes.get(write.transaction ?? write);
        // Its own writes are the matter of "precommitted read".
        if (from === undefined || from === to || from === previous) continue;
        previous = from;
        this.#graph.addEdge(from, to, EdgeKind.writeRead);
      }
    }
  }

  /** A chain of moments for each client, so that the edges are as many as the operations and not as their pairs. */
  addProcessOrder(): void {
    const { events, clientNames } = this.#operations;
    const begun = new Int32Array(events.length).fill(-1);
    const ended = new Int32Array(events.length).fill(-1);
    for (const [node, subject] of this.#subjects.entries()) {
      begun[subject.invokedAt] = node;
      const isAnswered = "fate" in subject || subject.outcome === "ok";
      if (isAnswered && subject.completedAt !== Infinity) ended[subject.completedAt] = node;
    }
    const clientOf = (node: number): ClientId => this.#subjects[node]?.client ?? 0;
    const moments = new Int32Array(clientNames.length).fill(-1);
    for (let index = 0; index < events.length; index++) {
      const beginning = begun[index] ?? -1;
      if (beginning !== -1) {
        const moment = moments[clientOf(beginning)] ?? -1;
        if (moment !== -1) this.#graph.addEdge(moment, beginning, EdgeKind.process);
      }
      const ending = ended[index] ?? -1;
      if (ending === -1) continue;
      const moment = this.#graph.addNodes(1);
      const before = moments[clientOf(ending)] ?? -1;
      if (before !== -1) this.#graph.addEdge(before, moment, EdgeKind.process);
      this.#graph.addEdge(ending, moment, EdgeKind.process);
      moments[clientOf(ending)] = moment;
    }
  }

  /** A chain along each partition: who has written its last enters it, who writes its first comes out of it. */
  addWriteOrder(logs: Logs): void {
    for (const ordered of writesByOffset(this.#operations, logs)) {
      const nodes = ordered.map((write) => this.#nodes.get(write.transaction ?? write) ?? -1);
      const first = this.#graph.addNodes(nodes.length + 1);
      const [begun, left] = [new Set<number>(), new Map<number, number>()];
      for (const node of nodes) left.set(node, (left.get(node) ?? 0) + 1);
      for (const [index, node] of nodes.entries()) {
        this.#graph.addEdge(first + index, first + index + 1, EdgeKind.writeWrite);
        if (!begun.has(node)) this.#graph.addEdge(first + index, node, EdgeKind.writeWrite);
        begun.add(node);
        const rest = (left.get(node) ?? 0) - 1;
        left.set(node, rest);
        if (rest === 0) this.#graph.addEdge(node, first + index + 1, EdgeKind.writeWrite);
      }
    }
  }

  search(classes: readonly CycleClass[], findings: Findings): void {
    this.#graph.seal();
    const components = new Map<AnomalyKind, Int32Array>();
    for (const { kind, along, through, unless } of classes) {
      const component = this.#graph.components(along);
      components.set(kind, component);
      const except = unless === undefined ? undefined : components.get(unless);
      for (const { from, to } of this.#graph.edgesInside(component, { kind: through, except })) {
        const way = this.#graph.path(to, from, { kinds: along, component });
        const circle = way.filter((node) => node < this.#subjects.length);
        findings.add(kind, () => `each before the next, and the last before the first: ${this.#names(circle)}`);
      }
    }
  }

  #names(circle: readonly number[]): string {
    return circle
      .flatMap((node) => this.#subjects[node] ?? [])
      .map((subject) => {
        if ("fate" in subject) return transactionName(this.#operations, subject);
        const client = this.#operations.clientNames[subject.client];
        if ("value" in subject) return `send of ${subject.value} by ${client}`;
        return `poll by ${client} (event ${subject.invokedAt})`;
      })
      .join(" -> ");
  }
}
