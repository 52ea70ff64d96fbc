import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import { RE2JS, RE2JSException, RE2JSSyntaxException } from "re2js";

/** Matching takes time in proportion to the pattern, so a pattern has a limit. */
const PATTERN_LENGTH_MAX = 4_096;

/** A regular expression of a client's, in the syntax of RE2 (what RE2/J takes): matching is linear in the text, whatever the pattern. */
export interface Pattern {
  /** From end to end. */
  matches(text: string): boolean;
}

/** Fails with the parser's words for what is wrong. */
export function compilePattern(regex: string): Result<Pattern, string> {
  if (regex.length > PATTERN_LENGTH_MAX)
    return failed(`${regex.length} characters are more than ${PATTERN_LENGTH_MAX}`);
  try {
    const compiled = RE2JS.compile(regex);
    return ok({ matches: (text) => compiled.testExact(text) });
  } catch (error) {
    if (error instanceof RE2JSSyntaxException) return failed(error.getDescription());
    if (error instanceof RE2JSException) return failed(error.message);
    throw error;
  }
}
