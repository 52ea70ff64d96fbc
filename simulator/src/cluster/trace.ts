/** A number for all that has happened: two runs of one seed have the same. */
export class Trace {
  #hash = 0x811c9dc5;
  #events = 0;

  get hash(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, "0");
  }
  get events(): number {
    return this.#events;
  }

  delivered(from: string, to: string, atMs: number): void {
    this.#events++;
    this.text(from);
    this.text(to);
    this.number(atMs * 1_000);
  }

  number(value: number): void {
    this.#hash = Math.imul(this.#hash ^ (value | 0), 0x01000193);
  }

  text(text: string): void {
    for (let index = 0; index < text.length; index++) this.number(text.charCodeAt(index));
  }

  bytes(bytes: Uint8Array): void {
    this.number(bytes.length);
    for (const byte of bytes) this.number(byte);
  }
}
