import { assert } from "./assert.ts";

const SLOTS_MIN = 8;

/** A queue with two ends in one array that is written in a circle: nothing is moved when the front goes. */
export class Deque<T> {
  /** Empty, or its length is a power of two, so that a mask wraps an index. */
  #slots: (T | undefined)[] = [];
  #head = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  get isEmpty(): boolean {
    return this.#length === 0;
  }

  push(value: T): void {
    if (this.#length === this.#slots.length) this.#grow();
    this.#slots[this.#indexOf(this.#length)] = value;
    this.#length++;
  }

  unshift(value: T): void {
    if (this.#length === this.#slots.length) this.#grow();
    this.#head = (this.#head - 1) & (this.#slots.length - 1);
    this.#slots[this.#head] = value;
    this.#length++;
  }

  shift(): T | undefined {
    if (this.#length === 0) return undefined;
    const value = this.#slots[this.#head];
    this.#slots[this.#head] = undefined;
    this.#head = this.#indexOf(1);
    this.#length--;
    return value;
  }

  pop(): T | undefined {
    if (this.#length === 0) return undefined;
    const index = this.#indexOf(this.#length - 1);
    const value = this.#slots[index];
    this.#slots[index] = undefined;
    this.#length--;
    return value;
  }

  /** The next that `shift` would give. */
  first(): T | undefined {
    return this.#length === 0 ? undefined : this.#slots[this.#head];
  }

  last(): T | undefined {
    return this.#length === 0 ? undefined : this.#slots[this.#indexOf(this.#length - 1)];
  }

  /** Counted from the front. */
  at(index: number): T | undefined {
    return index < 0 || index >= this.#length ? undefined : this.#slots[this.#indexOf(index)];
  }

  clear(): void {
    this.#slots = [];
    this.#head = 0;
    this.#length = 0;
  }

  *[Symbol.iterator](): Generator<T> {
    for (let index = 0; index < this.#length; index++) yield this.#slots[this.#indexOf(index)] as T;
  }

  #indexOf(distance: number): number {
    return (this.#head + distance) & (this.#slots.length - 1);
  }

  #grow(): void {
    const slots = Array.from<T | undefined>({ length: Math.max(SLOTS_MIN, this.#slots.length * 2) });
    for (let index = 0; index < this.#length; index++) slots[index] = this.#slots[this.#indexOf(index)];
    assert(this.#length < slots.length, "a grown queue has room");
    this.#slots = slots;
    this.#head = 0;
  }
}
