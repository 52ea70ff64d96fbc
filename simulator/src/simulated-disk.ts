import { assert } from "@millrace/base/assert";
import type { Prng } from "@millrace/base/prng";
import { GiB } from "@millrace/base/units";
import { DiskError } from "@millrace/base/world";
import type { Clock, DirectoryEntry, Disk, DiskFile, DiskLock, OpenMode } from "@millrace/base/world";
import { CrashModel } from "./crash-model.ts";
import type { DiskEvent, NodePlace } from "./crash-model.ts";
import { FileTree, namesOf } from "./file-tree.ts";
import type { DirectoryNode, FileNode, Place } from "./file-tree.ts";

export interface SimulatedDiskOptions {
  /** Stamps the time of modification; without it every file is of 1970. */
  readonly clock?: Pick<Clock, "now">;
}

/** Bits are counted from the file's beginning, the lowest of a byte first. */
export interface RottenBit {
  readonly path: string;
  readonly bit: number;
}

/**
 * A disk in memory. Each call takes effect at once and answers in a microtask, so that two runs are alike.
 *
 * Beside what a program sees it keeps what would be left without power: see CrashModel for the faults. `afterPowerLoss`
 * gives a new disk with that, `afterProcessDeath` one with everything that was written (the page cache outlives a
 * process). The old disk stays as it is, unless it is switched off. `flipBit` and `rot` spoil what lies at rest.
 */
export class SimulatedDisk implements Disk {
  readonly #tree: FileTree;
  readonly #model: CrashModel;
  readonly #clock: Pick<Clock, "now"> | null;
  readonly #locks = new Set<string>();
  #isOff = false;

  constructor(options: SimulatedDiskOptions = {}, tree: FileTree = new FileTree()) {
    this.#clock = options.clock ?? null;
    this.#tree = tree;
    this.#model = new CrashModel(tree);
  }

