import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { allocateProducerIds } from "kafka-protocol-ts/messages/67-allocate-producer-ids";
import type { ControllerLink } from "./controller/controller-link.ts";

/** As Kafka's broker waits for its controller. */
const timeoutMs = 30_000;

/**
 * Producer ids come in blocks from the metadata log, so that no id is ever given twice, whatever crashes: a block counts
 * as used up once it is allocated, and a restart begins the next one.
 */
export class ProducerIds {
  readonly #link: ControllerLink;
  readonly #sender: () => { readonly brokerId: number; readonly brokerEpoch: number };
  #next = 0;
  #end = 0;
  #allocating: Promise<void> | null = null;

  constructor(link: ControllerLink, sender: () => { readonly brokerId: number; readonly brokerEpoch: number }) {
    this.#link = link;
    this.#sender = sender;
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
    const answered = await this.#link.request(allocateProducerIds, this.#sender(), { timeoutMs });
    if (!answered.ok || answered.value.errorCode !== ErrorCode.NONE) throw new Error("no producer ids were given");
    const { producerIdStart, producerIdLen } = answered.value;
    this.#next = producerIdStart;
    this.#end = producerIdStart + producerIdLen;
  }
}
