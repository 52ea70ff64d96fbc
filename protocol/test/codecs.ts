import { type InternalDeclaration, readDeclarations } from "../generator/declarations.ts";
import type { Api, DataCodec, RecordKind } from "../src/api.ts";
import { apis } from "../src/apis.ts";
import { type AnyMessage, interpreted } from "../src/interpret.ts";
import { type ApiSchema, type MessageSchema, requestSchema, responseSchema } from "../src/schema.ts";

/** A message three times over: as declared, as generated, and as the interpreter understands the declaration. */
export interface Subject {
  readonly name: string;
  readonly schema: MessageSchema;
  readonly generated: DataCodec<AnyMessage>;
  readonly interpreted: DataCodec<AnyMessage>;
}

/** Every request, response and internal message; of those APIs only that are wanted. */
export async function subjects(isWanted: (api: ApiSchema) => boolean = () => true): Promise<readonly Subject[]> {
  const { apis: declared, internal } = await readDeclarations();
  const ofApis = [...declared.values()].filter(isWanted).flatMap(subjectsOfApi);
  const ofInternal = await Promise.all(
    [...internal].map(([file, declaration]) => subjectsOfInternal(file, declaration)),
  );
  return [...ofApis, ...ofInternal.flat()];
}

function subjectsOfApi(declared: ApiSchema): Subject[] {
  const api = apis[declared.key] as Api<AnyMessage, AnyMessage>;
  const { versions } = declared;
  const request = requestSchema(declared);
  const response = responseSchema(declared);
  return [
    subject(request, { name: request.name, versions, ...api.request }),
    subject(response, { name: response.name, versions, ...api.response }),
  ];
}

async function subjectsOfInternal(file: string, { list }: InternalDeclaration): Promise<Subject[]> {
  const module = (await import(`../src/internal/${file}.ts`)) as Record<string, unknown>;
  return list.flatMap((entry) => {
    if (!("key" in entry)) {
      const name = entry.name.slice(0, 1).toLowerCase() + entry.name.slice(1);
      return [subject(entry, module[name] as DataCodec<AnyMessage>)];
    }
    const { key, value } = module[entry.name] as RecordKind<AnyMessage, AnyMessage>;
    return [subject(entry.key, key), subject(entry.value, value)];
  });
}

function subject(schema: MessageSchema, generated: DataCodec<AnyMessage>): Subject {
  return { name: schema.name, schema, generated, interpreted: interpreted(schema) };
}

/** Every version of a message. */
export function versionsOf({ versions: [first, last] }: Pick<MessageSchema, "versions">): readonly number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}
