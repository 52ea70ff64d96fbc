import { readFileSync } from "node:fs";
import { inflateRawSync } from "node:zlib";

const endSignature = 0x0605_4b50;
const entrySignature = 0x0201_4b50;
const stored = 0;
const deflated = 8;

/** The files in a jar whose names end in `ending`, as text. A jar is a zip; what is read here is its central directory. */
export function textsInJar(path: string, ending: string): ReadonlyMap<string, string> {
  const jar = readFileSync(path);
  const end = jar.lastIndexOf(Buffer.from([0x50, 0x4b, 0x05, 0x06]));
  if (end < 0 || jar.readUInt32LE(end) !== endSignature) throw new Error(`${path} is no jar`);
  const texts = new Map<string, string>();
  let at = jar.readUInt32LE(end + 16);
  for (let left = jar.readUInt16LE(end + 10); left > 0; left--) {
    if (jar.readUInt32LE(at) !== entrySignature) throw new Error(`${path}: no entry at byte ${at}`);
    const nameLength = jar.readUInt16LE(at + 28);
    const name = jar.toString("utf8", at + 46, at + 46 + nameLength);
    if (name.endsWith(ending)) texts.set(name, entryText(jar, at));
    at += 46 + nameLength + jar.readUInt16LE(at + 30) + jar.readUInt16LE(at + 32);
  }
  return texts;
}

function entryText(jar: Buffer, entry: number): string {
  const method = jar.readUInt16LE(entry + 10);
  const local = jar.readUInt32LE(entry + 42);
  const start = local + 30 + jar.readUInt16LE(local + 26) + jar.readUInt16LE(local + 28);
  const bytes = jar.subarray(start, start + jar.readUInt32LE(entry + 20));
  if (method === stored) return bytes.toString("utf8");
  if (method === deflated) return inflateRawSync(bytes).toString("utf8");
  throw new Error(`compression method ${method} in a jar`);
}
