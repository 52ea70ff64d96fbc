import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { MetadataService } from "./metadata/metadata.ts";

/**
 * Producer ids come in blocks from the metadata log, so that no id is ever given twice, whatever crashes: a block counts
 * as used up once it is allocated, and a restart begins the next one.
 */
export class ProducerIds {
  readonly #metadata: MetadataService;
  #next = 0;
  #end = 0;
  #allocating: Promise<void> | null = null;

  constructor(metadata: MetadataService) {
    this.#metadata = metadata;
  }

  async next(): Promise<Result<number, "metadata-unavailable">> {
    while (this.#next === this.#end) {
      this.#allocating ??= this.#allocate().finally(() => {
        this.#allocating = null;
      });
      try {
        await this.#allocating;
      } catch {
        return failed("metadata-unavailable");
      }
    }
    return ok(this.#next++);
  }

  async #allocate(): Promise<void> {
    const { firstId, count } = await this.#metadata.allocateProducerIds();
    this.#next = firstId;
    this.#end = firstId + count;
  }
}
