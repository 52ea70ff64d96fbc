import { existsSync } from "node:fs";
import { basename, dirname, join, normalize } from "node:path";
import { expect, test } from "vitest";
import { banned, isBannedIn } from "./house/banned.ts";
import { headingAnchors, linksOf, titlesOf } from "./house/markdown.ts";
import { missingPlatformPackages, type LockFile } from "./house/lock-file.ts";
import { isTestFile, isText, readJson, readText, repositoryFiles, repositoryRoot } from "./house/repository.ts";
import { roomNames } from "./house/rooms.ts";
import { lineAt, withoutComments } from "./house/source-text.ts";

const files = repositoryFiles();
const sources = files.filter((file) => file.endsWith(".ts"));
const pages = files.filter((file) => file.endsWith(".md"));
const texts = files.filter((file) => isText(file) && file !== "package-lock.json");
const thisFile = "test/tidy.test.ts";

// --- Code ------------------------------------------------------------------------------------------------------------

test("the world is an argument: no banned call outside its adapter", () => {
  const found = sources.flatMap((file) => {
    const applicable = banned.filter((rule) => isBannedIn(file, rule));
    if (applicable.length === 0) return [];
    return matches(
      file,
      withoutComments(readText(file)),
      applicable.map(({ call, instead }) => [call, `use ${instead}`]),
    );
  });
  expect(found).toEqual([]);
});

