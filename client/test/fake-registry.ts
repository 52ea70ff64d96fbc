import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import type { Fetch } from "@millrace/base/world";
import avsc from "avsc";
import type { Schema } from "../src/serdes/registry/schema.ts";

interface Stored {
  readonly id: number;
  readonly schema: Schema;
}

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

interface SchemaBody {
  readonly schema: string;
  readonly schemaType?: Schema["type"];
  readonly references?: Schema["references"];
}

/** What happens to a request instead of its being answered. */
export type RegistryMishap =
  | { readonly status: number; readonly body?: string; readonly retryAfter?: string }
  | "unreachable"
  | "no answer"
  | "none";

/**
 * A schema registry in memory: as much of Confluent's REST as serdes use. Compatibility is BACKWARD, and judged for Avro
 * only.
 */
export class FakeRegistry {
  readonly url: string;
  /** "GET /schemas/ids/1", in their order. */
  readonly requests: string[] = [];
  readonly authorizations: (string | undefined)[] = [];
  readonly mishaps: RegistryMishap[] = [];
  isDown = false;
  readonly #schemas: Stored[] = [];
  readonly #subjects = new Map<string, number[]>();

  constructor(url = "http://registry:8081") {
    this.url = url;
  }

  readonly fetch: Fetch = async (url, { method, headers, body, signal }) => {
    const path = url.slice(this.url.length);
    this.requests.push(`${method} ${path}`);
    this.authorizations.push(headers["authorization"]);
    const mishap = this.isDown ? "unreachable" : (this.mishaps.shift() ?? "none");
    if (mishap === "unreachable") throw new TypeError("fetch failed: connect ECONNREFUSED");
    if (mishap === "no answer")
      return new Promise((_, reject) =>
        signal.addEventListener("abort", () => reject(new DOMException("aborted", "AbortError"))),
      );
    if (mishap !== "none") {
      const retryAfter = mishap.retryAfter ?? null;
      return {
        status: mishap.status,
        headers: { get: (name) => (name.toLowerCase() === "retry-after" ? retryAfter : null) },
        text: async () => mishap.body ?? '{"error_code":50001,"message":"the store is away"}',
      };
    }
    const answer = this.answer(method, path, body === undefined ? undefined : JSON.parse(body));
    return { status: answer.status, headers: { get: () => null }, text: async () => JSON.stringify(answer.body) };
  };

  /** @throws what it would refuse. */
  register(subject: string, schema: Schema): number {
    const { status, body } = this.#register(subject, schema);
    if (status !== 200) throw new Error(JSON.stringify(body));
    return (body as { readonly id: number }).id;
  }

  guid(id: number): string {
    return `00000000-0000-4000-8000-${id.toString(16).padStart(12, "0")}`;
  }

  answer(method: string, path: string, body: unknown): Answer {
    const [route = ""] = path.split("?");
    const parts = route.split("/").slice(1).map(decodeURIComponent);
    const [room, first = "", second, third] = parts;
    if (room === "schemas" && first === "ids" && second !== undefined && third === undefined)
      return this.#schemaBy(({ id }) => id === Number(second));
    if (room === "schemas" && first === "guids") return this.#schemaBy(({ id }) => this.guid(id) === second);
    if (room === "subjects" && method === "POST") {
      const schema = schemaOf(body as SchemaBody);
      return second === "versions" ? this.#register(first, schema) : this.#lookup(first, schema);
    }
    if (room === "subjects" && second === "versions") return this.#version(first, third ?? "");
    if (room === "compatibility") {
      const versions = this.#subjects.get(second ?? "");
      if (versions === undefined) return refusal(404, 40401, `Subject '${second}' not found.`);
      return ok({ is_compatible: this.#breaks(versions, schemaOf(body as SchemaBody)) === null });
    }
    return refusal(404, 404, `HTTP 404 Not Found: ${method} ${path}`);
  }

  #schemaBy(isIt: (stored: Stored) => boolean): Answer {
    const found = this.#schemas.find(isIt);
    if (found === undefined) return refusal(404, 40403, "Schema not found");
    return ok({ ...this.#described(found), guid: this.guid(found.id) });
  }

  #register(subject: string, schema: Schema): Answer {
    const versions = this.#subjects.get(subject) ?? [];
    const why = this.#breaks(versions, schema);
    if (why !== null)
      return refusal(409, 409, `Schema being registered is incompatible with an earlier schema: ${why}`);
    const same = this.#schemas.find(({ schema: each }) => JSON.stringify(each) === JSON.stringify(schema));
    const stored = same ?? { id: this.#schemas.length + 1, schema };
    if (same === undefined) this.#schemas.push(stored);
    if (!versions.includes(stored.id)) this.#subjects.set(subject, [...versions, stored.id]);
    return ok({ id: stored.id, guid: this.guid(stored.id) });
  }

  #lookup(subject: string, schema: Schema): Answer {
    const versions = this.#subjects.get(subject);
    if (versions === undefined) return refusal(404, 40401, `Subject '${subject}' not found.`);
    const index = versions.findIndex((id) => JSON.stringify(this.#stored(id).schema) === JSON.stringify(schema));
    return index < 0 ? refusal(404, 40403, "Schema not found") : this.#version(subject, String(index + 1));
  }

  #version(subject: string, wanted: string): Answer {
    const versions = this.#subjects.get(subject);
    if (versions === undefined) return refusal(404, 40401, `Subject '${subject}' not found.`);
    const version = wanted === "latest" ? versions.length : Number(wanted);
    const id = versions[version - 1];
    if (id === undefined) return refusal(404, 40402, `Version ${wanted} not found.`);
    return ok({ subject, version, id, guid: this.guid(id), ...this.#described(this.#stored(id)) });
  }

  #stored(id: number): Stored {
    const found = this.#schemas[id - 1];
    if (found === undefined) throw new Error(`schema ${id}`);
    return found;
  }

  #described({ schema: { type, text, references } }: Stored): object {
    return {
      schema: text,
      ...(type === "AVRO" ? {} : { schemaType: type }),
      ...(references.length === 0 ? {} : { references }),
    };
  }

  #breaks(versions: readonly number[], { type, text, references }: Schema): string | null {
    const last = versions.at(-1);
    if (last === undefined || type !== "AVRO" || references.length > 0) return null;
    try {
      avsc.Type.forSchema(JSON.parse(text)).createResolver(
        avsc.Type.forSchema(JSON.parse(this.#stored(last).schema.text)),
      );
      return null;
    } catch (error) {
      return String(error);
    }
  }
}

function schemaOf({ schema, schemaType = "AVRO", references = [] }: SchemaBody): Schema {
  return { type: schemaType, text: schema, references };
}

function ok(body: unknown): Answer {
  return { status: 200, body };
}

function refusal(status: number, code: number, message: string): Answer {
  return { status, body: { error_code: code, message } };
}

/** The registry over HTTP, for programs of others. */
export async function serveRegistry(fake: FakeRegistry): Promise<{ readonly url: string } & AsyncDisposable> {
  const server = createServer((request, response) => {
    void (async () => {
      const body = await text(request);
      const answer = fake.answer(request.method ?? "", request.url ?? "", body === "" ? undefined : JSON.parse(body));
      response.writeHead(answer.status, { "content-type": "application/vnd.schemaregistry.v1+json" });
      response.end(JSON.stringify(answer.body));
    })();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
