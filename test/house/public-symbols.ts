import { join } from "node:path";
import { ModifierFlags, SymbolFlags, API } from "typescript/unstable/sync";
import type { Checker, NodeHandle, Project, Symbol } from "typescript/unstable/sync";
import { SyntaxKind } from "typescript/unstable/ast";
import { readJson, repositoryRoot } from "./repository.ts";

/** A name that a package gives to those who import it, or a member of one. */
export interface PublicSymbol {
  /** "Producer", "Producer.send". */
  readonly name: string;
  /** The entry that exports it, "client/src/index.ts". */
  readonly entry: string;
  /** The file that declares it. */
  readonly file: string;
  readonly docstring: string;
  /** What its `@example` tags hold. */
  readonly examples: readonly string[];
  /** Of a class, an interface or an object type. */
  readonly isMember: boolean;
  /** It is called or made, and so has to be shown. */
  readonly wantsExample: boolean;
  /** Only a type can be imported under this name. */
  readonly isType: boolean;
}

/** The entries of a package that can be imported where it is installed, as files. */
export function entriesOf(room: string): readonly string[] {
  const { exports } = readJson<{ readonly exports: Readonly<Record<string, Readonly<Record<string, string>>>> }>(
    `${room}/package.json`,
  );
  return Object.entries(exports)
    .filter(([path, { default: built }]) => built !== undefined && !path.includes("*"))
    .map(([, { source = "" }]) => join(room, source));
}

/**
 * What these entries of a room export, once each, with the public members of classes, interfaces and object types. Members that come
 * from elsewhere (of Error, of Disposable) are not its own, and one that is marked as `@internal` is nobody's business.
 */
export function publicSymbolsOf(room: string, entries: readonly string[]): readonly PublicSymbol[] {
  const api = new API();
  try {
    const configuration = join(repositoryRoot, room, "tsconfig.json");
    const project = api.updateSnapshot({ openProjects: [configuration] }).getProject(configuration);
    if (project === undefined) throw new Error(`${configuration} is no project`);
    return [...new Walk(project, join(repositoryRoot, room, "src/")).through(entries).values()];
  } finally {
    api.close();
  }
}

class Walk {
  readonly #project: Project;
  readonly #checker: Checker;
  readonly #sources: string;
  readonly #found = new Map<number, PublicSymbol>();

  constructor(project: Project, sources: string) {
    this.#project = project;
    this.#checker = project.checker;
    this.#sources = sources;
  }

  through(entries: readonly string[]): ReadonlyMap<number, PublicSymbol> {
    for (const entry of entries) {
      const file = this.#project.program.getSourceFile(join(repositoryRoot, entry));
      const module = file === undefined ? undefined : this.#checker.getSymbolAtLocation(file);
      if (module === undefined) throw new Error(`${entry} is no module of its project`);
      for (const exported of this.#checker.getExportsOfModule(module)) {
        const isAlias = (exported.flags & SymbolFlags.Alias) !== 0;
        const symbol = isAlias ? this.#checker.getAliasedSymbol(exported) : exported;
        this.#take(symbol, exported.name, entry);
      }
    }
    return this.#found;
  }

  #take(symbol: Symbol, name: string, entry: string): void {
    if (this.#found.has(symbol.id)) return;
    const place = { entry, isMember: false, isType: (symbol.flags & SymbolFlags.Value) === 0 };
    this.#note(symbol, { ...place, name, wantsExample: this.#isCalled(symbol) });
    const hasMembers = SymbolFlags.Class | SymbolFlags.Interface | SymbolFlags.TypeAlias;
    if ((symbol.flags & hasMembers) === 0) return;
    const type = this.#checker.getDeclaredTypeOfSymbol(symbol);
    // What a union or a function has is documented where it comes from.
    if (type.isUnionType() || !(type.isObjectType() || type.isIntersectionType())) return;
    for (const member of this.#checker.getPropertiesOfType(type)) {
      if (!this.#isOwn(member) || this.#found.has(member.id)) continue;
      this.#note(member, { ...place, isMember: true, name: `${name}.${member.name}`, wantsExample: false });
    }
  }

  #note(symbol: Symbol, place: Omit<PublicSymbol, "file" | "docstring" | "examples">): void {
    const tags = this.#checker.getJsDocTagsOfSymbol(symbol);
    if (tags.some((tag) => tag.name === "internal")) return;
    const examples = tags.flatMap((tag) => (tag.name === "example" ? [tag.text ?? ""] : []));
    const docstring = this.#checker.getDocumentationCommentOfSymbol(symbol).trim();
    this.#found.set(symbol.id, { ...place, file: this.#fileOf(symbol), docstring, examples });
  }

  /** Functions and classes; errors are caught, and not made. */
  #isCalled(symbol: Symbol): boolean {
    if ((symbol.flags & SymbolFlags.Function) !== 0) return true;
    if ((symbol.flags & SymbolFlags.Class) === 0) return false;
    const type = this.#checker.getDeclaredTypeOfSymbol(symbol);
    return !this.#checker.getPropertiesOfType(type).some(({ name }) => name === "stack");
  }

  /** Declared here, under a name, and not private. */
  #isOwn(member: Symbol): boolean {
    if (member.name.startsWith("__") || member.name === "prototype") return false;
    const ours = member.declarations.filter(({ path }) => path.startsWith(this.#sources));
    return ours.length > 0 && !ours.some((declaration) => this.#isHidden(declaration));
  }

  #isHidden(declaration: NodeHandle): boolean {
    if (declaration.kind === SyntaxKind.PrivateIdentifier) return true;
    const node = declaration.resolve(this.#project) as { readonly modifierFlags?: ModifierFlags } | undefined;
    return ((node?.modifierFlags ?? 0) & (ModifierFlags.Private | ModifierFlags.Protected)) !== 0;
  }

  #fileOf(symbol: Symbol): string {
    return symbol.declarations[0]?.path.slice(repositoryRoot.length + 1) ?? "";
  }
}
