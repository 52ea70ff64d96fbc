import type { Message, NodeId, RaftEvent, Ready } from "raft-ts-lite";
import { emptyDisk, Host, rot } from "./node.ts";

/**
 * Scripts: commands, `----`, and what happened. Nothing moves unless a command says so.
 *
 *     nodes a b c learners d     begins; messages wait until they are delivered
 *     limits inFlightMax=2       of nodes that begin after it
 *     tick a 3                   time goes by for one node: one in silence stands after 15
 *     stand a                    it stands for election
 *     lead a                     it stands, and everything moves until nothing is left, without a word
 *     propose a x y              entries with these texts
 *     add a d · remove a b       asks a to change the voters
 *     transfer a b               asks a to give the lead to b
 *     read a 7                   asks where a read may begin
 *     work a                     what is ready is done, and what it sends is on the wire; without a name: all of them
 *     deliver [from=a] [to=b] [kind=append]   what of this is on the wire arrives; without words: all of it
 *     drop [from=a] [to=b] [kind=append]
 *     settle                     work and deliver, until nothing is left
 *     compact a                  its host takes a snapshot
 *     crash a · start a          its memory is gone · it begins with what its disk has
 *     rot a                      while it is down: its disk has lost all but its term and its vote
 *     status a · log a           what it says of itself · its disk
 */
export function runScript(script: string): string {
  const [commands = ""] = script.split("----\n");
  const stage = new Stage();
  const said: string[] = [];
  for (const line of commands.split("\n")) {
    const command = line.replace(/#.*$/, "").trim();
    if (command === "") continue;
    said.push(`> ${command}`, ...stage.run(command).map((each) => `  ${each}`));
  }
  return `${commands}----\n${said.join("\n")}\n`;
}

class Stage {
  readonly #hosts = new Map<NodeId, Host>();
  #voters: readonly NodeId[] = [];
  #limits: Record<string, number> = {};
  #wire: Message[] = [];

  run(command: string): readonly string[] {
    const [verb = "", ...words] = command.split(/\s+/);
    const act = this.#verbs[verb];
    if (act === undefined) throw new Error(`no such command: ${command}`);
    return act(...words);
  }

  readonly #verbs: Readonly<Record<string, (...words: string[]) => readonly string[]>> = {
    nodes: (...words) => {
      const at = words.indexOf("learners");
      this.#voters = at < 0 ? words : words.slice(0, at);
      for (const id of words.filter((word) => word !== "learners")) this.#begin(id, emptyDisk(this.#voters));
      return [];
    },
    limits: (...words) => {
      this.#limits = Object.fromEntries(words.map((word) => word.split("=")).map(([key = "", n]) => [key, Number(n)]));
      return [];
    },
    tick: (id = "", count = "1") => {
      for (let left = Number(count); left > 0; left--) this.#host(id).raft.tick();
      return [];
    },
    stand: (id = "") => {
      this.#host(id).raft.stand();
      return [];
    },
    lead: (id = "") => {
      this.#host(id).raft.stand();
      this.#settle();
      return [];
    },
    propose: (id = "", ...texts) => [`${this.#host(id).raft.propose(texts.map((text) => Buffer.from(text)))}`],
    add: (id = "", node = "") => [`${this.#host(id).raft.change({ kind: "add", node })}`],
    remove: (id = "", node = "") => [`${this.#host(id).raft.change({ kind: "remove", node })}`],
    transfer: (id = "", node = "") => [this.#host(id).raft.transferTo(node) ?? "begun"],
    read: (id = "", token = "") => {
      this.#host(id).raft.read(Number(token));
      return [];
    },
    work: (id) => (id === undefined ? [...this.#hosts.keys()] : [id]).flatMap((each) => this.#work(each)),
    deliver: (...words) => this.#take(words).flatMap((message) => this.#deliver(message)),
    drop: (...words) => this.#take(words).map((message) => `lost ${describe(message)}`),
    settle: () => this.#settle(),
    compact: (id = "") => {
      this.#host(id).compact();
      return [];
    },
    crash: (id = "") => {
      const { disk } = this.#host(id);
      this.#down.set(id, disk);
      this.#hosts.delete(id);
      return [];
    },
    start: (id = "") => {
      this.#begin(id, this.#down.get(id) ?? emptyDisk(this.#voters));
      return [];
    },
    rot: (id = "") => {
      rot(this.#down.get(id) ?? emptyDisk(this.#voters), this.#voters);
      return [];
    },
    status: (id = "") => {
      const { role, term, leader, lastIndex, committedIndex, voters, others, isRecovering } =
        this.#host(id).raft.status;
      const known = others.map((other) => `${other.id}=${other.matchIndex}${other.isVoter ? "" : " (learner)"}`);
      return [
        `${id}: ${isRecovering ? "recovering " : ""}${role} of term ${term}, leader ${leader ?? "unknown"}, committed ${committedIndex} of ${lastIndex}, ` +
          `voters ${voters.join(" ")}${known.length === 0 ? "" : `; ${known.join(", ")}`}`,
      ];
    },
    log: (id = "") => {
      const { disk } = this.#host(id);
      const { snapshot, entries, hardState } = disk;
      const behind = snapshot.index === 0 ? "" : `snapshot ${snapshot.index}/${snapshot.term} · `;
      const texts = entries.map(({ index, term, ...entry }) => `${index}/${term}${textOf(entry as never)}`);
      return [
        `${id}: term ${hardState.term}, voted for ${hardState.votedFor ?? "nobody"} · ${behind}${texts.join(" ")}`,
      ];
    },
  };

  readonly #down = new Map<NodeId, ReturnType<typeof emptyDisk>>();

  #begin(id: NodeId, disk: ReturnType<typeof emptyDisk>): void {
    this.#hosts.set(id, new Host(id, disk, () => 0.5, this.#limits));
  }

  #host(id: NodeId): Host {
    const host = this.#hosts.get(id);
    if (host === undefined) throw new Error(`no node ${id}`);
    return host;
  }

  #work(id: NodeId): readonly string[] {
    const host = this.#host(id);
    const said: string[] = [];
    for (let ready = host.raft.ready(); ready !== null; ready = host.raft.ready()) {
      host.persist(ready);
      host.takeChunks(ready);
      this.#wire.push(...ready.messages);
      host.apply(ready);
      host.finish(ready);
      said.push(...describeReady(id, ready));
    }
    return said;
  }

  #take(words: readonly string[]): readonly Message[] {
    const wanted = words.map((word) => word.split("=")) as [keyof Message, string][];
    const isWanted = (message: Message): boolean => wanted.every(([key, value]) => `${message[key]}` === value);
    const taken = this.#wire.filter(isWanted);
    this.#wire = this.#wire.filter((message) => !isWanted(message));
    return taken;
  }

  #deliver(message: Message): readonly string[] {
    this.#hosts.get(message.to)?.raft.step(message);
    return [describe(message)];
  }

  #settle(): readonly string[] {
    const said: string[] = [];
    for (;;) {
      for (const id of this.#hosts.keys()) said.push(...this.#work(id));
      const messages = this.#take([]);
      if (messages.length === 0) return said;
      for (const message of messages) said.push(...this.#deliver(message));
    }
  }
}

