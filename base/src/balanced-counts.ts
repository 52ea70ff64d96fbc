/**
 * Members and topics by number, and edges between them: edge e says that member `memberOf[e]` subscribes to topic
 * `topicOf[e]`, and keeps `kept[e]` of its partitions if nothing moves. Edges are in order of members, then of topics.
 */
export interface Subscriptions {
  readonly memberCount: number;
  readonly topicCount: number;
  readonly memberOf: Int32Array;
  readonly topicOf: Int32Array;
  readonly kept: Int32Array;
  /** By topic: partitions that nobody has. */
  readonly free: Int32Array;
}

/** So many edges are looked at by searches, together: some tens of milliseconds. What is found by then is the answer. */
const searchedEdgesMax = 4_000_000;

/**
 * By edge: how many of the topic's partitions the member is to have, so that members have as equal numbers as their
 * subscriptions allow, and as few partitions as possible leave who has them.
 *
 * A chain of moves (A gives one to B, B another one to C) may level what no single move can, so equal numbers are a flow
 * problem with convex costs. The free ones are poured out first, then single moves level each topic: both cheap, and all
 * that most groups need. Chains are searched for after that, and then cycles that change nobody's number but bring
 * partitions home. When none is left, the numbers are the best ones that exist, and so is the number of moves; only in
 * groups in which searching takes too long it may end before.
 */
export function balancedCounts(subscriptions: Subscriptions): Int32Array {
  const balance = new Balance(subscriptions);
  balance.pourFree();
  balance.levelTopics();
  balance.levelByChains();
  balance.bringHome();
  return balance.counts;
}

const none = -1;

class Balance {
  readonly counts: Int32Array;
  readonly #subscriptions: Subscriptions;
  readonly #sizes: Int32Array;
  readonly #byMember: readonly Int32Array[];
  readonly #byTopic: readonly Int32Array[];
  #edgesLeft = searchedEdgesMax;

