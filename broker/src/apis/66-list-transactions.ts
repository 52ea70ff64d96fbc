/**
 * ListTransactions v0–v2: all transactional ids coordinated here, by state, producer id, for how long they are open (v1, KIP-994), and by a
 * pattern of RE2 that the whole id matches (v2, KIP-1152).
 */
import { listTransactions } from "kafka-protocol-ts/messages/66-list-transactions";
import type { ListTransactionsResponseInput } from "kafka-protocol-ts/messages/66-list-transactions";
import { ok } from "@millrace/base/result";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { compilePattern } from "../pattern.ts";
import { codeOfTransactionRequestFailure } from "../transactions/failures.ts";
import { isKnownState, isTransactionState } from "../transactions/transaction.ts";
import { handler } from "./handler.ts";
import type { Handler } from "./handler.ts";

export const listTransactionsHandler: Handler = handler(
  listTransactions,
  async ({ transactions }, request): Promise<ListTransactionsResponseInput> => {
    const { stateFilters, producerIdFilters, durationFilter, transactionalIdPattern } = request;
    const states = new Set(stateFilters.filter(isTransactionState));
    const unknownStateFilters = stateFilters.filter((state) => !isKnownState(state));
    const nothing = { throttleTimeMs: 0, unknownStateFilters, transactionStates: [] };
    // Nothing is in any of the states that were asked for.
    if (stateFilters.length > 0 && states.size === 0) return { ...nothing, errorCode: ErrorCode.NONE };
    const isAnyId = transactionalIdPattern === null || transactionalIdPattern === "";
    const pattern = isAnyId ? ok(null) : compilePattern(transactionalIdPattern);
    if (!pattern.ok) return { ...nothing, errorCode: ErrorCode.INVALID_REGULAR_EXPRESSION };
    const listed = await transactions.coordinator.list({
      states,
      producerIds: new Set(producerIdFilters),
      openForMs: durationFilter < 0 ? null : durationFilter,
      pattern: pattern.value,
    });
    if (!listed.ok) return { ...nothing, errorCode: codeOfTransactionRequestFailure[listed.failure] };
    const transactionStates = listed.value.map(({ transactionalId, producerId, state }) => ({
      transactionalId,
      producerId,
      transactionState: state,
    }));
    return { ...nothing, errorCode: ErrorCode.NONE, transactionStates };
  },
);
