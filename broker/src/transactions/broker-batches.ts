import type { Clock } from "@millrace/base/world";

export interface BrokerBatchesOptions<Item> {
  readonly clock: Clock;
  /** Most items of one request. */
  readonly itemsMax: number;
  /** A request holds one entry of a key: others with the same key have to fit into it, or go with the next request. */
  keyOf(item: Item): string | number;
  fitsInto(item: Item, entry: Item): boolean;
  /** Asked when the request is made. Who gives false has told the item why it does not go. */
  isDue(brokerId: number, item: Item): boolean;
  /** Sends one request and tells each item what became of it. Does not reject. */
  send(brokerId: number, items: readonly Item[]): Promise<void>;
  /** It rejected: a bug. */
  fatal(error: unknown): void;
}

/**
 * What is to be sent to other brokers, in batches: of each broker one request is under way, and what comes meanwhile goes with the next. So
 * a broker that is slow gets fewer and larger requests, and what goes to one broker keeps its order.
 *
 * The queues have no bound of their own: an item stands for a request or a transaction that others hold in memory anyway, and no
 * faster than these come.
 */
export class BrokerBatches<Item> {
  readonly #options: BrokerBatchesOptions<Item>;
  /** Of brokers that are being asked. */
  readonly #queues = new Map<number, Item[]>();

  constructor(options: BrokerBatchesOptions<Item>) {
    this.#options = options;
  }

  add(brokerId: number, item: Item): void {
    const queue = this.#queues.get(brokerId);
    if (queue !== undefined) {
      queue.push(item);
      return;
    }
    const begun = [item];
    this.#queues.set(brokerId, begun);
    this.#run(brokerId, begun).catch((error: unknown) => this.#options.fatal(error));
  }

  async #run(brokerId: number, queue: Item[]): Promise<void> {
    // What comes in the same turn goes along: the partitions of one transaction, and transactions of one group commit.
    await new Promise<void>((resolve) => this.#options.clock.afterTurn(resolve));
    while (queue.length > 0) {
      const items = this.#take(brokerId, queue);
      if (items.length > 0) await this.#options.send(brokerId, items);
    }
    this.#queues.delete(brokerId);
  }

  #take(brokerId: number, queue: Item[]): readonly Item[] {
    const { itemsMax, keyOf, fitsInto, isDue } = this.#options;
    const taken: Item[] = [];
    const left: Item[] = [];
    const entries = new Map<string | number, Item>();
    /** One of these has to wait, so those behind it do, too. */
    const held = new Set<string | number>();
    for (const item of queue.splice(0)) {
      const key = keyOf(item);
      const entry = entries.get(key);
      const hasRoom = taken.length < itemsMax && !held.has(key) && (entry === undefined || fitsInto(item, entry));
      if (!hasRoom) {
        held.add(key);
        left.push(item);
      } else if (isDue(brokerId, item)) {
        if (entry === undefined) entries.set(key, item);
        taken.push(item);
      }
    }
    queue.push(...left);
    return taken;
  }
}
