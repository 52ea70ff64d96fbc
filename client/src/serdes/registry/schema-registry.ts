import { systemClock } from "@millrace/base/node/system-clock";
import { systemFetch } from "@millrace/base/node/system-fetch";
import { systemRandom } from "@millrace/base/node/system-random";
import { KafkaError } from "../../errors.ts";
import { Missing } from "./missing.ts";
import { Requests, RegistryRefusal } from "./requests.ts";
import type { RegistryAuth, RequestsWorld } from "./requests.ts";
import type { ResolvedSchema, Schema, SchemaReference, SubjectVersion } from "./schema.ts";

/** How to reach a schema registry. Times are milliseconds. */
export interface RegistryOptions {
  /** "http://registry:8081", or several addresses of one registry. */
  readonly url: string | readonly string[];
  /** Who this client says that it is. Absent: nobody asks. */
  readonly auth?: RegistryAuth;
  /** For each attempt. Default 10,000. */
  readonly timeoutMs?: number;
  /** Attempts of a request, over all addresses, before it fails with REGISTRY_UNAVAILABLE. Default 6. */
  readonly attemptsMax?: number;
  /** The first pause between rounds over the addresses; it doubles. Default 100. */
  readonly backoffMsMin?: number;
  /** Default 5,000. */
  readonly backoffMsMax?: number;
  /** What was the latest version of a subject is asked for again when it is so old. Default 300,000. */
  readonly latestMaxAgeMs?: number;
  /** That an id or a schema was not there is believed for so long, so that a bad record is not asked for in a loop. Default 1,000. */
  readonly missingMaxAgeMs?: number;
  /** Ends requests that are under way. */
  readonly signal?: AbortSignal;
  /** Another `fetch`, clock or chance than the platform's. */
  readonly world?: Partial<RequestsWorld>;
}

/**
 * A schema registry that speaks Confluent's REST. What was learned by id stays for ever, since an id never changes its
 * meaning; so a registry that is down stops nothing whose schemas are known. Who asks for what is being asked for already
 * gets that answer.
 *
 * @example
 *     const registry = new SchemaRegistry({ url: "http://localhost:8081" });
 *     const { version } = await registry.latest("orders-value");
 */
export class SchemaRegistry {
  readonly #requests: Requests;
  readonly #world: RequestsWorld;
  readonly #latestMaxAgeMs: number;
  readonly #known = new Map<string, unknown>();
  readonly #asking = new Map<string, Promise<unknown>>();
  readonly #missing: Missing;
  readonly #latest = new Map<string, { readonly found: SubjectVersion; readonly untilMs: number }>();

