import { assert } from "@millrace/base/assert";
import type { Prng } from "@millrace/base/prng";
import { FileTree } from "./file-tree.ts";
import type { DirectoryNode, NodeId, TreeNode } from "./file-tree.ts";
import { forEachPage, PagedBytes } from "./paged-bytes.ts";

/**
 * What a disk does, in the order in which it was done. Nodes have numbers, since names change. `startedAt` is the
 * position in this order at which a sync was begun: it covers what was done before, and nothing that came while it ran.
 */
export type DiskEvent =
  | { readonly kind: "create"; readonly node: NodeId; readonly isDirectory: boolean; readonly at: NodePlace }
  | { readonly kind: "remove"; readonly node: NodeId; readonly at: NodePlace }
  | { readonly kind: "rename"; readonly node: NodeId; readonly from: NodePlace; readonly at: NodePlace }
  | { readonly kind: "write"; readonly node: NodeId; readonly position: number; readonly bytes: Uint8Array }
  | { readonly kind: "truncate"; readonly node: NodeId; readonly sizeBytes: number }
  | { readonly kind: "sync"; readonly node: NodeId; readonly startedAt: number }
  | { readonly kind: "sync-directory"; readonly node: NodeId; readonly startedAt: number };

export interface NodePlace {
  readonly directory: NodeId;
  readonly name: string;
}

type NameEvent = Extract<DiskEvent, { at: NodePlace }>;
type ContentEvent = Extract<DiskEvent, { kind: "write" | "truncate" }>;

/** What happened and is not yet durable. */
interface Pending<Event> {
  readonly event: Event;
  readonly position: number;
}

interface FileState {
  readonly durable: PagedBytes;
  pending: Pending<ContentEvent>[];
}

/**
 * What a loss of power may leave of a disk.
 *
 * - A file's bytes and size are durable when a sync that began after them has ended. Until then each 4 KiB page may be on
 *   the disk as it was after any of the writes that touched it, or before them all; pages do not wait for each other.
 * - The size is that of some moment since the last sync, whichever pages came: what never came reads as zeros.
 * - A cut is not undone by what follows it: once it is on the disk, older bytes beyond it are gone, and no byte that was
 *   written after it is there before it.
 * - A name that was created, renamed or removed is durable when a sync of its directory that began later has ended.
 *   Until then it may have happened or not. A renaming is whole: the file has the old name or the new one, never both or
 *   none. It is the sync of the new name's directory that makes it durable.
 * - What has no name is gone, with all that is below it.
 *
 * Sectors smaller than a page are not torn, and what is durable stays as it is, but for the bits that `rot` turns over.
 */
export class CrashModel {
  #position = 0;
  readonly #root: NodeId;
  readonly #files = new Map<NodeId, FileState>();
  /** The durable entries of each directory. */
  readonly #directories = new Map<NodeId, Map<string, NodeId>>();
  /** Where each node that has a durable name has it. */
  readonly #names = new Map<NodeId, NodePlace>();
  #pendingNames: Pending<NameEvent>[] = [];

  /** Everything in the tree counts as durable. */
  constructor(tree: FileTree) {
    this.#root = tree.root.id;
    this.#adopt(tree.root);
  }

