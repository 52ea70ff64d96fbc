import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type ApiInfo, OWN_KEYS_FROM } from "../src/api.ts";

/** A request in bytes that are not ours: header and body, without the length of the frame. */
export interface Golden {
  /** `<api>.v<version>.<client>.hex`; the client sent it, or its library encoded it. */
  readonly file: string;
  readonly api: string;
  readonly version: number;
  readonly client: string;
  readonly bytes: Buffer;
}

const folder: string = join(import.meta.dirname, "../golden");

/** What protocol/golden holds. White space, and lines that begin with `#`, are for the reader. */
export function goldenRequests(): readonly Golden[] {
  if (!existsSync(folder)) return [];
  const files = readdirSync(folder).filter((name) => name.endsWith(".hex"));
  return files.sort().map((file) => {
    const [, api, version, client] = /^([a-z-]+)\.v(\d+)\.([\w-]+)\.hex$/.exec(file) ?? [];
    if (api === undefined || version === undefined || client === undefined) {
      throw new Error(`golden/${file} is not named <api>.v<version>.<client>.hex`);
    }
    const hex = readFileSync(join(folder, file), "utf8").replaceAll(/^#.*$|\s/gm, "");
    if (!/^(?:[0-9a-f]{2})+$/.test(hex)) throw new Error(`golden/${file} is not hexadecimal`);
    return { file, api, version: Number(version), client, bytes: Buffer.from(hex, "hex") };
  });
}

/** The name of an API in file names: "list-offsets". */
export function fileName({ name }: Pick<ApiInfo, "name">): string {
  return name.replaceAll(/(?<=[a-z0-9])(?=[A-Z])/g, "-").toLowerCase();
}

/** Those of Kafka: no other hand writes requests of our own. */
export function ofKafka<Api extends Pick<ApiInfo, "key">>(apis: readonly Api[]): readonly Api[] {
  return apis.filter(({ key }) => key < OWN_KEYS_FROM);
}

/** protocol/golden/MISSING.md: the versions that nobody captured yet. */
export function renderMissing(apis: readonly ApiInfo[], present: readonly Golden[]): string {
  const rows = ofKafka(apis).flatMap((api) => {
    const [first, last] = api.versions;
    const versions = Array.from({ length: last - first + 1 }, (_, index) => first + index);
    const missing = versions.filter(
      (version) => !present.some((golden) => golden.api === fileName(api) && golden.version === version),
    );
    return missing.length === 0 ? [] : [`- ${fileName(api)}: ${missing.join(", ")}\n`];
  });
  const list = rows.length === 0 ? "None: every version of every API has such a file.\n" : rows.join("");
  return `# Golden bytes that are missing

A file \`<api>.v<version>.<client>.hex\` beside this one is a request as a real client sent it: header and body in
hexadecimal, without the length of the frame. Where no client sends a version, the library of one encoded it with
something in every field: \`kmsg\` is franz-go's, \`kafka-clients-java\` Apache Kafka's. \`src/golden.test.ts\` reads each
file and writes it again to the same bytes. \`npm run generate\` brings the list of versions without such a file up to date:

${list}`;
}
