import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { generatedPages } from "./house/generated.ts";
import { repositoryRoot } from "./house/repository.ts";

/** The second half of `npm run generate`: it needs what the protocol's generator wrote, so it is a process of its own. */
const pages = generatedPages();
for (const [path, text] of pages) writeFileSync(join(repositoryRoot, path), text);
console.log(`${pages.size} pages generated`);
