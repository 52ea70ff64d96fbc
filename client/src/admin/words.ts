import { KafkaError } from "../errors.ts";

/** Numbers of the protocol, and the words under which the admin speaks of them. */
export interface Words<Word extends string> {
  /** @throws KafkaError INVALID_CONFIG, listing the words that there are. */
  code(word: Word): number;
  /** What a newer broker says and this client does not know is "unknown". */
  word(code: number): Word | "unknown";
  /** The words whose bits are set; null where the broker was not asked, or did not say. */
  set(bits: number): ReadonlySet<Word> | null;
}

/** How brokers say that they were not asked for authorized operations. */
const notAsked = -2147483648;

/** `what` names the thing in errors: "ACL operation". */
export function words<Word extends string>(what: string, codes: Readonly<Record<Word, number>>): Words<Word> {
  const entries = Object.entries<number>(codes) as [Word, number][];
  const byCode = new Map(entries.map(([word, code]) => [code, word]));
  const byWord = new Map<string, number>(entries);
  return {
    code: (word) => {
      const code = byWord.get(word);
      if (code === undefined)
        throw new KafkaError("INVALID_CONFIG", `${what}: "${word}" is none of ${[...byWord.keys()].join(", ")}`);
      return code;
    },
    word: (code) => byCode.get(code) ?? "unknown",
    set: (bits) =>
      bits === notAsked
        ? null
        : new Set(entries.filter(([, code]) => (bits & (1 << code)) !== 0).map(([word]) => word)),
  };
}
