/** A directed graph of numbered nodes, with edges of up to eight kinds. Built once, then searched for cycles. */
export class Graph {
  #nodes = 0;
  #edges = 0;
  #from = new Int32Array(1024);
  #to = new Int32Array(1024);
  #kinds = new Uint8Array(1024);
  /** Outgoing edges by node: those of node n are `#order[#starts[n] .. #starts[n + 1])`. */
  #starts = new Int32Array(1);
  #order = new Int32Array(0);

  addNodes(count: number): number {
    this.#nodes += count;
    return this.#nodes - count;
  }

  addEdge(from: number, to: number, kind: EdgeKind): void {
    if (this.#edges === this.#from.length) {
      this.#from = grown(this.#from);
      this.#to = grown(this.#to);
      const kinds = new Uint8Array(this.#kinds.length * 2);
      kinds.set(this.#kinds);
      this.#kinds = kinds;
    }
    this.#from[this.#edges] = from;
    this.#to[this.#edges] = to;
    this.#kinds[this.#edges++] = kind;
  }

  /** After the last edge was added: sorts them by where they begin. */
  seal(): void {
    const starts = new Int32Array(this.#nodes + 1);
    for (let edge = 0; edge < this.#edges; edge++)
      starts[this.#fromOf(edge) + 1] = (starts[this.#fromOf(edge) + 1] ?? 0) + 1;
    for (let node = 0; node < this.#nodes; node++) starts[node + 1] = (starts[node + 1] ?? 0) + (starts[node] ?? 0);
    const filled = starts.slice();
    this.#order = new Int32Array(this.#edges);
    for (let edge = 0; edge < this.#edges; edge++) {
      const from = this.#fromOf(edge);
      const slot = filled[from] ?? 0;
      this.#order[slot] = edge;
      filled[from] = slot + 1;
    }
    this.#starts = starts;
  }

  #fromOf(edge: number): number {
    return this.#from[edge] ?? 0;
  }

  #edgeAt(slot: number): number {
    return this.#order[slot] ?? 0;
  }

  /** The edge in this slot if it is of one of these kinds and leads somewhere; −1 otherwise. */
  #target(slot: number, kinds: number): number {
    const edge = this.#edgeAt(slot);
    return ((this.#kinds[edge] ?? 0) & kinds) === 0 ? -1 : (this.#to[edge] ?? -1);
  }

  /**
   * Tarjan's strongly connected components along edges of these kinds, without recursion. The number of each node's
   * component, or −1 where it stands alone.
   */
  components(kinds: number): Int32Array {
    const nodes = this.#nodes;
    const component = new Int32Array(nodes).fill(-1);
    const order = new Int32Array(nodes);
    const low = new Int32Array(nodes);
    const slots = this.#starts.slice(0, nodes);
    const isOpen = new Uint8Array(nodes);
    const stack = new Int32Array(nodes);
    const path = new Int32Array(nodes);
    let [stackSize, visited, components] = [0, 0, 0];
    for (let root = 0; root < nodes; root++) {
      if (order[root] !== 0) continue;
      let depth = 0;
      path[0] = root;
      while (depth >= 0) {
        const node = path[depth] ?? 0;
        if (order[node] === 0) {
          visited += 1;
          order[node] = visited;
          low[node] = visited;
          stack[stackSize++] = node;
          isOpen[node] = 1;
        }
        const slot = slots[node] ?? 0;
        if (slot < (this.#starts[node + 1] ?? 0)) {
          slots[node] = slot + 1;
          const next = this.#target(slot, kinds);
          if (next === -1) continue;
          if (order[next] === 0) path[++depth] = next;
          else if (isOpen[next] === 1) low[node] = Math.min(low[node] ?? 0, order[next] ?? 0);
          continue;
        }
        depth -= 1;
        const parent = path[depth];
        if (depth >= 0 && parent !== undefined) low[parent] = Math.min(low[parent] ?? 0, low[node] ?? 0);
        if (low[node] !== order[node]) continue;
        const isAlone = stack[stackSize - 1] === node;
        for (let member = -1; member !== node;) {
          member = stack[--stackSize] ?? node;
          isOpen[member] = 0;
          component[member] = isAlone ? -1 : components;
        }
        if (!isAlone) components += 1;
      }
    }
    return component;
  }

  /** In each component one edge of this kind that lies inside of it, and not inside of a component of `except`. */
  edgesInside(
    component: Int32Array,
    { kind, except }: { readonly kind: EdgeKind; readonly except: Int32Array | undefined },
  ): { readonly from: number; readonly to: number }[] {
    const found = new Map<number, { readonly from: number; readonly to: number }>();
    const areTogether = (components: Int32Array | undefined, from: number, to: number): boolean =>
      components !== undefined && components[from] !== -1 && components[from] === components[to];
    for (let edge = 0; edge < this.#edges; edge++) {
      if (this.#kinds[edge] !== kind) continue;
      const [from, to] = [this.#fromOf(edge), this.#to[edge] ?? 0];
      if (!areTogether(component, from, to) || areTogether(except, from, to)) continue;
      const number = component[from] ?? -1;
      if (!found.has(number)) found.set(number, { from, to });
    }
    return [...found.values()];
  }

  /** The shortest way along edges of these kinds, both ends included; empty where there is none. */
  path(
    from: number,
    to: number,
    { kinds, component }: { readonly kinds: number; readonly component: Int32Array },
  ): number[] {
    const cameFrom = new Map([[from, from]]);
    const queue = [from];
    for (let index = 0; index < queue.length && !cameFrom.has(to); index++) {
      const node = queue[index] ?? 0;
      for (let slot = this.#starts[node] ?? 0; slot < (this.#starts[node + 1] ?? 0); slot++) {
        const next = this.#target(slot, kinds);
        if (next === -1 || component[next] !== component[from] || cameFrom.has(next)) continue;
        cameFrom.set(next, node);
        queue.push(next);
      }
    }
    if (!cameFrom.has(to)) return [];
    const way = [to];
    for (let node = to; node !== from;) {
      node = cameFrom.get(node) ?? from;
      way.push(node);
    }
    return way.reverse();
  }
}

/** Each a bit, so that a search may follow several. */
export const EdgeKind = { writeWrite: 1, writeRead: 2, process: 4 } as const;
export type EdgeKind = (typeof EdgeKind)[keyof typeof EdgeKind];

function grown(numbers: Int32Array): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(numbers.length * 2);
  larger.set(numbers);
  return larger;
}