  #adopt(node: TreeNode): void {
    if (node.kind === "file") {
      this.#files.set(node.id, { durable: node.content.copy(), pending: [] });
      return;
    }
    const entries = new Map<string, NodeId>();
    for (const [name, child] of node.entries) {
      entries.set(name, child.id);
      this.#names.set(child.id, { directory: node.id, name });
      this.#adopt(child);
    }
    this.#directories.set(node.id, entries);
  }

  /** How many events were applied. */
  get position(): number {
    return this.#position;
  }

  apply(event: DiskEvent): void {
    const position = this.#position++;
    switch (event.kind) {
      case "create":
        if (event.isDirectory) this.#directories.set(event.node, new Map());
        else this.#files.set(event.node, { durable: new PagedBytes(), pending: [] });
        this.#pendingNames.push({ event, position });
        break;
      case "remove":
      case "rename":
        this.#pendingNames.push({ event, position });
        break;
      case "write":
      case "truncate":
        this.#file(event.node).pending.push({ event, position });
        break;
      case "sync":
        this.#sync(this.#file(event.node), event.startedAt);
        break;
      case "sync-directory":
        this.#syncDirectory(event.node, event.startedAt);
        break;
    }
  }

  /** A bit of what is durable turns over. What was written there since and is not durable yet has its own. */
  rot(node: NodeId, bit: number): void {
    this.#file(node).durable.flipBit(bit);
  }

  #file(node: NodeId): FileState {
    const file = this.#files.get(node);
    assert(file !== undefined, "a file was created before it is used");
    return file;
  }

  #sync(file: FileState, startedAt: number): void {
    for (const { event, position } of file.pending) if (position < startedAt) applyContent(file.durable, event);
    file.pending = file.pending.filter(({ position }) => position >= startedAt);
  }

  #syncDirectory(directory: NodeId, startedAt: number): void {
    for (const covered of this.#pendingNames) {
      const isCovered = covered.position < startedAt && covered.event.at.directory === directory;
      if (!isCovered) continue;
      applyName(this.#directories, this.#names, covered.event);
      // What happened to this node before is settled by it, in whatever directory it was.
      this.#pendingNames = this.#pendingNames.filter(
        (other) => other.event.node !== covered.event.node || other.position > covered.position,
      );
    }
  }

  // --- Images --------------------------------------------------------------------------------------------------------

  /** What a loss of power at this moment leaves: the durable state, and of the rest what the generator picks; with luck 0 nothing. */
  image(prng: Prng, luck: number = prng.pick([0, 0.1, 0.5, 0.9, 1])): FileTree {
    const directories = new Map([...this.#directories].map(([id, entries]) => [id, new Map(entries)]));
    const names = new Map(this.#names);
    for (const { event } of survivors(this.#pendingNames, luck, prng)) applyName(directories, names, event);
    const tree = new FileTree();
    this.#build(tree, tree.root, this.#root, { directories, luck, prng });
    return tree;
  }

  #build(
    tree: FileTree,
    into: DirectoryNode,
    from: NodeId,
    image: { readonly directories: Map<NodeId, Map<string, NodeId>>; readonly luck: number; readonly prng: Prng },
  ): void {
    const entries = [...(image.directories.get(from) ?? [])].sort(([a], [b]) => (a < b ? -1 : 1));
    for (const [name, id] of entries) {
      const file = this.#files.get(id);
      if (file === undefined) {
        const directory = tree.newDirectory();
        into.entries.set(name, directory);
        this.#build(tree, directory, id, image);
      } else into.entries.set(name, tree.newFile(0, contentAfterCrash(file, image.luck, image.prng)));
    }
  }
}

function applyContent(content: PagedBytes, event: ContentEvent): void {
  if (event.kind === "write") content.write(event.bytes, event.position);
  else content.truncate(event.sizeBytes);
}

/** A node has one name: binding it anew takes the old one away. */
function applyName(
  directories: ReadonlyMap<NodeId, Map<string, NodeId>>,
  names: Map<NodeId, NodePlace>,
  { kind, node, at }: NameEvent,
): void {
  const old = names.get(node);
  if (old !== undefined) directories.get(old.directory)?.delete(old.name);
  names.delete(node);
  if (kind === "remove") return;
  const entries = directories.get(at.directory);
  assert(entries !== undefined, "a name is given in a directory");
  const replaced = entries.get(at.name);
  if (replaced !== undefined) names.delete(replaced);
  entries.set(at.name, node);
  names.set(node, at);
}

/** Some file systems keep the order of names in a journal, others do not: half of the images have it. */
function survivors<T>(pending: readonly T[], luck: number, prng: Prng): readonly T[] {
  if (prng.chance(0.5)) return pending.filter(() => prng.chance(luck));
  return pending.slice(0, luck === 0 ? 0 : luck === 1 ? pending.length : prng.between(0, pending.length));
}

function contentAfterCrash(file: FileState, luck: number, prng: Prng): PagedBytes {
  const content = file.durable.copy();
  if (file.pending.length === 0) return content;
  const cuts = file.pending.flatMap(({ event }, index) => (event.kind === "truncate" ? [index] : []));
  const cutsKept = prng.chance(luck) ? prng.between(0, cuts.length) : 0;
  const cutAt = cutsKept === 0 ? -1 : (cuts[cutsKept - 1] ?? -1);
  const events = file.pending.slice(0, cuts[cutsKept] ?? file.pending.length).map(({ event }) => event);

  const writesKept = keptWritesOfPages(events, luck, prng);
  const sizes: number[] = [content.sizeBytes];
  for (const event of events) {
    const before = sizes.at(-1) ?? 0;
    if (event.kind === "truncate") {
      content.truncate(event.sizeBytes);
      sizes.push(event.sizeBytes);
      continue;
    }
    sizes.push(Math.max(before, event.bytes.length === 0 ? 0 : event.position + event.bytes.length));
    forEachPage(event.position, event.bytes.length, ({ page, from, length }) => {
      const left = writesKept.get(page) ?? 0;
      if (left === 0) return;
      writesKept.set(page, left - 1);
      content.write(event.bytes.subarray(from, from + length), event.position + from);
    });
  }
  // sizes[k + 1] is the size after events[k]; a cut that is on the disk leaves none from before it.
  const sizeIndex = prng.chance(luck) ? prng.between(cutAt + 1, sizes.length - 1) : cutAt + 1;
  content.truncate(sizes[sizeIndex] ?? content.sizeBytes);
  return content;
}

/** Of the writes that touched a page, how many of the first ones are on the disk. */
function keptWritesOfPages(events: readonly ContentEvent[], luck: number, prng: Prng): Map<number, number> {
  const writes = new Map<number, number>();
  for (const event of events) {
    if (event.kind !== "write") continue;
    forEachPage(event.position, event.bytes.length, ({ page }) => writes.set(page, (writes.get(page) ?? 0) + 1));
  }
  for (const [page, count] of writes) {
    const isLast = prng.chance(luck);
    writes.set(page, !prng.chance(luck) ? 0 : isLast ? count : prng.between(1, count));
  }
  return writes;
}
