import type { KafkaError } from "../errors.ts";
import type { Batch } from "./batch.ts";
import type { Lane } from "./lane.ts";

/** Who gave the batches, and hears what became of them. */
export interface SenderHost {
  delivered(lane: Lane, batch: Batch, baseOffset: number): void;
  failed(lane: Lane, batch: Batch, error: KafkaError): void;
}

/** What a producer with a transactional id asks of its transaction. */
export interface TransactionalSending {
  readonly transactionalId: string;
  /** The last version of Produce that does not add partitions by itself, where those must be added before. */
  readonly produceVersionMax: number;
  /** Whether what is in the lane may leave; if not yet, it is offered again when it may. */
  admits(lane: Lane): boolean;
  /** A batch with numbers was dropped that the broker may lack, or have. */
  dropped(error: KafkaError): void;
}
