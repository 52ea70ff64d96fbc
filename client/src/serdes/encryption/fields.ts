/**
 * Names of fields below `Value`, with dots between the levels: "customer.email". Through an array a path goes to each of
 * its elements: "lines.note".
 */
export type FieldPath<Value, Depth extends readonly 0[] = []> = unknown extends Value
  ? string
  : Depth["length"] extends 5
    ? never
    : Value extends readonly (infer Element)[]
      ? FieldPath<Element, Depth>
      : Value extends Leaf
        ? never
        : Value extends object
          ? {
              [Name in keyof Value & string]:
                | Name
                | `${Name}.${FieldPath<NonNullable<Value[Name]>, readonly [...Depth, 0]>}`;
            }[keyof Value & string]
          : never;

/** `Value` where the fields at `Path` may be `Instead`. */
export type Replaced<Value, Path extends string, Instead> = unknown extends Value
  ? Value
  : Value extends readonly (infer Element)[]
    ? readonly Replaced<Element, Path, Instead>[]
    : Value extends Leaf
      ? Value
      : Value extends object
        ? {
            [Name in keyof Value]:
              | Replaced<Value[Name], Below<Path, Name & string>, Instead>
              | (Name & string extends Path ? Instead : never);
          }
        : Value;

type Below<Path extends string, Name extends string> = Path extends `${Name}.${infer Rest}` ? Rest : never;
type Leaf = Uint8Array | Date | ((...given: never) => unknown);

export interface Found {
  readonly path: string;
  readonly value: unknown;
}

/**
 * The values at a path, with their parents copied, so that they can be replaced and the original stays. Null and absent
 * ones are left out.
 *
 * @throws Error, where something on the way is no object.
 */
export class Editing {
  /** What was given, and after a replacement a copy of it. */
  root: unknown;

  constructor(root: unknown) {
    this.root = root;
  }

  /** Calls for each value at the path; what it gives stands there then. */
  edit(path: string, replace: (value: unknown) => unknown): void {
    this.root = edited(this.root, path.split("."), 0, replace);
  }

  /** The values at the path. */
  at(path: string): readonly unknown[] {
    const found: unknown[] = [];
    this.edit(path, (value) => {
      found.push(value);
      return value;
    });
    return found;
  }
}

function edited(
  value: unknown,
  names: readonly string[],
  level: number,
  replace: (value: unknown) => unknown,
): unknown {
  if (value === null || value === undefined) return value;
  const name = names[level];
  if (name === undefined) return replace(value);
  if (Array.isArray(value)) return value.map((each: unknown) => edited(each, names, level, replace));
  if (typeof value !== "object")
    throw new Error(`${names.slice(0, level).join(".")} holds no fields, but ${typeof value}`);
  if (!Object.hasOwn(value, name)) return value;
  const before = (value as Record<string, unknown>)[name];
  const after = edited(before, names, level + 1, replace);
  return after === before ? value : { ...value, [name]: after };
}
