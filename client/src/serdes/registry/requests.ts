import type { Clock, Fetch, FetchResponse, Random } from "@millrace/base/world";
import { abortedError, KafkaError } from "../../errors.ts";
import { sentenceOf } from "../failures.ts";

export type RegistryAuth =
  | { readonly username: string; readonly password: string }
  /** A bearer token, or what gives a fresh one for each request. */
  | { readonly token: string | (() => string | Promise<string>) };

export interface RequestsOptions {
  readonly urls: readonly string[];
  readonly auth: RegistryAuth | undefined;
  readonly timeoutMs: number;
  readonly attemptsMax: number;
  readonly backoffMsMin: number;
  readonly backoffMsMax: number;
  readonly signal: AbortSignal | undefined;
}

export interface RequestsWorld {
  readonly fetch: Fetch;
  readonly clock: Clock;
  readonly random: Random;
}

/** What a registry answers when it refuses: Kafka's kind of code, and its own. */
export class RegistryRefusal extends KafkaError {
  override readonly name: string = "RegistryRefusal";
  readonly status: number;
  /** 40403: no such schema; 0 where the answer names none. */
  readonly registryCode: number;
  constructor(code: string, message: string, answer: { readonly status: number; readonly registryCode: number }) {
    super(code, message);
    this.status = answer.status;
    this.registryCode = answer.registryCode;
  }
}

const contentType = "application/vnd.schemaregistry.v1+json";

/**
 * Requests to a registry of several addresses. What may pass (no connection, 429, 5xx) is tried again: at the next address
 * at once, and once all were asked after a pause that doubles.
 */
export class Requests {
  readonly #options: RequestsOptions;
  readonly #world: RequestsWorld;
  /** The address that answered last is asked first. */
  #preferred = 0;

  constructor(options: RequestsOptions, world: RequestsWorld) {
    this.#options = options;
    this.#world = world;
  }

  /** The answer's JSON. `what` is what is asked for: "schema id 7". */
  async send(what: string, method: "GET" | "POST", path: string, body?: unknown): Promise<unknown> {
    const { urls, attemptsMax, signal } = this.#options;
    let failure: Passing | null = null;
    let backoffMs = this.#options.backoffMsMin;
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      if (attempt > 0 && attempt % urls.length === 0) {
        await this.#pause(Math.max(backoffMs, failure?.retryAfterMs ?? 0));
        backoffMs = Math.min(2 * backoffMs, this.#options.backoffMsMax);
      }
      if (signal?.aborted === true) throw abortedError(signal, `asking the registry for ${what}`);
      const index = (this.#preferred + (attempt === 0 ? 0 : 1)) % urls.length;
      this.#preferred = index;
      const url = `${urls[index] ?? ""}${path}`;
      const outcome = await this.#attempt(what, method, url, body);
      if (!(outcome instanceof Passing)) return outcome.json;
      failure = outcome;
    }
    const sentence = `${what}: the schema registry gave no answer in ${attemptsMax} attempts: ${failure?.message ?? ""}`;
    throw new KafkaError("REGISTRY_UNAVAILABLE", sentence, { retriable: true, cause: failure });
  }

  async #attempt(what: string, method: string, url: string, body: unknown): Promise<Passing | { json: unknown }> {
    const ending = new AbortController();
    const { clock, fetch } = this.#world;
    const timer = clock.schedule(this.#options.timeoutMs, () => ending.abort(), { isAwaited: true });
    const signals = this.#options.signal === undefined ? [] : [this.#options.signal];
    const signal = AbortSignal.any([ending.signal, ...signals]);
    const { promise: ended, reject } = Promise.withResolvers<never>();
    const onEnd = (): void => reject(signal.reason);
    signal.addEventListener("abort", onEnd);
    const ask = async (): Promise<Passing | { json: unknown }> => {
      const headers = await this.#headers(body !== undefined);
      const text = body === undefined ? {} : { body: JSON.stringify(body) };
      return this.#read(what, url, await fetch(url, { method, headers, signal, ...text }));
    };
    try {
      // What gives the token knows nothing of the signal.
      return await Promise.race([ask(), ended]);
    } catch (error) {
      if (error instanceof KafkaError) throw error;
      const reason = ending.signal.aborted ? `no answer within ${this.#options.timeoutMs} ms` : sentenceOf(error);
      return new Passing(`${url}: ${reason}`, { cause: error });
    } finally {
      timer.cancel();
      signal.removeEventListener("abort", onEnd);
    }
  }

  async #read(what: string, url: string, response: FetchResponse): Promise<Passing | { json: unknown }> {
    const { status } = response;
    const text = await response.text();
    const json = parsed(text);
    if (status >= 200 && status < 300) {
      if (json !== undefined) return { json };
      throw new KafkaError(
        "REGISTRY_FAILED",
        `${what}: ${url} answered with what is not JSON: is it a schema registry?`,
      );
    }
    const { error_code: registryCode = 0, message = text.slice(0, 200) } = (json ?? {}) as RefusalBody;
    if (status === 429 || status >= 500) {
      const retryAfterMs = 1_000 * Number(response.headers.get("retry-after") ?? Number.NaN);
      return new Passing(`${url}: HTTP ${status} ${message}`, {
        retryAfterMs: retryAfterMs > 0 ? Math.min(retryAfterMs, this.#options.backoffMsMax) : 0,
      });
    }
    const sentence = `${what}: the schema registry at ${url} answers ${status}${registryCode === 0 ? "" : ` (${registryCode})`}: ${message}`;
    throw new RegistryRefusal(codeOf(status), sentence, { status, registryCode });
  }

  async #headers(hasBody: boolean): Promise<Record<string, string>> {
    const { auth } = this.#options;
    const headers: Record<string, string> = { accept: `${contentType}, application/json;q=0.9` };
    if (hasBody) headers["content-type"] = contentType;
    if (auth === undefined) return headers;
    if ("token" in auth) {
      headers["authorization"] = `Bearer ${typeof auth.token === "string" ? auth.token : await auth.token()}`;
    } else {
      headers["authorization"] = `Basic ${Buffer.from(`${auth.username}:${auth.password}`).toString("base64")}`;
    }
    return headers;
  }

  async #pause(backoffMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const { clock, random } = this.#world;
    const { signal } = this.#options;
    const timer = clock.schedule(backoffMs * (0.8 + 0.4 * random.fraction()), resolve, { isAwaited: true });
    const onAbort = (): void => resolve();
    signal?.addEventListener("abort", onAbort);
    await promise;
    timer.cancel();
    // It may be that of a whole process, which many pauses would fill with listeners.
    signal?.removeEventListener("abort", onAbort);
  }
}

/** A failure that may be gone at the next attempt. */
class Passing extends Error {
  override readonly name = "Passing";
  readonly retryAfterMs: number;
  constructor(message: string, { cause, retryAfterMs = 0 }: { cause?: unknown; retryAfterMs?: number }) {
    super(message, cause === undefined ? undefined : { cause });
    this.retryAfterMs = retryAfterMs;
  }
}

interface RefusalBody {
  readonly error_code?: number;
  readonly message?: string;
}

function codeOf(status: number): string {
  if (status === 401 || status === 403) return "REGISTRY_UNAUTHORIZED";
  if (status === 404) return "SCHEMA_NOT_FOUND";
  if (status === 409) return "SCHEMA_INCOMPATIBLE";
  return status === 422 ? "INVALID_SCHEMA" : "REGISTRY_FAILED";
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