  /** @throws KafkaError INVALID_CONFIG, naming the option. */
  constructor(options: RegistryOptions) {
    const urls = (typeof options.url === "string" ? [options.url] : options.url).map(checkedUrl);
    if (urls.length === 0) throw new KafkaError("INVALID_CONFIG", "url: no address of a schema registry was given");
    this.#world = { fetch: systemFetch, clock: systemClock, random: systemRandom, ...options.world };
    this.#latestMaxAgeMs = options.latestMaxAgeMs ?? 300_000;
    this.#missing = new Missing(options.missingMaxAgeMs ?? 1_000);
    const { auth, timeoutMs = 10_000, attemptsMax = 6, backoffMsMin = 100, backoffMsMax = 5_000, signal } = options;
    this.#requests = new Requests(
      { urls, auth, timeoutMs, attemptsMax, backoffMsMin, backoffMsMax, signal },
      this.#world,
    );
  }

  /**
   * The schema of an id; at once where it is known.
   *
   * @throws KafkaError SCHEMA_NOT_FOUND naming id and address; REGISTRY_UNAVAILABLE (retriable), REGISTRY_UNAUTHORIZED.
   */
  schema(id: number): Schema | Promise<Schema> {
    return this.#once(`schema id ${id}`, "GET", `/schemas/ids/${id}`, schemaOf);
  }

  /** The schema of a GUID, which newer serializers write into a header. Throws as `schema`. */
  schemaByGuid(guid: string): Schema | Promise<Schema> {
    return this.#once(`schema guid ${guid}`, "GET", `/schemas/guids/${encodeURIComponent(guid)}`, schemaOf);
  }

  /** A version of a subject, which never changes. Throws as `schema`. */
  version(subject: string, version: number): SubjectVersion | Promise<SubjectVersion> {
    const path = `/subjects/${encodeURIComponent(subject)}/versions/${version}`;
    return this.#once(`version ${version} of subject ${subject}`, "GET", path, versionOf);
  }

  /** The newest version of a subject, not older than `latestMaxAgeMs`; an older one where the registry is down. Throws as `schema`. */
  latest(subject: string): SubjectVersion | Promise<SubjectVersion> {
    const known = this.#latest.get(subject);
    if (known !== undefined && known.untilMs > this.#world.clock.monotonicMs()) return known.found;
    const what = `latest version of subject ${subject}`;
    return this.#joined(what, async () => {
      try {
        const path = `/subjects/${encodeURIComponent(subject)}/versions/latest`;
        const found = versionOf(await this.#requests.send(what, "GET", path), what);
        this.#latest.set(subject, { found, untilMs: this.#world.clock.monotonicMs() + this.#latestMaxAgeMs });
        return found;
      } catch (error) {
        if (known !== undefined && error instanceof KafkaError && error.retriable) return known.found;
        throw error;
      }
    });
  }

  /**
   * Registers a schema under a subject: the same one again has the same id and makes no version.
   *
   * @throws KafkaError SCHEMA_INCOMPATIBLE where it breaks the subject's compatibility, INVALID_SCHEMA; or as `schema`.
   */
  register(
    subject: string,
    schema: Schema,
    { normalize = false }: { readonly normalize?: boolean } = {},
  ): number | Promise<number> {
    const path = `/subjects/${encodeURIComponent(subject)}/versions${normalize ? "?normalize=true" : ""}`;
    return this.#once(`registering under subject ${subject}`, "POST", path, idOf, bodyOf(schema));
  }

  /** The id of a schema that is registered under a subject. Throws as `schema`. */
  lookup(
    subject: string,
    schema: Schema,
    { normalize = false }: { readonly normalize?: boolean } = {},
  ): number | Promise<number> {
    const path = `/subjects/${encodeURIComponent(subject)}${normalize ? "?normalize=true" : ""}`;
    return this.#once(`schema under subject ${subject}`, "POST", path, idOf, bodyOf(schema));
  }

  /** Whether a schema may become the next version of a subject. Nothing of the answer is kept. */
  async isCompatible(subject: string, schema: Schema): Promise<boolean> {
    const path = `/compatibility/subjects/${encodeURIComponent(subject)}/versions/latest`;
    const what = `compatibility with subject ${subject}`;
    const answer = await this.#requests.send(what, "POST", path, bodyOf(schema));
    return (answer as { readonly is_compatible?: unknown }).is_compatible === true;
  }

  /** A schema with all that it refers to, and that they refer to. Throws as `schema`. */
  async resolve(schema: Schema): Promise<ResolvedSchema> {
    const found = new Map<string, Schema>();
    const visit = async (references: readonly SchemaReference[]): Promise<void> => {
      for (const { name, subject, version } of references) {
        if (found.has(name)) continue;
        const { schema: referred } = await this.version(subject, version);
        await visit(referred.references);
        found.set(name, referred);
      }
    };
    await visit(schema.references);
    return { schema, references: Array.from(found, ([name, referred]) => ({ name, schema: referred })) };
  }

  // --- Within -----------------------------------------------------------------------------------------------------------

  /** What never changes once it is known. */
  #once<Found>(
    what: string,
    method: "GET" | "POST",
    path: string,
    read: (answer: unknown, what: string) => Found,
    body?: unknown,
  ): Found | Promise<Found> {
    const key = body === undefined ? path : `${path} ${JSON.stringify(body)}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known as Found;
    const missing = this.#missing.find(key, this.#world.clock.monotonicMs());
    if (missing !== null) return Promise.reject(missing);
    return this.#joined(key, async () => {
      try {
        const found = read(await this.#requests.send(what, method, path, body), what);
        this.#known.set(key, found);
        return found;
      } catch (error) {
        if (error instanceof RegistryRefusal && error.status === 404)
          this.#missing.note(key, error, this.#world.clock.monotonicMs());
        throw error;
      }
    });
  }

  async #joined<Found>(key: string, ask: () => Promise<Found>): Promise<Found> {
    let asking = this.#asking.get(key);
    if (asking === undefined) {
      asking = ask().finally(() => this.#asking.delete(key));
      this.#asking.set(key, asking);
    }
    return asking as Promise<Found>;
  }
}

function checkedUrl(url: string): string {
  if (!/^https?:\/\/./.test(url) || !URL.canParse(url))
    throw new KafkaError("INVALID_CONFIG", `url: "${url}" is no http address of a schema registry`);
  return url.replace(/\/+$/, "");
}

interface Answer {
  readonly id?: unknown;
  readonly subject?: unknown;
  readonly version?: unknown;
  readonly schema?: unknown;
  readonly schemaType?: unknown;
  readonly references?: unknown;
}

function schemaOf(answer: unknown, what: string): Schema {
  const { schema, schemaType = "AVRO", references = [] } = (answer ?? {}) as Answer;
  const isType = schemaType === "AVRO" || schemaType === "PROTOBUF" || schemaType === "JSON";
  if (typeof schema === "string" && isType && Array.isArray(references))
    return { type: schemaType, text: schema, references: references as readonly SchemaReference[] };
  throw new KafkaError("REGISTRY_FAILED", `${what}: the registry's answer holds no schema of a known type`);
}

function idOf(answer: unknown, what: string): number {
  const { id } = (answer ?? {}) as Answer;
  if (typeof id === "number" && Number.isSafeInteger(id)) return id;
  throw new KafkaError("REGISTRY_FAILED", `${what}: the registry's answer holds no id`);
}

function versionOf(answer: unknown, what: string): SubjectVersion {
  const { subject, version } = (answer ?? {}) as Answer;
  if (typeof subject === "string" && typeof version === "number")
    return { subject, version, id: idOf(answer, what), schema: schemaOf(answer, what) };
  throw new KafkaError("REGISTRY_FAILED", `${what}: the registry's answer names no version`);
}

/** Avro is not named: registries that know nothing else refuse the word. */
function bodyOf({ type, text, references }: Schema): unknown {
  return {
    schema: text,
    ...(type === "AVRO" ? {} : { schemaType: type }),
    ...(references.length === 0 ? {} : { references }),
  };
}
