import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import { RE2JS, RE2JSException, RE2JSSyntaxException } from "re2js";
import type { TopicLookup } from "../topic-lookup.ts";

/** Matching takes time in proportion to the pattern, so a pattern has a limit. */
const PATTERN_LENGTH_MAX = 4_096;
/** Patterns whose matches are remembered. */
const PATTERNS_MAX = 1_000;

interface Pattern {
  readonly compiled: RE2JS;
  /** Of every topic of the last time. */
  matches: ReadonlyMap<string, boolean>;
  matching: ReadonlySet<string>;
  /** Of the topics that it was matched against; −1: none yet. */
  version: number;
}

/**
 * Patterns in RE2 syntax (what RE2/J takes): matching is linear in the name, whatever the pattern. What was once compiled
 * and matched is remembered: for another group it costs nothing more, after other topics came a look-up a topic.
 */
export class RegexResolver {
  /** The one that was asked for last stands last. */
  readonly #patterns = new Map<string, Pattern>();

  /** The parser's words for what is wrong with it, or null. */
  check(regex: string): string | null {
    const pattern = this.#pattern(regex);
    return pattern.ok ? null : pattern.failure;
  }

  /** The topics whose names match from end to end. A pattern that cannot be read matches none. */
  resolve(regex: string, topics: TopicLookup): ReadonlySet<string> {
    const found = this.#pattern(regex);
    if (!found.ok) return new Set();
    const pattern = found.value;
    if (pattern.version === topics.version) return pattern.matching;
    const matches = new Map<string, boolean>();
    const matching = new Set<string>();
    for (const name of topics.names()) {
      const isMatch = pattern.matches.get(name) ?? pattern.compiled.testExact(name);
      matches.set(name, isMatch);
      if (isMatch) matching.add(name);
    }
    pattern.matches = matches;
    pattern.matching = matching;
    pattern.version = topics.version;
    return matching;
  }

  #pattern(regex: string): Result<Pattern, string> {
    const known = this.#patterns.get(regex);
    if (known !== undefined) {
      this.#patterns.delete(regex);
      this.#patterns.set(regex, known);
      return ok(known);
    }
    if (regex.length > PATTERN_LENGTH_MAX)
      return failed(`${regex.length} characters are more than ${PATTERN_LENGTH_MAX}`);
    try {
      const pattern = {
        compiled: RE2JS.compile(regex),
        matches: new Map<string, boolean>(),
        matching: new Set<string>(),
        version: -1,
      };
      this.#patterns.set(regex, pattern);
      for (const oldest of this.#patterns.keys()) {
        if (this.#patterns.size <= PATTERNS_MAX) break;
        this.#patterns.delete(oldest);
      }
      return ok(pattern);
    } catch (error) {
      if (error instanceof RE2JSSyntaxException) return failed(error.getDescription());
      if (error instanceof RE2JSException) return failed(error.message);
      throw error;
    }
  }
}
