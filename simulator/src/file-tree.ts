import { DiskError } from "@millrace/base/world";
import { PagedBytes } from "./paged-bytes.ts";

export type NodeId = number;

export interface FileNode {
  readonly kind: "file";
  readonly id: NodeId;
  readonly content: PagedBytes;
  modifiedMs: number;
}

export interface DirectoryNode {
  readonly kind: "directory";
  readonly id: NodeId;
  readonly entries: Map<string, TreeNode>;
  modifiedMs: number;
}

export type TreeNode = FileNode | DirectoryNode;

/** A name in a directory: what a creation, a renaming or a removal changes. */
export interface Place {
  readonly directory: DirectoryNode;
  readonly name: string;
}

/** The names of a file system. A node keeps its number through renamings, and an open file its node after removal. */
export class FileTree {
  readonly root: DirectoryNode;
  #nextId = 0;

  constructor() {
    this.root = this.newDirectory();
  }

  newFile(modifiedMs = 0, content: PagedBytes = new PagedBytes()): FileNode {
    return { kind: "file", id: this.#nextId++, content, modifiedMs };
  }

  newDirectory(modifiedMs = 0): DirectoryNode {
    return { kind: "directory", id: this.#nextId++, entries: new Map(), modifiedMs };
  }

  find(path: string): TreeNode | null {
    let node: TreeNode = this.root;
    for (const name of namesOf(path)) {
      if (node.kind !== "directory") return null;
      const next = node.entries.get(name);
      if (next === undefined) return null;
      node = next;
    }
    return node;
  }

  /** The directory must exist; the name need not. */
  place(path: string, operation: string): Place {
    const names = namesOf(path);
    const name = names.pop();
    if (name === undefined) throw new DiskError("EISDIR", path, operation);
    const directory = this.find(names.join("/"));
    if (directory === null) throw new DiskError("ENOENT", path, operation);
    if (directory.kind !== "directory") throw new DiskError("ENOTDIR", path, operation);
    return { directory, name };
  }

  directory(path: string, operation: string): DirectoryNode {
    const node = this.find(path);
    if (node === null) throw new DiskError("ENOENT", path, operation);
    if (node.kind !== "directory") throw new DiskError("ENOTDIR", path, operation);
    return node;
  }
}

/** `a//b/./c` -> a, b, c. Paths that do not begin with a slash start at the root too: there is no process to ask. */
export function namesOf(path: string): string[] {
  const names: string[] = [];
  for (const name of path.split("/")) {
    if (name === "..") names.pop();
    else if (name !== "" && name !== ".") names.push(name);
  }
  return names;
}
