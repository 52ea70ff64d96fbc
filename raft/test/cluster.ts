import type { Limits, Message, MessageOf, NodeId } from "raft-ts-lite";
import { Host, emptyDisk } from "./node.ts";

/** Nodes that hear each other at once, unless a test stands between them: time and messages move only when it says so. */
export class Cluster {
  readonly hosts = new Map<NodeId, Host>();
  /** Sent, and not delivered. */
  readonly wire: Message[] = [];
  readonly #cut = new Set<NodeId>();

  /** Elections come after `timeouts` of a node's name: a fraction that puts it between one and two times the election's ticks. */
  constructor(
    ids: readonly NodeId[],
    options: { readonly limits?: Partial<Limits>; readonly learners?: readonly NodeId[] } = {},
  ) {
    const { limits = {}, learners = [] } = options;
    for (const [place, id] of [...ids, ...learners].entries()) {
      const fraction = place / (ids.length + learners.length);
      this.hosts.set(id, new Host(id, emptyDisk(ids), () => fraction, limits));
    }
  }

  host(id: NodeId): Host {
    const host = this.hosts.get(id);
    if (host === undefined) throw new Error(`no node ${id}`);
    return host;
  }

  get leader(): Host | null {
    const leaders = [...this.hosts.values()].filter(({ raft }) => raft.status.role === "leader");
    return leaders.sort((a, b) => b.raft.status.term - a.raft.status.term)[0] ?? null;
  }

  /** Nobody hears it, and it hears nobody. */
  cut(...ids: readonly NodeId[]): void {
    for (const id of ids) this.#cut.add(id);
  }
  heal(): void {
    this.#cut.clear();
  }

  /** Until nothing more is to be done without time. */
  settle(): void {
    for (let rounds = 0; ; rounds++) {
      if (rounds > 10_000) throw new Error("the nodes do not come to rest");
      for (const host of this.hosts.values()) this.wire.push(...host.work());
      if (this.wire.length === 0) return;
      for (const message of this.wire.splice(0)) this.#deliver(message);
    }
  }

  #deliver(message: Message): void {
    if (this.#cut.has(message.from) || this.#cut.has(message.to)) return;
    this.hosts.get(message.to)?.raft.step(message);
  }

  /** Time goes by for all of them. */
  tick(count = 1): void {
    for (let left = count; left > 0; left--) {
      for (const { raft } of this.hosts.values()) raft.tick();
      this.settle();
    }
  }

  /** Until there is a leader among those that are not cut off. */
  elect(id?: NodeId): Host {
    if (id !== undefined) {
      this.host(id).raft.stand();
      this.settle();
    }
    for (let ticks = 0; ticks < 100; ticks++) {
      const { leader } = this;
      if (leader !== null && (id === undefined || leader.id === id)) return leader;
      this.tick();
    }
    throw new Error("nobody was elected");
  }

  propose(...texts: readonly string[]): number {
    const at = this.leader?.raft.propose(texts.map((text) => Buffer.from(text))) ?? "not-leader";
    if (typeof at !== "number") throw new Error(`not taken: ${at}`);
    return at;
  }
}

/** One node, of whose messages a test looks at each: what it says to whom, and in which order. */
export function messagesOf<Kind extends Message["kind"]>(messages: readonly Message[], kind: Kind): MessageOf<Kind>[] {
  return messages.filter((message): message is MessageOf<Kind> => message.kind === kind);
}