test("every `TODO` names its issue, and nothing is left to be fixed without one", () => {
  const found = texts
    .filter((file) => file !== thisFile)
    .flatMap((file) =>
      matches(file, readText(file), [
        [/\bTODO\b(?!\(#\d+\))/, "write TODO(#12): what is to be done"],
        [/\b(?:FIXME|XXX|HACK)\b/, "write TODO(#12): what is to be done"],
      ]),
    );
  expect(found).toEqual([]);
});

test("every handler opens with a comment that says what it speaks", () => {
  const found = sources
    .filter((file) => /^broker\/src\/apis\/\d\d+-[^/]*\.ts$/.test(file) && !isTestFile(file))
    .filter((file) => {
      const opening = /^(?:import\b[^;]*;\s*)*\/\*\*[\s*]*(\w+) v\d+/.exec(readText(file))?.[1] ?? "";
      return kebab(opening) !== basename(file, ".ts").replace(/^\d+-/, "");
    });
  expect(found, "begin the file with /** ApiName v1–v9. What it does, and what it leaves out. */").toEqual([]);
});

test("files are named in kebab-case, and an API's file by its key", () => {
  const found = sources
    .map((file) => ({ file, name: basename(file).replace(/\.(?:test|d)?\.?ts$/, "") }))
    .filter(({ name }) => !/^[a-z0-9]+(?:-[a-z0-9]+)*(?:\.[a-z]+)?$/.test(name))
    .map(({ file }) => file);
  expect(found).toEqual([]);
  const handlers = sources.filter((file) => file.startsWith("broker/src/apis/") && /^\d/.test(basename(file)));
  const keys = handlers.filter((file) => !isTestFile(file)).map((file) => basename(file).split("-")[0]);
  expect(keys, "one handler a key").toEqual([...new Set(keys)]);
});

test("packages are named by exact versions", () => {
  const found = files
    .filter((file) => basename(file) === "package.json" && !file.startsWith("test/interop/"))
    .flatMap((file) => {
      const { dependencies, optionalDependencies, devDependencies } =
        readJson<Record<string, Record<string, string>>>(file);
      const versions = { ...dependencies, ...optionalDependencies, ...devDependencies };
      return Object.entries(versions)
        .filter(([, version]) => !/^\d+\.\d+\.\d+(?:-[\w.]+)?$/.test(version))
        .map(([name, version]) => `${file}: ${name} ${version}`);
    });
  expect(found).toEqual([]);
});

// --- Pages -----------------------------------------------------------------------------------------------------------

test("every page has one title, and it comes first", () => {
  const found = pages.flatMap((file) => {
    const text = readText(file);
    const titles = titlesOf(text);
    if (titles.length === 1 && text.trimStart().startsWith("# ")) return [];
    return [`${file}: ${titles.length === 0 ? "no title" : `titles ${titles.join(" | ")}`}`];
  });
  expect(found).toEqual([]);
});

test("every link between pages leads somewhere inside the repository", () => {
  const found = pages.flatMap((file) =>
    linksOf(readText(file)).flatMap(({ target, line }) => {
      if (/^(?:https?|mailto):/.test(target)) return [];
      const [path = "", anchor] = target.split("#");
      const linked = path === "" ? file : normalize(join(dirname(file), decodeURIComponent(path)));
      const where = `${file}:${line}: ${target}`;
      if (linked.startsWith("..") || path.startsWith("/")) return [`${where} leads out of the repository`];
      if (!existsSync(join(repositoryRoot, linked))) return [`${where}: nothing is there`];
      if (anchor === undefined || !linked.endsWith(".md")) return [];
      return headingAnchors(readText(linked)).has(anchor) ? [] : [`${where}: no such heading in ${linked}`];
    }),
  );
  expect(found).toEqual([]);
});

test("the commands that pages name exist", () => {
  const { scripts } = readJson<{ readonly scripts: Readonly<Record<string, string>> }>("package.json");
  const found = pages.flatMap((file) =>
    [...readText(file).matchAll(/\bnpm run ([\w:-]+)/g)]
      .filter(([, name = ""]) => !(name in scripts))
      .map((match) => `${file}:${lineAt(match.input, match.index)}: ${match[0]}`),
  );
  expect(found).toEqual([]);
});

// --- Everything ------------------------------------------------------------------------------------------------------

test("the repository knows no machine but the reader's", () => {
  const found = texts
    .filter((file) => file !== thisFile)
    .flatMap((file) =>
      matches(file, readText(file), [
        [/(?<![\w./-])\/(?:work|root|Users|home\/(?!node\b|millrace\b)\w+)\/\w/, "a path of one machine"],
        [/(?:\.\.\/)+shared\//, "a path outside the repository: say here what it says there"],
        [
          /\b(?:registry\.(?:npmjs|yarnpkg)\.\w+|repo1?\.maven(?:\.apache)?\.org|proxy\.golang\.org|(?:files\.)?py(?:pi|thonhosted)\.org)\b/,
          "the host of a registry: the tools know theirs",
        ],
      ]),
    );
  expect(found).toEqual([]);
});

test("the lock file serves every registry and every platform", () => {
  const lock = readJson<LockFile>("package-lock.json");
  const withHost = Object.entries(lock.packages).filter(([, { resolved }]) => resolved?.includes("://"));
  expect(
    withHost.map(([path]) => path),
    "run npm install with --omit-lockfile-registry-resolved",
  ).toEqual([]);
  const missing = missingPlatformPackages(lock).map(({ name, version }) => `${name}@${version}`);
  expect(missing, "npm dropped them, and npm ci will refuse the file: run node test/house/complete-lock.ts").toEqual(
    [],
  );
});

test("the packages that run a script when they are installed are the ones that are allowed to", () => {
  const { allowScripts } = readJson<{ readonly allowScripts: Readonly<Record<string, boolean>> }>("package.json");
  const { packages } = readJson<LockFile>("package-lock.json");
  const withScript = Object.entries(packages)
    .filter(([, { hasInstallScript }]) => hasInstallScript === true)
    .map(([path]) => path.replace(/^.*node_modules\//, ""));
  expect(Object.keys(allowScripts).toSorted()).toEqual(withScript.toSorted());
});

test("the container image holds every room", () => {
  const image = readText("Dockerfile");
  const absent = roomNames.filter((name) => !image.includes(`COPY --from=build /build/${name} ./${name}\n`));
  expect(absent).toEqual([]);
});

test("lines end with LF, files with one, and none holds tabs or conflict marks", () => {
  const found = texts
    .filter((file) => /\.(?:ts|md|json|ya?ml|sh)$/.test(file))
    .flatMap((file) => {
      const text = readText(file);
      const isOpen = text !== "" && !text.endsWith("\n");
      const marks = matches(file, text, [
        [/\r/, "a carriage return"],
        [/^(?:<{7}|>{7}) /m, "a conflict mark"],
      ]);
      return isOpen ? [...marks, `${file}: no line feed at its end`] : marks;
    });
  expect(found).toEqual([]);
});

/** `file:line: what, found text` for each place where a pattern occurs. */
function matches(file: string, text: string, patterns: readonly (readonly [RegExp, string])[]): string[] {
  return patterns.flatMap(([pattern, what]) =>
    [...text.matchAll(new RegExp(pattern.source, `${pattern.flags.replace("g", "")}g`))].map(
      (match) => `${file}:${lineAt(text, match.index)}: ${match[0].trim()}: ${what}`,
    ),
  );
}

/** `OffsetForLeaderEpoch` -> `offset-for-leader-epoch`. */
function kebab(name: string): string {
  return name.replace(/(?<=[a-z])(?=[A-Z])/g, "-").toLowerCase();
}
