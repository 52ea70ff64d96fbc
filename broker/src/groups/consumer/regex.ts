import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import { RE2JS, RE2JSException, RE2JSSyntaxException } from "re2js";

/** Matching takes time in proportion to the pattern, so a pattern has a limit. */
const PATTERN_LENGTH_MAX = 4_096;
/** Patterns whose matches are remembered. */
const PATTERNS_MAX = 200;

/**
 * Patterns in RE2 syntax (what RE2/J takes): matching is linear in the name, whatever the pattern. What was once compiled
 * and matched is remembered, so that asking again, for another group or after another topic came, costs a look-up a topic.
 */
export class RegexResolver {
  /** The one that was asked for last stands last. */
  readonly #patterns = new Map<string, { readonly compiled: RE2JS; readonly matches: Map<string, boolean> }>();

  /** The parser's words for what is wrong with it, or null. */
  check(regex: string): string | null {
    const pattern = this.#pattern(regex);
    return pattern.ok ? null : pattern.failure;
  }

  /** The names that match from end to end. A pattern that cannot be read matches none. */
  resolve(regex: string, names: Iterable<string>): ReadonlySet<string> {
    const matching = new Set<string>();
    const pattern = this.#pattern(regex);
    if (!pattern.ok) return matching;
    const { compiled, matches } = pattern.value;
    const seen = new Map<string, boolean>();
    for (const name of names) {
      const isMatch = matches.get(name) ?? compiled.testExact(name);
      seen.set(name, isMatch);
      if (isMatch) matching.add(name);
    }
    // What is not there any more is forgotten.
    matches.clear();
    for (const [name, isMatch] of seen) matches.set(name, isMatch);
    return matching;
  }

  #pattern(regex: string): Result<{ readonly compiled: RE2JS; readonly matches: Map<string, boolean> }, string> {
    const known = this.#patterns.get(regex);
    if (known !== undefined) {
      this.#patterns.delete(regex);
      this.#patterns.set(regex, known);
      return ok(known);
    }
    if (regex.length > PATTERN_LENGTH_MAX)
      return failed(`${regex.length} characters are more than ${PATTERN_LENGTH_MAX}`);
    try {
      const pattern = { compiled: RE2JS.compile(regex), matches: new Map<string, boolean>() };
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
