/** Counts what is under way; settled when nothing is left after `isUrgent` was set, which means that no more will join. */
export class Tally {
  readonly whenSettled: Promise<void>;
  readonly #resolve: () => void;
  #count = 0;
  #isUrgent = false;

  constructor() {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.whenSettled = promise;
    this.#resolve = resolve;
  }

  get isUrgent(): boolean {
    return this.#isUrgent;
  }

  set isUrgent(value: boolean) {
    this.#isUrgent = value;
    this.#look();
  }

  add(): void {
    this.#count++;
  }

  settle(): void {
    this.#count--;
    this.#look();
  }

  #look(): void {
    if (this.#isUrgent && this.#count === 0) this.#resolve();
  }
}
