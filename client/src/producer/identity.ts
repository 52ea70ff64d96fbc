import { ErrorCode } from "kafka-protocol-ts/errors";
import { initProducerId } from "kafka-protocol-ts/messages/22-init-producer-id";
import { brokerError } from "../errors.ts";
import type { Wire } from "../network/wire.ts";

/** Who numbers the batches: with it a broker knows one that it has stored already. */
export interface ProducerIdentity {
  readonly producerId: number;
  readonly producerEpoch: number;
}

/** Of batches without numbers. */
export const noIdentity: ProducerIdentity = { producerId: -1, producerEpoch: -1 };

export const producerEpochMax = 32_767;

/** Where batches get their identity from. */
export interface Identities {
  /** Null: there is none yet, and `obtain` may change that. */
  readonly current: ProducerIdentity | null;
  /** One attempt; afterwards there is a current one. */
  obtain(): Promise<void>;
  /** Its epochs are used up. */
  useUp(identity: ProducerIdentity): void;
}

/** Without numbers a batch that is sent again may be stored twice. */
export const anonymous: Identities = {
  current: noIdentity,
  obtain: async () => {},
  useUp: () => {},
};

/** A producer id of any broker, which is of use as long as the producer is. */
export class IdempotentIdentities implements Identities {
  readonly #wire: Wire;
  #current: ProducerIdentity | null = null;
  #asking: Promise<void> | null = null;

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  get current(): ProducerIdentity | null {
    return this.#current;
  }

  /** Whoever asks meanwhile gets the same. */
  async obtain(): Promise<void> {
    if (this.#current !== null) return;
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = null;
    });
    await this.#asking;
  }

  useUp({ producerId }: ProducerIdentity): void {
    if (this.#current?.producerId === producerId) this.#current = null;
  }

  async #ask(): Promise<void> {
    const request = { transactionalId: null, transactionTimeoutMs: 60_000 };
    const { errorCode, producerId, producerEpoch } = await this.#wire.request(initProducerId, request);
    if (errorCode !== ErrorCode.NONE) throw brokerError(errorCode, "InitProducerId");
    this.#current = { producerId, producerEpoch };
  }
}
