import { Raft } from "raft-ts-lite";
import type {
  Configuration,
  Entry,
  HardState,
  Limits,
  Message,
  NodeId,
  RaftEvent,
  Read,
  Ready,
  SnapshotChunk,
  SnapshotPoint,
} from "raft-ts-lite";

/** What a machine that lost its power still has. */
export interface Disk {
  hardState: HardState;
  snapshot: SnapshotPoint & { readonly state: readonly string[] };
  entries: Entry[];
  /** Entries were lost, and are not all here again. */
  isRecovering: boolean;
}

export function emptyDisk(voters: readonly NodeId[]): Disk {
  const configuration: Configuration = { voters };
  return {
    hardState: { term: 0, votedFor: null },
    snapshot: { index: 0, term: 0, configuration, state: [] },
    entries: [],
    isRecovering: false,
  };
}

/** A disk on which the snapshot or an entry has rotted: term and vote are whole, and all else is to come again. */
export function rot(disk: Disk, voters: readonly NodeId[]): void {
  const { hardState } = disk;
  Object.assign(disk, emptyDisk(voters), { hardState, isRecovering: true });
}

/**
 * A host as the four steps of `Ready` want it, with a disk that is an object and a state that is a list of texts. Work may be left
 * in the middle, as a machine does that loses its power.
 */
export class Host {
  readonly id: NodeId;
  readonly disk: Disk;
  readonly raft: Raft;
  state: string[];
  appliedIndex: number;
  readonly events: RaftEvent[] = [];
  readonly reads: Read[] = [];
  /** Of a snapshot that comes. */
  #incoming: Buffer = Buffer.alloc(0);
  /** A snapshot that this refuses is one whose bytes are bad. */
  isIntact: (bytes: Buffer) => boolean = () => true;

  constructor(id: NodeId, disk: Disk, random: () => number, limits: Partial<Limits> = {}) {
    this.id = id;
    this.disk = disk;
    this.state = [...disk.snapshot.state];
    this.appliedIndex = disk.snapshot.index;
    const { index, term, configuration } = disk.snapshot;
    this.raft = new Raft({
      id,
      hardState: disk.hardState,
      snapshot: { index, term, configuration },
      entries: disk.entries,
      random,
      isRecovering: disk.isRecovering,
      limits,
    });
  }

  /** Step 1 of Ready. */
  persist({ hardState, entries }: Ready): void {
    if (hardState !== null) this.disk.hardState = hardState;
    const [first] = entries;
    if (first === undefined) return;
    this.disk.entries = [...this.disk.entries.filter(({ index }) => index < first.index), ...entries];
  }

  /** Step 2. */
  takeChunks({ chunks }: Ready): void {
    for (const chunk of chunks) this.#takeChunk(chunk);
  }

  #takeChunk(chunk: SnapshotChunk): void {
    const { offset, data, isLast, index, term, configuration } = chunk;
    this.#incoming = Buffer.concat([this.#incoming.subarray(0, offset), data]);
    if (!isLast) {
      this.raft.took(chunk, "written");
      return;
    }
    const bytes = this.#incoming;
    this.#incoming = Buffer.alloc(0);
    if (!this.isIntact(bytes)) {
      this.raft.took(chunk, "refused");
      return;
    }
    this.state = JSON.parse(bytes.toString()) as string[];
    this.appliedIndex = index;
    this.disk.snapshot = { index, term, configuration, state: [...this.state] };
    const isPrefix = this.disk.entries.some((entry) => entry.index === index && entry.term === term);
    this.disk.entries = isPrefix ? this.disk.entries.filter((entry) => entry.index > index) : [];
    this.raft.took(chunk, "installed");
  }

  /** Step 4. */
  apply({ committed }: Ready): void {
    for (const entry of committed) {
      if (entry.index !== this.appliedIndex + 1) {
        throw new Error(`${this.id} is to apply ${entry.index} after ${this.appliedIndex}`);
      }
      this.appliedIndex = entry.index;
      if (entry.kind === "data") this.state.push(Buffer.from(entry.data).toString());
    }
  }

  /** Step 5. */
  finish({ chunkRequests, reads, events }: Ready): void {
    this.events.push(...events);
    if (events.some(({ kind }) => kind === "recovered")) this.disk.isRecovering = false;
    this.reads.push(...reads);
    for (const { to, index, offset, bytesMax } of chunkRequests) {
      const { snapshot } = this.disk;
      const bytes = Buffer.from(JSON.stringify(snapshot.state));
      const begin = snapshot.index === index ? offset : 0;
      const data = bytes.subarray(begin, begin + bytesMax);
      this.raft.provideChunk(to, {
        index: snapshot.index,
        term: snapshot.term,
        configuration: snapshot.configuration,
        offset: begin,
        data,
        isLast: begin + data.length === bytes.length,
      });
    }
    this.raft.advance();
  }

  /** All steps at once, and what is to be sent. */
  work(): Message[] {
    const messages: Message[] = [];
    for (let ready = this.raft.ready(); ready !== null; ready = this.raft.ready()) {
      this.persist(ready);
      this.takeChunks(ready);
      messages.push(...ready.messages);
      this.apply(ready);
      this.finish(ready);
    }
    return messages;
  }

  /** Snapshots the state as it is, and drops what it stands for. */
  compact(): void {
    if (this.appliedIndex <= this.disk.snapshot.index) return;
    const point = this.raft.compact(this.appliedIndex);
    this.disk.snapshot = { ...point, state: [...this.state] };
    this.disk.entries = this.disk.entries.filter(({ index }) => index > point.index);
  }
}
