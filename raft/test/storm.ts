import { Dice } from "./dice.ts";
import type { Entry, Limits, Message, NodeId, Ready } from "raft-ts-lite";
import { emptyDisk, Host, rot } from "./node.ts";

/** What may go wrong, drawn from the seed: not everything goes wrong in every storm. */
interface Weather {
  readonly voters: number;
  readonly learners: number;
  readonly loss: number;
  readonly duplicates: number;
  /** How likely a message waits when another leaves. */
  readonly disorder: number;
  readonly crash: number;
  /** How soon one that has crashed comes back. */
  readonly restart: number;
  /** How often it changes who hears whom. */
  readonly cut: number;
  /** How much time goes by between events. */
  readonly pace: number;
  readonly changes: number;
  readonly compactions: number;
  readonly transfers: number;
  readonly badSnapshots: number;
  readonly slowDisk: number;
  readonly proposals: number;
  /** How often a disk has rotted when its machine comes back. */
  readonly rot: number;
  readonly limits: Partial<Limits>;
}

function weatherOf(dice: Dice): Weather {
  const some = (most: number): number => (dice.chance(0.5) ? dice.fraction() * most : 0);
  return {
    voters: [1, 2, 3, 3, 3, 5, 5, 7][dice.between(0, 7)] as number,
    learners: dice.between(0, 2),
    loss: some(0.3),
    duplicates: some(0.2),
    disorder: some(0.7),
    crash: some(0.02),
    restart: 0.02 + dice.fraction() * 0.3,
    cut: some(0.05),
    pace: 0.1 + dice.fraction() * 0.6,
    changes: some(0.02),
    compactions: some(0.05),
    transfers: some(0.01),
    badSnapshots: some(0.5),
    slowDisk: some(0.8),
    proposals: 0.02 + dice.fraction() * 0.3,
    limits: {
      electionTicks: dice.between(3, 20),
      messageBytesMax: [1, 100, 10_000][dice.between(0, 2)] as number,
      inFlightMax: dice.between(1, 20),
      chunkBytesMax: dice.between(1, 500),
      uncommittedBytesMax: [200, 10_000][dice.between(0, 1)] as number,
    },
    rot: some(0.3),
  };
}

interface Machine {
  readonly id: NodeId;
  host: Host | null;
  readonly disk: ReturnType<typeof emptyDisk>;
  /** Work that was begun, and how far it has come. */
  out: { readonly ready: Ready; step: number } | null;
}

/**
 * A cluster in bad weather: messages are lost, doubled and overtaken, machines lose their power in the middle of any step, are cut
 * off, and are added and removed. After each event the promises of figure 3 of the paper are looked at. In the end the weather is
 * good, and all must come to the same state.
 */
export class Storm {
  readonly seed: number;
  readonly weather: Weather;
  readonly #dice: Dice;
  readonly #machines = new Map<NodeId, Machine>();
  #wire: Message[] = [];
  /** "a b": what a sends does not come to b. */
  readonly #cut = new Set<string>();
  #steps = 0;
  #proposed = 0;
  #token = 0;
  /** Of each term, who led. */
  readonly #leaders = new Map<number, NodeId>();
  /** What is committed, wherever that was seen first. */
  readonly #committed: Entry[] = [];
  /** Reads under way: what they must see. */
  readonly #reads = new Map<number, { readonly by: NodeId; readonly atLeast: number }>();
  readonly #firstVoters: readonly NodeId[];
  readsCount = 0;
  electionsCount = 0;
  snapshotsCount = 0;
  recoveriesCount = 0;

