import { ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import { compilePattern } from "../../pattern.ts";
import type { Pattern } from "../../pattern.ts";
import type { TopicLookup } from "../topic-lookup.ts";

/** Patterns whose matches are remembered. */
const PATTERNS_MAX = 1_000;

interface Matched {
  readonly pattern: Pattern;
  /** Of every topic of the last time. */
  matches: ReadonlyMap<string, boolean>;
  matching: ReadonlySet<string>;
  /** Of the topics that it was matched against; −1: none yet. */
  version: number;
}

/**
 * What the patterns of members match. What was once compiled
 * and matched is remembered: for another group it costs nothing more, after other topics came a look-up a topic.
 */
export class RegexResolver {
  /** The one that was asked for last stands last. */
  readonly #patterns = new Map<string, Matched>();

  /** The parser's words for what is wrong with it, or null. */
  check(regex: string): string | null {
    const found = this.#find(regex);
    return found.ok ? null : found.failure;
  }

  /** The topics whose names match from end to end. A pattern that cannot be read matches none. */
  resolve(regex: string, topics: TopicLookup): ReadonlySet<string> {
    const found = this.#find(regex);
    if (!found.ok) return new Set();
    const matched = found.value;
    if (matched.version === topics.version) return matched.matching;
    const matches = new Map<string, boolean>();
    const matching = new Set<string>();
    for (const name of topics.names()) {
      const isMatch = matched.matches.get(name) ?? matched.pattern.matches(name);
      matches.set(name, isMatch);
      if (isMatch) matching.add(name);
    }
    matched.matches = matches;
    matched.matching = matching;
    matched.version = topics.version;
    return matching;
  }

  #find(regex: string): Result<Matched, string> {
    const known = this.#patterns.get(regex);
    if (known !== undefined) {
      this.#patterns.delete(regex);
      this.#patterns.set(regex, known);
      return ok(known);
    }
    const compiled = compilePattern(regex);
    if (!compiled.ok) return compiled;
    const matched: Matched = { pattern: compiled.value, matches: new Map(), matching: new Set(), version: -1 };
    this.#patterns.set(regex, matched);
    for (const oldest of this.#patterns.keys()) {
      if (this.#patterns.size <= PATTERNS_MAX) break;
      this.#patterns.delete(oldest);
    }
    return ok(matched);
  }
}
