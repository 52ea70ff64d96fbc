/** ListTransactions v0–v1: all transactional ids coordinated here, by state, producer id and, since v1, for how long they are open (KIP-994). */
import { listTransactions } from "kafka-protocol-ts/messages/66-list-transactions";
import type { ListTransactionsResponseInput } from "kafka-protocol-ts/messages/66-list-transactions";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { codeOfTransactionRequestFailure } from "../transactions/failures.ts";
import { isTransactionState } from "../transactions/transaction.ts";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

export const listTransactionsHandler: Handler = handler(
  listTransactions,
  async ({ transactions }, request): Promise<ListTransactionsResponseInput> => {
    const { stateFilters, producerIdFilters, durationFilter } = request;
    const states = new Set(stateFilters.filter(isTransactionState));
    const unknownStateFilters = stateFilters.filter((state) => !isTransactionState(state));
    const nothing = { throttleTimeMs: 0, unknownStateFilters, transactionStates: [] };
    // Every state that was asked for is unknown: then there is nothing in them.
    if (stateFilters.length > 0 && states.size === 0) return { ...nothing, errorCode: ErrorCode.NONE };
    const listed = await transactions.coordinator.list({
      states,
      producerIds: new Set(producerIdFilters),
      openForMs: durationFilter < 0 ? null : durationFilter,
      pattern: null,
    });
    if (!listed.ok) return { ...nothing, errorCode: codeOfTransactionRequestFailure[listed.failure] };
    const transactionStates = listed.value.map(({ transactionalId, producerId, state }) => ({
      transactionalId,
      producerId,
      transactionState: state,
    }));
    return { ...nothing, errorCode: ErrorCode.NONE, transactionStates };
  },
  { versions: [0, 1] },
);