  constructor(subscriptions: Subscriptions) {
    const { memberCount, topicCount, memberOf, topicOf, kept } = subscriptions;
    this.#subscriptions = subscriptions;
    this.counts = kept.slice();
    this.#sizes = new Int32Array(memberCount);
    for (const [edge, count] of kept.entries()) add(this.#sizes, at(memberOf, edge), count);
    this.#byMember = edgesBy(memberOf, memberCount);
    this.#byTopic = edgesBy(topicOf, topicCount);
  }

  /** To the subscribers that have least, those topics first that have the fewest subscribers to choose from. */
  pourFree(): void {
    const { free, memberOf } = this.#subscriptions;
    const order = [...this.#byTopic.entries()].sort(([, left], [, right]) => left.length - right.length);
    for (const [topic, edges] of order) {
      let left = at(free, topic);
      if (left === 0) continue;
      const sizeOf = (edge: number): number => at(this.#sizes, at(memberOf, edge));
      const rising = edges.toSorted((one, other) => sizeOf(one) - sizeOf(other) || one - other);
      // The first `width` of them stand at one level, which rises.
      let width = 0;
      for (let level = sizeOf(at(rising, 0)); left > 0; level++) {
        while (width < rising.length && sizeOf(at(rising, width)) <= level) width++;
        for (let index = 0; index < width && left > 0; index++, left--) this.#give(at(rising, index));
      }
    }
  }

  /** As long as one subscriber of a topic has two partitions more than another, and one of this topic to give. */
  levelTopics(): void {
    const roundsMax = 4;
    for (let round = 0, isChanged = true; isChanged && round < roundsMax; round++) {
      isChanged = false;
      for (const edges of this.#byTopic) {
        while (this.#levelOnce(edges)) isChanged = true;
      }
    }
  }

  #levelOnce(edges: Int32Array): boolean {
    const { memberOf, kept } = this.#subscriptions;
    let giver = none;
    let taker = none;
    let most = none;
    let least = Infinity;
    for (const edge of edges) {
      // In halves: between equals, one that can do it without a move more.
      const size = 2 * at(this.#sizes, at(memberOf, edge));
      const count = at(this.counts, edge);
      const giving = count > at(kept, edge) ? size + 1 : size;
      const taking = count < at(kept, edge) ? size - 1 : size;
      if (count > 0 && giving > most) [giver, most] = [edge, giving];
      if (taking < least) [taker, least] = [edge, taking];
    }
    if (giver === none || taker === none) return false;
    if (at(this.#sizes, at(memberOf, giver)) - at(this.#sizes, at(memberOf, taker)) < 2) return false;
    this.#take(giver);
    this.#give(taker);
    return true;
  }

  /**
   * Chains from those who have most, as short as they are. Whom such chains reach when none of them ends at one that has
   * two less is as level as can be, and no later chain leads through there.
   */
  levelByChains(): void {
    const { memberCount, topicCount } = this.#subscriptions;
    const isSettled = new Uint8Array(memberCount + topicCount);
    while (this.#edgesLeft > 0) {
      let most = none;
      for (const [member, size] of this.#sizes.entries()) {
        if (isSettled[member] === 0) most = Math.max(most, size);
      }
      if (most < 2) return;
      this.#chainsFrom(most, isSettled);
    }
  }

  /** One search in width from all who have `most`; of the tree under each of them one chain is used, so that no two meet. */
  #chainsFrom(most: number, isSettled: Uint8Array): void {
    const { memberCount, memberOf, topicOf } = this.#subscriptions;
    const rootOf = new Int32Array(isSettled.length).fill(none);
    /** The edge by which the search came to a node. */
    const cameBy = new Int32Array(isSettled.length).fill(none);
    const endOf = new Map<number, number>();
    const queue: number[] = [];
    for (const [member, size] of this.#sizes.entries()) {
      if (size !== most || isSettled[member] === 1) continue;
      rootOf[member] = member;
      queue.push(member);
    }
    const rootCount = queue.length;
    for (let index = 0; index < queue.length && endOf.size < rootCount; index++) {
      const node = queue[index] as number;
      const root = at(rootOf, node);
      if (endOf.has(root)) continue;
      const isMember = node < memberCount;
      const edges = (isMember ? this.#byMember[node] : this.#byTopic[node - memberCount]) ?? nothing;
      this.#edgesLeft -= edges.length;
      for (const edge of edges) {
        const next = isMember ? memberCount + at(topicOf, edge) : at(memberOf, edge);
        if (rootOf[next] !== none || isSettled[next] === 1 || (isMember && this.counts[edge] === 0)) continue;
        rootOf[next] = root;
        cameBy[next] = edge;
        queue.push(next);
        if (!isMember && at(this.#sizes, next) <= most - 2) {
          endOf.set(root, next);
          break;
        }
      }
    }
    if (endOf.size === 0) for (const node of queue) isSettled[node] = 1;
    for (const [root, end] of endOf) {
      for (let node = end; node !== root;) {
        const edge = at(cameBy, node);
        if (node < memberCount) this.#give(edge);
        else this.#take(edge);
        node = node < memberCount ? memberCount + at(topicOf, edge) : at(memberOf, edge);
      }
    }
  }

  /**
   * Cycles over which partitions come back to who had them, at nobody's cost. A cycle may also lead from a member to one
   * that has one partition more: the two change numbers.
   */
  bringHome(): void {
    while (this.#edgesLeft > 0 && this.#isAnyAway()) {
      const cycles = this.#cheapCycles();
      if (cycles.length === 0) return;
      for (const { edge, isGiven } of cycles) {
        if (isGiven) this.#give(edge);
        else this.#take(edge);
      }
    }
  }

  #isAnyAway(): boolean {
    return this.counts.some((count, edge) => count < at(this.#subscriptions.kept, edge));
  }

  /**
   * Bellman and Ford's search for cycles of negative cost. Nodes are members, topics and numbers of partitions; to take a
   * partition that is away from home has cost −1, to give one to a member that had none more 1. The moves of cycles that
   * do not meet, or nothing when there is none.
   */
  #cheapCycles(): readonly Move[] {
    const { memberCount, topicCount, memberOf, topicOf, kept } = this.#subscriptions;
    const levelsStart = memberCount + topicCount;
    const nodeCount = levelsStart + this.#sizes.reduce((most, size) => Math.max(most, size), 0) + 1;
    const cost = new Int32Array(nodeCount);
    const cameFrom = new Int32Array(nodeCount).fill(none);
    const cameBy = new Int32Array(nodeCount).fill(none);
    let isChanged = true;
    const step = (from: number, to: number, edge: number, extra: number): void => {
      if (at(cost, from) + extra >= at(cost, to)) return;
      cost[to] = at(cost, from) + extra;
      cameFrom[to] = from;
      cameBy[to] = edge;
      isChanged = true;
    };
    while (isChanged && this.#edgesLeft > 0) {
      isChanged = false;
      this.#edgesLeft -= this.counts.length * 2;
      for (const [edge, count] of this.counts.entries()) {
        if (count > 0) step(at(memberOf, edge), memberCount + at(topicOf, edge), edge, count > at(kept, edge) ? -1 : 0);
      }
      for (const [edge, count] of this.counts.entries()) {
        step(memberCount + at(topicOf, edge), at(memberOf, edge), edge, count >= at(kept, edge) ? 1 : 0);
      }
      for (const [member, size] of this.#sizes.entries()) {
        step(member, levelsStart + size, none, 0);
        if (size > 0) step(levelsStart + size - 1, member, none, 0);
      }
      const moves = cyclesIn(cameFrom).flatMap((nodes) =>
        nodes.flatMap((node): readonly Move[] => {
          const edge = at(cameBy, node);
          return edge === none ? [] : [{ edge, isGiven: node < memberCount }];
        }),
      );
      if (moves.length > 0) return moves;
    }
    return [];
  }

  #give(edge: number): void {
    add(this.counts, edge, 1);
    add(this.#sizes, at(this.#subscriptions.memberOf, edge), 1);
  }

  #take(edge: number): void {
    add(this.counts, edge, -1);
    add(this.#sizes, at(this.#subscriptions.memberOf, edge), -1);
  }
}

/** Along this edge the member is given one partition of the topic, or it is taken from it. */
interface Move {
  readonly edge: number;
  readonly isGiven: boolean;
}

/** In a graph in which every node names at most one before it: the nodes of each cycle. */
function cyclesIn(cameFrom: Int32Array): readonly (readonly number[])[] {
  const seenFrom = new Int32Array(cameFrom.length).fill(none);
  const cycles: number[][] = [];
  for (let start = 0; start < cameFrom.length; start++) {
    let node = start;
    while (node !== none && seenFrom[node] === none) {
      seenFrom[node] = start;
      node = at(cameFrom, node);
    }
    if (node === none || seenFrom[node] !== start) continue;
    const cycle = [node];
    for (let other = at(cameFrom, node); other !== node; other = at(cameFrom, other)) cycle.push(other);
    cycles.push(cycle);
  }
  return cycles;
}

const nothing: Int32Array = new Int32Array(0);

function edgesBy(ends: Int32Array, count: number): readonly Int32Array[] {
  const lists = Array.from({ length: count }, () => [] as number[]);
  for (const [edge, end] of ends.entries()) lists[end]?.push(edge);
  return lists.map((list) => Int32Array.from(list));
}

function at(numbers: Int32Array, index: number): number {
  return numbers[index] as number;
}

function add(numbers: Int32Array, index: number, amount: number): void {
  numbers[index] = at(numbers, index) + amount;
}
