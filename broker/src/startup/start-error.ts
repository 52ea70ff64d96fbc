import type { Result } from "@millrace/base/result";

/** Why a broker does not start; the message names the setting, file or port to look at. */
export class StartError extends Error {
  override readonly name = "StartError";
}

/** The value, or the reason why the broker does not start. */
export function orRefuse<T>(result: Result<T, string>): T {
  if (result.ok) return result.value;
  throw new StartError(result.message ?? result.failure);
}
