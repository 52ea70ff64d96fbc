import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { readDeclarations } from "./declarations.ts";
import { renderApis, renderErrors } from "./docs.ts";
import { goldenRequests, renderMissing } from "./golden.ts";
import { apiModule, apisModule, apiTableModule, internalModule } from "./modules.ts";

/** Everything that `npm run generate` makes of the declarations in protocol/schema, by path from the repository's root. */
export async function generate(): Promise<ReadonlyMap<string, string>> {
  const { apis, internal } = await readDeclarations();
  const files = new Map<string, string>();
  for (const [file, api] of apis) files.set(`protocol/src/messages/${file}.ts`, apiModule(api, file));
  for (const [file, { name, list }] of internal) {
    files.set(`protocol/src/internal/${file}.ts`, internalModule(file, name, list));
  }
  files.set("protocol/src/apis.ts", apisModule(apis));
  files.set("protocol/src/api-table.ts", apiTableModule([...apis.values()]));
  files.set("protocol/golden/MISSING.md", renderMissing([...apis.values()], goldenRequests()));
  files.set("docs/apis.md", renderApis([...apis.values()]));
  files.set("docs/errors.md", renderErrors());
  return files;
}

if (import.meta.main) {
  const repository = join(import.meta.dirname, "../..");
  const files = await generate();
  for (const [path, text] of files) {
    mkdirSync(dirname(join(repository, path)), { recursive: true });
    writeFileSync(join(repository, path), text);
  }
  for (const folder of ["protocol/src/messages", "protocol/src/internal"]) {
    const left = readdirSync(join(repository, folder)).filter((name) => !files.has(`${folder}/${name}`));
    for (const name of left) rmSync(join(repository, folder, name));
  }
  console.log(`${files.size} files generated`);
}