  constructor(seed: number) {
    this.seed = seed;
    this.#dice = new Dice(seed);
    this.weather = weatherOf(this.#dice);
    this.#firstVoters = Array.from({ length: this.weather.voters }, (_, index) => `v${index + 1}`);
    const learners = Array.from({ length: this.weather.learners }, (_, index) => `l${index + 1}`);
    for (const id of [...this.#firstVoters, ...learners]) {
      this.#machines.set(id, { id, host: null, disk: emptyDisk(this.#firstVoters), out: null });
    }
    for (const machine of this.#machines.values()) this.#start(machine);
  }

  get steps(): number {
    return this.#steps;
  }
  get committedCount(): number {
    return this.#committed.length;
  }

  /** So many events. */
  run(steps: number): void {
    for (const end = this.#steps + steps; this.#steps < end; this.#steps++) this.#step();
  }

  #start(machine: Machine): void {
    machine.host = new Host(machine.id, machine.disk, () => this.#dice.fraction(), this.weather.limits);
    machine.host.isIntact = () => !this.#dice.chance(this.weather.badSnapshots);
    machine.out = null;
  }

  #any<Item>(items: readonly Item[]): Item | undefined {
    return items[this.#dice.between(0, Math.max(0, items.length - 1))];
  }

  #step(): void {
    const { weather } = this;
    const dice = this.#dice;
    const machine = this.#any([...this.#machines.values()]) as Machine;
    if (dice.chance(weather.crash)) this.#crash(machine);
    if (dice.chance(weather.cut)) this.#cutAnew();
    if (machine.host === null) {
      if (!dice.chance(weather.restart)) return;
      if (dice.chance(weather.rot)) this.#rot(machine);
      this.#start(machine);
      return;
    }
    if (dice.chance(weather.proposals)) this.#propose(machine.host);
    if (dice.chance(weather.changes)) this.#change(machine.host);
    if (dice.chance(weather.transfers)) machine.host.raft.transferTo(this.#any(machine.host.raft.status.voters) ?? "");
    if (dice.chance(weather.compactions) && machine.out === null) this.#compact(machine.host);
    if (dice.chance(0.02)) this.#read(machine.host);
    if (dice.chance(0.01)) machine.host.raft.miss(machine.host.raft.status.leader ?? "");
    if (dice.chance(weather.pace)) machine.host.raft.tick();
    this.#deliverTo(machine);
    this.#work(machine);
    this.#look(machine);
  }

  /** Nobody is cut off; or two halves are from each other; or one does not hear another. */
  #cutAnew(): void {
    const dice = this.#dice;
    const ids = [...this.#machines.keys()];
    const how = dice.between(0, 3);
    if (how !== 3) this.#cut.clear();
    if (how === 3) this.#cut.add(`${this.#any(ids)} ${this.#any(ids)}`);
    if (how === 0) return;
    const half = new Set(ids.filter(() => dice.chance(how === 1 ? 0.5 : 0.25)));
    for (const a of ids) for (const b of ids) if (half.has(a) !== half.has(b)) this.#cut.add(`${a} ${b}`);
  }

  #crash(machine: Machine): void {
    if (machine.host === null) return;
    machine.host = null;
    machine.out = null;
    for (const [token, { by }] of this.#reads) if (by === machine.id) this.#reads.delete(token);
  }

  #propose({ raft }: Host): void {
    if (typeof raft.propose([Buffer.from(`p${this.#proposed}`)]) === "number") this.#proposed++;
  }

  #change({ raft }: Host): void {
    const node = this.#any([...this.#machines.keys()]) as NodeId;
    // With one vote less those that have no say could be needed.
    if (this.#isAnyRecovering) return;
    raft.change({ kind: this.#dice.chance(0.5) ? "add" : "remove", node });
  }

  get #isAnyRecovering(): boolean {
    return [...this.#machines.values()].some(({ disk }) => disk.isRecovering);
  }

  /** One machine at a time, and where the others are a majority without it: else nobody could ever be elected. */
  #rot({ disk }: Machine): void {
    const all = [...this.#machines.values()].map((each) => votersOn(each.disk));
    const [voters = []] = all;
    const areAgreed = all.every((each) => each.join() === voters.join());
    if (this.#isAnyRecovering || !areAgreed || voters.length < 3) return;
    rot(disk, voters);
  }

  #compact(host: Host): void {
    const before = host.disk.snapshot.index;
    host.compact();
    if (host.disk.snapshot.index > before) this.snapshotsCount++;
  }

  #read({ id, raft }: Host): void {
    const token = this.#token++;
    this.#reads.set(token, { by: id, atLeast: this.#committed.length });
    raft.read(token);
  }

  #deliverTo(machine: Machine): void {
    const { host } = machine;
    const left: Message[] = [];
    for (const message of this.#wire) {
      if (message.to !== machine.id || this.#dice.chance(this.weather.disorder)) {
        left.push(message);
        continue;
      }
      if (this.#cut.has(`${message.from} ${message.to}`)) continue;
      if (this.#dice.chance(this.weather.loss)) continue;
      if (this.#dice.chance(this.weather.duplicates)) left.push(message);
      host?.raft.step(message);
    }
    this.#wire = left.slice(-wireMax);
  }

  /** A slow disk is in the middle of something while messages come. */
  #work(machine: Machine): void {
    const host = machine.host as Host;
    for (;;) {
      if (machine.out === null) {
        const ready = host.raft.ready();
        if (ready === null) return;
        machine.out = { ready, step: 0 };
      }
      const { ready } = machine.out;
      const steps = [
        (): void => host.persist(ready),
        (): void => host.takeChunks(ready),
        (): void => void this.#wire.push(...ready.messages),
        (): void => this.#apply(host, ready),
        (): void => host.finish(ready),
      ];
      while (machine.out.step < steps.length) {
        if (this.#dice.chance(this.weather.slowDisk)) return;
        steps[machine.out.step++]?.();
      }
      machine.out = null;
      this.#answerReads(host);
    }
  }

  #apply(host: Host, ready: Ready): void {
    for (const entry of ready.committed) {
      const known = this.#committed[entry.index - 1];
      if (known === undefined) {
        this.#expect(
          entry.index === this.#committed.length + 1,
          `${host.id} commits ${entry.index} before those before it`,
        );
        this.#committed.push(entry);
      } else
        this.#expect(isSame(known, entry), `state machine safety: ${host.id} applies another entry ${entry.index}`);
    }
    host.apply(ready);
  }

  #answerReads(host: Host): void {
    for (const { token, index } of host.reads.splice(0)) {
      const read = this.#reads.get(token);
      if (read === undefined) continue;
      this.#reads.delete(token);
      if (index === null) continue;
      this.readsCount++;
      this.#expect(
        index >= read.atLeast,
        `a read at ${host.id} may begin at ${index}, and ${read.atLeast} was committed before`,
      );
    }
  }

  /** The promises of figure 3. */
  #look({ host, id }: Machine): void {
    if (host === null) return;
    const { role, isRecovering } = host.raft.status;
    this.#expect(
      !isRecovering || role === "follower" || role === "learner",
      `${id} has lost entries, and is a ${role}`,
    );
    for (const event of host.events.splice(0)) {
      if (event.kind === "leads") {
        this.electionsCount++;
        const other = this.#leaders.get(event.term);
        this.#expect(
          other === undefined || other === id,
          `election safety: ${id} and ${other} lead in term ${event.term}`,
        );
        this.#leaders.set(event.term, id);
        const { lastIndex } = host.raft.status;
        // Of what was committed in earlier terms nothing is missing, and nothing is another.
        const before = this.#committedBefore(event.term);
        this.#expect(
          lastIndex >= before,
          `leader completeness: ${id} of term ${event.term} ends at ${lastIndex}, not ${before}`,
        );
        for (const entry of host.disk.entries) {
          const known = entry.index <= before ? this.#committed[entry.index - 1] : undefined;
          this.#expect(
            known === undefined || isSame(known, entry),
            `leader completeness: ${id} has another ${entry.index}`,
          );
        }
      }
      if (event.kind === "recovered") this.recoveriesCount++;
      this.#expect(event.kind !== "forgetful", `${id} says that somebody forgot something`);
    }
  }

  #committedBefore(term: number): number {
    return this.#committed.findLastIndex((entry) => entry.term < term) + 1;
  }

  /** Good weather: everybody is there and hears everybody, and in the end all have the same. */
  calm(): void {
    const quiet = {
      pace: 0.2,
      loss: 0,
      duplicates: 0,
      disorder: 0,
      crash: 0,
      cut: 0,
      changes: 0,
      compactions: 0,
      transfers: 0,
      rot: 0,
    };
    Object.assign(this.weather, { ...quiet, badSnapshots: 0, slowDisk: 0, proposals: 0 });
    this.#cut.clear();
    for (const machine of this.#machines.values()) {
      if (machine.host === null) this.#start(machine);
    }
    const ends = this.#steps + calmStepsMax;
    let wanted: string | null = null;
    for (; this.#steps < ends; this.#steps++) {
      this.#step();
      if (this.#steps % 100 !== 0) continue;
      wanted ??= this.#proposeLast();
      if (wanted !== null && this.#isEverywhere(wanted)) return;
      // What was proposed to somebody who then led no more may be gone.
      if (this.#steps % 5_000 === 0) wanted = null;
    }
    const told = Array.from(this.#machines.values(), ({ id, host }) => {
      const { role, term, leader, lastIndex, committedIndex, voters } = host?.raft.status ?? ({} as never);
      return `${id} ${role} of ${term} follows ${leader}, ${committedIndex} of ${lastIndex}, voters ${voters.join(" ")}`;
    });
    this.#expect(false, `in good weather they do not come to an end: ${told.join("; ")}`);
  }

  #proposeLast(): string | null {
    const text = `last${this.#steps}`;
    for (const { host } of this.#machines.values()) {
      if (typeof host?.raft.propose([Buffer.from(text)]) === "number") return text;
    }
    return null;
  }

  #isEverywhere(text: string): boolean {
    const voters = new Set([...this.#machines.values()].flatMap(({ host }) => host?.raft.status.voters ?? []));
    const states = [...this.#machines.values()].map(({ host }) => host?.state ?? []);
    const all = states.map((state) => state.join(" "));
    return voters.size > 0 && states.every((state) => state.at(-1) === text) && all.every((each) => each === all[0]);
  }

  #expect(isTrue: boolean, sentence: string): void {
    if (isTrue) return;
    throw new Error(
      `${sentence} (step ${this.#steps}, weather ${JSON.stringify(this.weather)}); again: RAFT_SEED=${this.seed} RAFT_STEPS=1 npx vitest run --project raft storm`,
    );
  }
}

function votersOn({ snapshot, entries }: Machine["disk"]): readonly NodeId[] {
  const last = entries.findLast((entry) => entry.kind === "configuration");
  return last?.kind === "configuration" ? last.configuration.voters : snapshot.configuration.voters;
}

const wireMax = 2_000;
const calmStepsMax = 200_000;

function isSame(a: Entry, b: Entry): boolean {
  if (a.term !== b.term || a.kind !== b.kind) return false;
  if (a.kind === "data" && b.kind === "data") return Buffer.compare(a.data, b.data) === 0;
  if (a.kind === "configuration" && b.kind === "configuration") {
    return a.configuration.voters.join() === b.configuration.voters.join();
  }
  return true;
}
