import type { KafkaError } from "../errors.ts";

/**
 * What became of one of several items: calls for many items never throw because of one of them. Outcomes come in the
 * order in which the items were given.
 *
 *     for (const outcome of await admin.topics.delete(["a", "b"]))
 *       if (!outcome.ok) console.warn(outcome.item, outcome.error.code);
 */
export type Outcome<Item, Value = void> = Succeeded<Item, Value> | Failed<Item>;

/** The item with what came of it. */
export interface Succeeded<Item, Value> {
  /** As it was given. */
  readonly item: Item;
  /** Tells both kinds of outcomes apart. */
  readonly ok: true;
  /** What came of it. */
  readonly value: Value;
}

/** The item with the reason why nothing came of it. */
export interface Failed<Item> {
  /** As it was given. */
  readonly item: Item;
  /** Tells both kinds of outcomes apart. */
  readonly ok: false;
  /** Why nothing came of it. */
  readonly error: KafkaError;
}

/**
 * The values, where every item must have succeeded.
 *
 * @throws KafkaError the error of the first item that failed.
 *
 * @example
 *     const descriptions = valuesOf(await admin.topics.describe(["orders", "bills"]));
 */
export function valuesOf<Value>(outcomes: readonly Outcome<unknown, Value>[]): Value[] {
  return outcomes.map((outcome) => {
    if (!outcome.ok) throw outcome.error;
    return outcome.value;
  });
}

/** Whether a call was given several items, and so answers with outcomes. */
export function isMany<Item>(items: Item | readonly Item[]): items is readonly Item[] {
  return Array.isArray(items);
}
