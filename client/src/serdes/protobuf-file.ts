import protobuf from "protobufjs";
import descriptor from "protobufjs/ext/descriptor.js";
import type { ResolvedSchema } from "./registry/schema.ts";

/**
 * The messages of one Protobuf file with all that it imports. A registry holds a file, and each value names by its place
 * in the file which of the messages it is.
 */
export class ProtobufFile {
  readonly #messages: readonly Declared[];
  readonly #root: protobuf.Root;

  /** @throws Error with what is wrong in the text. */
  constructor({ schema, references }: ResolvedSchema, { keepCase }: { readonly keepCase: boolean }) {
    this.#root = new protobuf.Root();
    const known = new Set(references.map(({ name }) => name));
    for (const reference of references) addTo(this.#root, reference.schema.text, keepCase, known);
    addTo(this.#root, schema.text, keepCase, known);
    this.#root.resolveAll();
    this.#messages = declaredIn(schema.text, keepCase);
  }

  /** A message by its full name, or its own one; the first of the file where none is given. */
  byName(name: string | undefined): FoundMessage | null {
    const found =
      name === undefined
        ? this.#messages[0]
        : flat(this.#messages).find((each) => each.fullName === name || each.name === name);
    return found === undefined ? null : this.#found(found);
  }

  byPath(path: readonly number[]): FoundMessage | null {
    let found: Declared | undefined;
    let among = this.#messages;
    for (const index of path) {
      found = among.find((each) => each.path.at(-1) === index);
      among = found?.inside ?? [];
    }
    return found === undefined ? null : this.#found(found);
  }

  #found({ fullName, path, slack }: Declared): FoundMessage {
    return { name: fullName, path, slack, type: this.#root.lookupType(fullName) };
  }
}

export interface FoundMessage {
  readonly name: string;
  readonly path: readonly number[];
  /** Of each level: by how much the index may be greater. See `Declared`. */
  readonly slack: readonly number[];
  readonly type: protobuf.Type;
}

/** A message where it is declared. */
interface Declared {
  readonly name: string;
  readonly fullName: string;
  readonly path: readonly number[];
  /**
   * Compilers make a hidden message of each map, and some writers count it among the nested ones where others do not: at a
   * nested level an index may be greater by as many as there are maps beside it.
   */
  readonly slack: readonly number[];
  readonly inside: readonly Declared[];
}

/** Whether a path of a value may mean this message. */
export function mayMean(path: readonly number[], { path: own, slack }: FoundMessage): boolean {
  return (
    path.length === own.length &&
    path.every((index, level) => index >= (own[level] ?? 0) && index <= (own[level] ?? 0) + (slack[level] ?? 0))
  );
}

/** The messages that a file itself declares, in their order. */
function declaredIn(text: string, keepCase: boolean): readonly Declared[] {
  if (!isDescriptor(text)) return messagesOf(addTo(new protobuf.Root(), text, keepCase, null));
  const file = descriptorOf(text);
  return compiledMessagesOf(file.messageType ?? [], { path: [], slack: [], fullName: file.package ?? "" });
}

/** Of a compiled file: the hidden messages of maps stand among the others, and count. */
function compiledMessagesOf(
  messages: readonly CompiledMessage[],
  above: Pick<Declared, "path" | "slack" | "fullName">,
): readonly Declared[] {
  return messages.flatMap(({ name, nestedType = [], options }, index) => {
    if (options?.mapEntry === true) return [];
    const path = [...above.path, index];
    const slack = [...above.slack, 0];
    const fullName = above.fullName === "" ? name : `${above.fullName}.${name}`;
    return [{ name, fullName, path, slack, inside: compiledMessagesOf(nestedType, { path, slack, fullName }) }];
  });
}

function flat(messages: readonly Declared[]): readonly Declared[] {
  return messages.flatMap((message) => [message, ...flat(message.inside)]);
}

function messagesOf(
  space: protobuf.NamespaceBase,
  above: Pick<Declared, "path" | "slack"> = { path: [], slack: [] },
): readonly Declared[] {
  const maps = space instanceof protobuf.Type ? space.fieldsArray.filter(({ map }) => map).length : 0;
  return space.nestedArray
    .filter((nested) => nested instanceof protobuf.Type)
    .map((type, index) => {
      const path = [...above.path, index];
      const slack = [...above.slack, maps];
      const { name } = type;
      return {
        name,
        fullName: type.fullName.replace(/^\./, ""),
        path,
        slack,
        inside: messagesOf(type, { path, slack }),
      };
    });
}

/** Adds a file's declarations, and gives the namespace of its package. `known` null: what it imports does not matter. */
function addTo(
  root: protobuf.Root,
  text: string,
  keepCase: boolean,
  known: ReadonlySet<string> | null,
): protobuf.NamespaceBase {
  const file = isDescriptor(text) ? addDescriptor(root, text, keepCase) : protobuf.parse(text, root, { keepCase });
  if (known !== null) for (const name of file.imports ?? []) addImport(root, name, known);
  const space = file.package === undefined || file.package === "" ? root : root.lookup(file.package);
  if (space instanceof protobuf.Namespace) return space;
  throw new Error(`package ${file.package} is not in the file that names it`);
}

function addImport(root: protobuf.Root, name: string, known: ReadonlySet<string>): void {
  if (known.has(name)) return;
  const common = protobuf.common.get(name);
  if (common?.nested !== undefined) {
    root.addJSON(common.nested);
    return;
  }
  // They hold options only, as a rule, and a type that is needed is named where it is missing.
  if (/^(?:google\/protobuf|confluent)\//.test(name)) return;
  throw new Error(`it imports "${name}", which is not among its references`);
}

/** Some writers register the compiled file, in base64. Text of a file has blanks and quotes. */
function isDescriptor(text: string): boolean {
  return text.length % 4 === 0 && /^[\w+/]+={0,2}$/.test(text);
}

interface CompiledMessage {
  readonly name: string;
  readonly field?: { readonly name: string; jsonName?: string }[];
  readonly nestedType?: CompiledMessage[];
  readonly options?: { readonly mapEntry?: boolean };
}

interface CompiledFile {
  readonly package?: string;
  readonly syntax?: string;
  readonly dependency?: string[];
  readonly messageType?: CompiledMessage[];
  readonly enumType?: object[];
}

function descriptorOf(text: string): CompiledFile {
  const { FileDescriptorProto } = descriptor;
  return FileDescriptorProto.toObject(FileDescriptorProto.decode(Buffer.from(text, "base64")));
}

/** By its parts: as a whole it would have to stand alone, without what it imports. */
function addDescriptor(
  root: protobuf.Root,
  text: string,
  keepCase: boolean,
): { readonly package?: string; readonly imports?: string[] } {
  const {
    package: name = "",
    syntax = "proto2",
    dependency = [],
    messageType = [],
    enumType = [],
  } = descriptorOf(text);
  if (syntax === "editions") throw new Error("it is a compiled file of an edition: register its text");
  const space = name === "" ? root : root.define(name);
  const options = { edition: syntax, keepCase };
  for (const message of messageType) {
    nameForJson(message);
    space.add(protobuf.Type.fromDescriptor(message, options));
  }
  for (const each of enumType) space.add(protobuf.Enum.fromDescriptor(each, options));
  return { package: name, imports: dependency };
}

/** Compilers leave out the names that follow from others. */
function nameForJson({ field = [], nestedType = [] }: CompiledMessage): void {
  for (const each of field) each.jsonName ??= protobuf.util.camelCase(each.name);
  for (const nested of nestedType) nameForJson(nested);
}