  /** The durable state, and of the rest what the generator picks. */
  afterPowerLoss(prng: Prng, options: SimulatedDiskOptions = this.#options()): SimulatedDisk {
    return new SimulatedDisk(options, this.#model.image(prng));
  }

  /** The durable state, and nothing else. */
  afterWorstPowerLoss(prng: Prng): SimulatedDisk {
    return new SimulatedDisk(this.#options(), this.#model.image(prng, 0));
  }

  afterProcessDeath(options: SimulatedDiskOptions = this.#options()): SimulatedDisk {
    const tree = new FileTree();
    copyEntries(this.#tree, tree);
    return new SimulatedDisk(options, tree);
  }

  /** From now on every call fails: whoever still holds this disk belongs to a machine that is dead. */
  switchOff(): void {
    this.#isOff = true;
  }

  // --- Bit rot -------------------------------------------------------------------------------------------------------

  /** A bit of a file at rest turns over, and nobody is told: whoever reads it next gets it so. */
  flipBit({ path, bit }: RottenBit): void {
    const found = this.#tree.find(path);
    assert(found?.kind === "file", () => `there is no file ${path}`);
    assert(bit < found.content.sizeBytes * 8, () => `${path} has no bit ${bit}`);
    found.content.flipBit(bit);
    this.#model.rot(found.id, bit);
  }

  /** The same somewhere below a directory. Each file is as likely as any other, however small. Null where none has a byte. */
  rot(root: string, prng: Prng, matches: (path: string) => boolean = () => true): RottenBit | null {
    const files = filesBelow(this.#tree.directory(root, "rot"), root).filter(
      ({ path, node }) => node.content.sizeBytes > 0 && matches(path),
    );
    if (files.length === 0) return null;
    const { path, node } = prng.pick(files);
    const rotten = { path, bit: prng.between(0, node.content.sizeBytes * 8 - 1) };
    this.flipBit(rotten);
    return rotten;
  }

  #options(): SimulatedDiskOptions {
    return this.#clock === null ? {} : { clock: this.#clock };
  }

  async open(path: string, mode: OpenMode): Promise<SimulatedFile> {
    this.checkPower(path, "open");
    const found = this.#tree.find(path);
    if (found?.kind === "directory") throw new DiskError("EISDIR", path, "open");
    if (found !== null) return new SimulatedFile(path, found, this, mode);
    if (mode === "read" || mode === "write") throw new DiskError(this.#whyMissing(path), path, "open");
    return new SimulatedFile(path, this.#createFile(path, "open"), this, mode);
  }

  #createFile(path: string, operation: string): FileNode {
    const place = this.#tree.place(path, operation);
    const file = this.#tree.newFile(this.nowMs());
    place.directory.entries.set(place.name, file);
    this.record({ kind: "create", node: file.id, isDirectory: false, at: nodePlace(place) });
    return file;
  }

  /** A path through a file is another failure than a missing name. */
  #whyMissing(path: string): "ENOENT" | "ENOTDIR" {
    const slash = path.lastIndexOf("/");
    if (slash <= 0) return "ENOENT";
    const parent = path.slice(0, slash);
    const found = this.#tree.find(parent);
    if (found === null) return this.#whyMissing(parent);
    return found.kind === "directory" ? "ENOENT" : "ENOTDIR";
  }

  async makeDirectory(path: string): Promise<void> {
    this.checkPower(path, "make directory");
    const names = namesOf(path);
    for (const [index, name] of names.entries()) {
      const made = `/${names.slice(0, index + 1).join("/")}`;
      const found = this.#tree.find(made);
      if (found?.kind === "directory") continue;
      const isLast = index === names.length - 1;
      if (found !== null) throw new DiskError(isLast ? "EEXIST" : "ENOTDIR", path, "make directory");
      const { directory } = this.#tree.place(made, "make directory");
      const created = this.#tree.newDirectory(this.nowMs());
      directory.entries.set(name, created);
      this.record({ kind: "create", node: created.id, isDirectory: true, at: { directory: directory.id, name } });
    }
  }

  async list(path: string): Promise<DirectoryEntry[]> {
    this.checkPower(path, "list");
    const { entries } = this.#tree.directory(path, "list");
    return [...entries].map(([name, { kind }]) => ({ name, kind }));
  }

  async stat(path: string): ReturnType<Disk["stat"]> {
    this.checkPower(path, "look at");
    const found = this.#tree.find(path);
    if (found === null) {
      if (this.#whyMissing(path) === "ENOTDIR") throw new DiskError("ENOTDIR", path, "look at");
      return null;
    }
    const sizeBytes = found.kind === "file" ? found.content.sizeBytes : 0;
    return { kind: found.kind, sizeBytes, modifiedMs: found.modifiedMs };
  }

  async readFile(path: string): Promise<Buffer> {
    this.checkPower(path, "read");
    const found = this.#tree.find(path);
    if (found === null) throw new DiskError(this.#whyMissing(path), path, "read");
    if (found.kind === "directory") throw new DiskError("EISDIR", path, "read");
    return found.content.toBuffer();
  }

  async writeFile(path: string, bytes: Uint8Array): Promise<void> {
    const file = await this.open(path, "create");
    file.truncateNow(0);
    file.writeNow(bytes, 0);
    await file.close();
  }

  async copyFile(from: string, to: string): Promise<void> {
    const bytes = await this.readFile(from);
    if ((await this.stat(to)) !== null) throw new DiskError("EEXIST", from, `copy to ${to}:`);
    await this.writeFile(to, bytes);
  }

  async rename(from: string, to: string): Promise<void> {
    this.checkPower(from, "rename");
    const source = this.#tree.place(from, "rename");
    const node = source.directory.entries.get(source.name);
    if (node === undefined) throw new DiskError("ENOENT", from, `rename to ${to}:`);
    const target = this.#tree.place(to, `rename from ${from} to`);
    const replaced = target.directory.entries.get(target.name);
    if (replaced === node) return;
    if (replaced?.kind === "directory" && node.kind === "file") throw new DiskError("EISDIR", from, `rename to ${to}:`);
    if (replaced?.kind === "file" && node.kind === "directory")
      throw new DiskError("ENOTDIR", from, `rename to ${to}:`);
    if (replaced?.kind === "directory" && replaced.entries.size > 0) {
      throw new DiskError("ENOTEMPTY", from, `rename to ${to}:`);
    }
    source.directory.entries.delete(source.name);
    target.directory.entries.set(target.name, node);
    this.record({ kind: "rename", node: node.id, from: nodePlace(source), at: nodePlace(target) });
  }

  async removeFile(path: string): Promise<void> {
    this.checkPower(path, "remove");
    const found = this.#tree.find(path);
    if (found === null) return;
    if (found.kind === "directory") throw new DiskError("EISDIR", path, "remove");
    this.#remove(this.#tree.place(path, "remove"));
  }

  async removeDirectory(path: string): Promise<void> {
    this.checkPower(path, "remove directory");
    if (this.#tree.find(path) === null) return;
    this.#remove(this.#tree.place(path, "remove directory"));
  }

  #remove({ directory, name }: Place): void {
    const node = directory.entries.get(name);
    assert(node !== undefined, "what is removed was found");
    if (node.kind === "directory") {
      for (const child of node.entries.keys()) this.#remove({ directory: node, name: child });
    }
    directory.entries.delete(name);
    this.record({ kind: "remove", node: node.id, at: nodePlace({ directory, name }) });
  }

  async syncDirectory(path: string, startedAt: number = this.#model.position): Promise<void> {
    this.checkPower(path, "sync directory");
    const { id } = this.#tree.directory(path, "sync directory");
    this.record({ kind: "sync-directory", node: id, startedAt });
  }

  async syncFiles(files: readonly DiskFile[]): Promise<void> {
    await Promise.all(files.map((file) => file.sync()));
  }

  async lock(path: string): Promise<DiskLock | null> {
    this.checkPower(path, "lock");
    if (this.#locks.has(path)) return null;
    if (this.#tree.find(path) === null) this.#createFile(path, "lock");
    this.#locks.add(path);
    let isHeld = true;
    return {
      release: async () => {
        if (isHeld) this.#locks.delete(path);
        isHeld = false;
      },
    };
  }

  async space(path: string): ReturnType<Disk["space"]> {
    this.checkPower(path, "ask the space of");
    if (this.#tree.find(path) === null) throw new DiskError("ENOENT", path, "ask the space of");
    return { totalBytes: 1024 * GiB, usableBytes: 512 * GiB };
  }

  // --- For its files -------------------------------------------------------------------------------------------------

  checkPower(path: string, operation: string): void {
    if (this.#isOff) throw new DiskError("EIO", path, operation, new Error("the simulated machine has no power"));
  }

  record(event: DiskEvent): void {
    this.#model.apply(event);
  }

  get position(): number {
    return this.#model.position;
  }

  nowMs(): number {
    return this.#clock?.now() ?? 0;
  }
}

export class SimulatedFile implements DiskFile {
  readonly path: string;
  readonly #node: FileNode;
  readonly #disk: SimulatedDisk;
  readonly #mode: OpenMode;
  #isOpen = true;

  constructor(path: string, node: FileNode, disk: SimulatedDisk, mode: OpenMode) {
    this.path = path;
    this.#node = node;
    this.#disk = disk;
    this.#mode = mode;
  }

  async sizeBytes(): Promise<number> {
    this.#check("measure");
    return this.#node.content.sizeBytes;
  }

  async write(buffers: readonly Uint8Array[], position: number): Promise<void> {
    this.#check("write");
    let next = position;
    for (const bytes of buffers) {
      this.writeNow(bytes, next);
      next += bytes.length;
    }
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    return this.readNow(into, position);
  }

  readNow(into: Uint8Array, position: number): number {
    this.#check("read");
    return this.#node.content.read(into, position);
  }

  writeNow(bytes: Uint8Array, position: number, zeroBytes = 0): void {
    if (zeroBytes > 0) return this.writeNow(Buffer.concat([bytes, Buffer.alloc(zeroBytes)]), position);
    this.#checkWritable("write");
    this.#node.content.write(bytes, position);
    this.#node.modifiedMs = this.#disk.nowMs();
    this.#disk.record({ kind: "write", node: this.#node.id, position, bytes: Uint8Array.from(bytes) });
    if (this.#mode === "durable") this.#recordSync();
  }

  async truncate(sizeBytes: number): Promise<void> {
    this.truncateNow(sizeBytes);
  }

  truncateNow(sizeBytes: number): void {
    this.#checkWritable("truncate");
    this.#node.content.truncate(sizeBytes);
    this.#node.modifiedMs = this.#disk.nowMs();
    this.#disk.record({ kind: "truncate", node: this.#node.id, sizeBytes });
  }

  /** Whether it comes to anything is the crash model's to choose. */
  startWriteback(): void {}

  /** @param startedAt is the disk's position when it was asked for: what came later it does not cover. */
  async sync(startedAt: number = this.#disk.position): Promise<void> {
    this.#check("sync");
    this.#recordSync(startedAt);
  }

  #recordSync(startedAt: number = this.#disk.position): void {
    this.#disk.record({ kind: "sync", node: this.#node.id, startedAt });
  }

  async close(): Promise<void> {
    this.#isOpen = false;
  }

  #check(operation: string): void {
    this.#disk.checkPower(this.path, operation);
    if (!this.#isOpen) throw new DiskError("EBADF", this.path, `${operation} closed file`);
  }

  #checkWritable(operation: string): void {
    this.#check(operation);
    if (this.#mode === "read") throw new DiskError("EBADF", this.path, `${operation} file that was opened for reading`);
  }
}

function nodePlace({ directory, name }: Place): NodePlace {
  return { directory: directory.id, name };
}

function copyEntries(from: FileTree, to: FileTree): void {
  const copy = (source: FileTree["root"], target: FileTree["root"]): void => {
    for (const [name, node] of source.entries) {
      if (node.kind === "file") target.entries.set(name, to.newFile(node.modifiedMs, node.content.copy()));
      else {
        const directory = to.newDirectory(node.modifiedMs);
        target.entries.set(name, directory);
        copy(node, directory);
      }
    }
  };
  copy(from.root, to.root);
}

function filesBelow(directory: DirectoryNode, path: string): { readonly path: string; readonly node: FileNode }[] {
  return [...directory.entries]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([name, node]) =>
      node.kind === "file" ? [{ path: `${path}/${name}`, node }] : filesBelow(node, `${path}/${name}`),
    );
}