function describeReady(id: NodeId, ready: Ready): readonly string[] {
  const { hardState, entries, chunks, committed, reads, events } = ready;
  const said: string[] = events.map((event) => `${id}: ${describeEvent(event)}`);
  if (hardState !== null) said.push(`${id}: writes term ${hardState.term}, vote ${hardState.votedFor ?? "none"}`);
  if (entries.length > 0)
    said.push(`${id}: writes ${entries.map((entry) => `${entry.index}/${entry.term}`).join(" ")}`);
  for (const { index, offset, data, isLast } of chunks) {
    said.push(`${id}: takes ${data.length} bytes at ${offset} of snapshot ${index}${isLast ? ", the last" : ""}`);
  }
  if (committed.length > 0)
    said.push(`${id}: applies ${committed.map((entry) => `${entry.index}${textOf(entry)}`).join(" ")}`);
  for (const { token, index } of reads)
    said.push(`${id}: read ${token} ${index === null ? "is not answered" : `may begin at ${index}`}`);
  return said;
}

function describeEvent(event: RaftEvent): string {
  switch (event.kind) {
    case "follows":
      return `follows ${event.leader ?? "nobody"} in term ${event.term}`;
    case "stands":
      return `${event.isPreVote ? "would stand" : "stands"} in term ${event.term}`;
    case "leads":
      return `leads in term ${event.term}`;
    case "resigns":
      return `resigns in term ${event.term}: ${event.reason}`;
    case "configuration":
      return `voters are ${event.voters.join(" ")} by ${event.index}`;
    case "forgetful":
      return `${event.node} had ${event.hadIndex}, and says that it has ${event.hasIndex}`;
    case "learner":
      return `learner ${event.node} ${event.isThere ? "has come" : "is gone"}`;
    case "recovered":
      return `has recovered, up to ${event.index}`;
  }
}

function textOf(entry: Ready["entries"][number]): string {
  if (entry.kind === "data") return `:${Buffer.from(entry.data).toString()}`;
  return entry.kind === "empty" ? ":-" : `:(${entry.configuration.voters.join(" ")})`;
}

function describe(message: Message): string {
  const { kind, from, to, term, ...rest } = message;
  const about = Object.entries(rest).map(([key, value]) => `${key}=${valueText(value)}`);
  return `${from} → ${to} ${kind} (${term})${about.length === 0 ? "" : ` ${about.join(" ")}`}`;
}

function valueText(value: unknown): string {
  if (Array.isArray(value))
    return `[${(value as Ready["entries"]).map((entry) => `${entry.index}/${entry.term}`).join(" ")}]`;
  if (typeof value !== "object" || value === null) return String(value);
  const { data, configuration: _configuration, ...rest } = value as Record<string, unknown>;
  const bytes = data instanceof Uint8Array ? { bytes: data.length } : {};
  return `{${Object.entries({ ...rest, ...bytes })
    .map(([key, each]) => `${key}=${String(each)}`)
    .join(" ")}}`;
}
