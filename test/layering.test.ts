import { isBuiltin } from "node:module";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { isTestFile, readJson, readText, repositoryFiles } from "./house/repository.ts";
import { roomNames, rooms, testsMayImport, type RoomName } from "./house/rooms.ts";
import { importsOf, withoutComments } from "./house/source-text.ts";

interface Package {
  readonly name: string;
  readonly version: string;
  readonly workspaces?: readonly RoomName[];
  readonly exports?: Readonly<Record<string, { readonly source: string }>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  /** What an application brings if it uses the entry that needs it. */
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

const root = readJson<Package>("package.json");
const files = repositoryFiles();
const roomOfPackage = new Map(roomNames.map((name) => [rooms[name].packageName, name]));

test("every room is a workspace with the name of its package, and every workspace is a room", () => {
  expect(root.workspaces?.toSorted()).toEqual(roomNames.toSorted());
  for (const name of roomNames) expect(readJson<Package>(`${name}/package.json`).name).toBe(rooms[name].packageName);
  const withPackage = files.filter((file) => /^[^/]+\/package\.json$/.test(file)).map((file) => dirname(file));
  expect(withPackage.toSorted()).toEqual(roomNames.toSorted());
});

test("every room is type-checked by `tsc -b`", () => {
  const { references } = readJson<{ readonly references: readonly { readonly path: string }[] }>("tsconfig.json");
  expect(references.map(({ path }) => path).toSorted()).toEqual(
    [...roomNames, "test"].map((name) => `./${name}`).toSorted(),
  );
});

test("no room is reached from itself", () => {
  const reachable = (name: RoomName, seen: readonly RoomName[]): void => {
    expect(seen, `rooms import in a circle: ${[...seen, name].join(" -> ")}`).not.toContain(name);
    for (const next of rooms[name].mayImport) reachable(next, [...seen, name]);
  };
  for (const name of roomNames) reachable(name, []);
});

describe.for(roomNames)("%s", (name) => {
  const room = rooms[name];
  const own = readJson<Package>(`${name}/package.json`);
  const declared = new Set(Object.keys({ ...own.dependencies, ...own.optionalDependencies, ...own.peerDependencies }));
  const declaredForTests = new Set([...declared, ...Object.keys({ ...own.devDependencies, ...root.devDependencies })]);
  const imports = files
    .filter((file) => file.startsWith(`${name}/`) && file.endsWith(".ts"))
    .flatMap((file) => importsOf(readText(file)).map((found) => ({ ...found, file })));

  test("imports only the rooms that its line in the table names", () => {
    const wrong = imports.flatMap(({ file, line, specifier }) => {
      const target = roomOfPackage.get(packageOf(specifier));
      if (target === undefined || target === name) return [];
      const allowed: readonly RoomName[] = isTestFile(file) ? [...room.mayImport, ...testsMayImport] : room.mayImport;
      const only = isTestFile(file) ? undefined : room.only?.[target];
      if (allowed.includes(target) && (only === undefined || only.includes(specifier))) return [];
      const what = only === undefined ? list(allowed) : `of ${target} ${list(only)}`;
      return [`${file}:${line} imports ${specifier}: ${name} may import ${what}, since ${room.reason}`];
    });
    expect(wrong).toEqual([]);
  });

  test("reaches other rooms by their package name, never by a path", () => {
    const wrong = imports
      .filter(
        ({ file, specifier }) => specifier.startsWith(".") && !join(dirname(file), specifier).startsWith(`${name}/`),
      )
      .map(({ file, line, specifier }) => `${file}:${line} imports ${specifier}: name the package instead`);
    expect(wrong).toEqual([]);
  });

  test("reaches its own modules by path, so that no module is loaded twice", () => {
    const wrong = imports
      .filter(({ file, specifier }) => packageOf(specifier) === room.packageName && !isTestFile(file))
      .map(
        ({ file, line, specifier }) => `${file}:${line} imports ${specifier}: import the file, by its relative path`,
      );
    expect(wrong).toEqual([]);
  });

  test("declares every package that it imports", () => {
    const wrong = imports
      .filter(({ specifier }) => !specifier.startsWith(".") && !isBuiltin(specifier))
      .filter(({ file, specifier }) => {
        const isShipped = file.startsWith(`${name}/src/`) && !isTestFile(file);
        const packageName = packageOf(specifier);
        return packageName !== room.packageName && !(isShipped ? declared : declaredForTests).has(packageName);
      })
      // The virtual world is installed with the workspace: a room's tests need not name it.
      .filter(({ file, specifier }) => !isTestFile(file) || !isForTests(specifier))
      .map(({ file, line, specifier }) => `${file}:${line} imports ${specifier}: add it to ${name}/package.json`);
    expect(wrong).toEqual([]);
  });

  test("declares no package that it does not import", () => {
    // Some are loaded by name (an optional one, a logger's transport), so the name in quotes counts as use.
    const sources = files.filter((file) => file.startsWith(`${name}/`) && file.endsWith(".ts") && !isTestFile(file));
    const text = sources.map((file) => withoutComments(readText(file))).join("\n");
    const idle = [...declared].filter((dependency) => !new RegExp(`["'\`]${dependency}(/|["'\`])`).test(text));
    expect(idle, `${name}/package.json names packages that no source of ${name} imports`).toEqual([]);
  });

  test("names other rooms by their exact version", () => {
    for (const [dependency, version] of Object.entries({ ...own.dependencies, ...own.optionalDependencies })) {
      const target = roomOfPackage.get(dependency);
      if (target === undefined) continue;
      expect(version, `${name}/package.json: ${dependency}`).toBe(readJson<Package>(`${target}/package.json`).version);
    }
  });

  test("is built after the rooms that it imports, and after no other", () => {
    const { references } = readJson<{ readonly references: readonly { readonly path: string }[] }>(
      `${name}/tsconfig.json`,
    );
    const referenced = references.map(({ path }) => path.replace("../", ""));
    const imported = new Set(
      imports
        .filter(({ file }) => file.startsWith(`${name}/src/`) && !isTestFile(file))
        .flatMap(({ specifier }) => roomOfPackage.get(packageOf(specifier)) ?? [])
        .filter((target) => target !== name),
    );
    for (const target of imported) expect(referenced, `${name}/tsconfig.json: references`).toContain(target);
    for (const target of referenced) expect(room.mayImport, `${name}/tsconfig.json: references`).toContain(target);
  });
});

/** `@millrace/base/node/disk` -> `@millrace/base`; `node:fs` stays itself. */
function packageOf(specifier: string): string {
  const parts = specifier.split("/");
  return specifier.startsWith("@") ? parts.slice(0, 2).join("/") : (parts[0] ?? specifier);
}

function isForTests(specifier: string): boolean {
  const target = roomOfPackage.get(packageOf(specifier));
  return target !== undefined && testsMayImport.includes(target);
}

function list(names: readonly string[]): string {
  return names.length === 0 ? "no other room" : `only ${names.join(", ")}`;
}
