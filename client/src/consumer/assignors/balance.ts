/** Topics whose subscribers are the same count as one: which of their partitions goes where does not change the numbers. */
export interface Pool {
  readonly partitionCount: number;
  /** Members by number, in rising order. */
  readonly subscribers: readonly number[];
  /** As many partitions of the pool as each subscriber keeps if nothing moves. */
  readonly kept: readonly number[];
}

/** Beyond so many steps partitions are dealt to whoever has least, and no chains are looked for: about a second. */
const stepsMax = 200_000_000;

/**
 * By pool and subscriber: how many partitions it is to have, so that members have as equal numbers as their subscriptions
 * allow, and of all such numbers those with the fewest moves.
 *
 * Partitions are placed one after the other, each along the cheapest chain (A takes it and passes one of another pool to B,
 * B one to C ...), where what counts first is how much the last one has, then how many partitions more are away from home.
 * So at every moment the numbers are the best ones for what is placed: flows of least cost by successive shortest paths.
 */
export function balancedCounts(memberCount: number, pools: readonly Pool[]): readonly (readonly number[])[] {
  const partitionCount = pools.reduce((sum, pool) => sum + pool.partitionCount, 0);
  const edgeCount = pools.reduce((sum, pool) => sum + pool.subscribers.length, 0);
  const flow = new Flow(memberCount, pools);
  const hasChains = pools.length > 1 && partitionCount * edgeCount <= stepsMax;
  for (const [index, pool] of pools.entries()) {
    for (let left = pool.partitionCount; left > 0; left--) {
      if (hasChains) flow.placeByChain(index);
      else flow.placeDirectly(index);
    }
  }
  return flow.counts;
}

const unreached = Number.POSITIVE_INFINITY;

interface Step {
  readonly pool: number;
  /** The place of the member among the subscribers of the pool. */
  readonly place: number;
}

class Flow {
  readonly counts: number[][];
  readonly #pools: readonly Pool[];
  readonly #sizes: number[];
  /** By member: the pools to which it subscribes. */
  readonly #subscriptions: readonly (readonly Step[])[];

  constructor(memberCount: number, pools: readonly Pool[]) {
    this.#pools = pools;
    this.counts = pools.map(({ subscribers }) => subscribers.map(() => 0));
    this.#sizes = Array.from({ length: memberCount }, () => 0);
    const subscriptions: Step[][] = this.#sizes.map(() => []);
    for (const [pool, { subscribers }] of pools.entries()) {
      for (const [place, member] of subscribers.entries()) subscriptions[member]?.push({ pool, place });
    }
    this.#subscriptions = subscriptions;
  }

  /** To who has least of all subscribers; among equals to who had one before. */
  placeDirectly(pool: number): void {
    let best = -1;
    let bestCost = unreached;
    for (const [place, member] of this.#subscribersOf(pool).entries()) {
      const cost = 2 * this.#sizeOf(member) + this.#costOfTaking({ pool, place });
      if (cost < bestCost) [best, bestCost] = [place, cost];
    }
    this.#give({ pool, place: best });
  }

  placeByChain(start: number): void {
    // Costs of reaching pools and members, in moves; how a pool was reached (a member gave one up), and a member.
    const poolCosts = this.#pools.map(() => unreached);
    const memberCosts = this.#sizes.map(() => unreached);
    const givenUp = new Map<number, Step>();
    const taken = new Map<number, Step>();
    poolCosts[start] = 0;
    // A queue that a pool enters again when it is reached more cheaply; there is no circle of negative cost.
    const queue = [start];
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      for (const [place, member] of this.#subscribersOf(next).entries()) {
        const cost = (poolCosts[next] ?? unreached) + this.#costOfTaking({ pool: next, place });
        if (cost >= (memberCosts[member] ?? unreached)) continue;
        memberCosts[member] = cost;
        taken.set(member, { pool: next, place });
        for (const step of this.#subscriptions[member] ?? []) {
          if (step.pool === next || this.#countOf(step) === 0) continue;
          const passing = cost - this.#gainOfGiving(step);
          if (passing >= (poolCosts[step.pool] ?? unreached)) continue;
          poolCosts[step.pool] = passing;
          givenUp.set(step.pool, step);
          if (!queue.includes(step.pool)) queue.push(step.pool);
        }
      }
    }
    this.#applyChain(start, this.#bestEnd(memberCosts), { givenUp, taken });
  }

  #bestEnd(memberCosts: readonly number[]): number {
    let best = -1;
    for (const [member, cost] of memberCosts.entries()) {
      if (cost === unreached) continue;
      const difference = best < 0 ? -1 : this.#sizeOf(member) - this.#sizeOf(best);
      if (difference < 0 || (difference === 0 && cost < (memberCosts[best] ?? unreached))) best = member;
    }
    return best;
  }

  /** From its end to its start. */
  #applyChain(
    start: number,
    end: number,
    { givenUp, taken }: { readonly givenUp: ReadonlyMap<number, Step>; readonly taken: ReadonlyMap<number, Step> },
  ): void {
    for (let member = end; ;) {
      const step = taken.get(member);
      if (step === undefined) return;
      this.#give(step);
      if (step.pool === start) return;
      const before = givenUp.get(step.pool);
      if (before === undefined) return;
      this.#take(before);
      member = this.#subscribersOf(before.pool)[before.place] ?? -1;
    }
  }

  /** A partition that it had before costs nothing. */
  #costOfTaking(step: Step): number {
    return this.#countOf(step) < this.#keptOf(step) ? 0 : 1;
  }

  #gainOfGiving(step: Step): number {
    return this.#countOf(step) > this.#keptOf(step) ? 1 : 0;
  }

  #give({ pool, place }: Step): void {
    this.#add({ pool, place }, 1);
  }

  #take({ pool, place }: Step): void {
    this.#add({ pool, place }, -1);
  }

  #add(step: Step, amount: number): void {
    const counts = this.counts[step.pool];
    const member = this.#subscribersOf(step.pool)[step.place];
    if (counts === undefined || member === undefined) return;
    counts[step.place] = this.#countOf(step) + amount;
    this.#sizes[member] = this.#sizeOf(member) + amount;
  }

  #subscribersOf(pool: number): readonly number[] {
    return this.#pools[pool]?.subscribers ?? [];
  }

  #countOf({ pool, place }: Step): number {
    return this.counts[pool]?.[place] ?? 0;
  }

  #keptOf({ pool, place }: Step): number {
    return this.#pools[pool]?.kept[place] ?? 0;
  }

  #sizeOf(member: number): number {
    return this.#sizes[member] ?? 0;
  }
}
