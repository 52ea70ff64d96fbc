import avsc from "avsc";
import type { Type } from "avsc";

const { types } = avsc;

/** So many items that take no byte at all (null, an empty record) a value may hold. */
const emptyItemsMax = 10_000;

/**
 * Walks a value by the schema it was written with, and believes no length: avsc would try to make an array of as many
 * items as seven damaged bytes ask for. After it avsc reads bytes that are known to be whole.
 *
 * @throws Error with what is wrong and where.
 */
export function checkAvro(type: Type, bytes: Buffer, position: number): void {
  const walk = new Walk(bytes, position);
  walk.value(type);
  if (walk.position !== bytes.length) throw new Error(`${bytes.length - walk.position} bytes follow the value`);
}

class Walk {
  readonly #bytes: Buffer;
  position: number;
  #emptyItems = 0;

  constructor(bytes: Buffer, position: number) {
    this.#bytes = bytes;
    this.position = position;
  }

  value(type: Type): void {
    if (type instanceof types.RecordType) for (const field of type.fields) this.value(field.type);
    else if (type instanceof types.ArrayType) this.#items(() => this.value(type.itemsType));
    else if (type instanceof types.MapType)
      this.#items(() => {
        this.#skip(this.#varint());
        this.value(type.valuesType);
      });
    else if (type instanceof types.UnwrappedUnionType || type instanceof types.WrappedUnionType)
      this.value(this.#one(type.types));
    else if (type instanceof types.LogicalType) this.value(type.underlyingType);
    else if (type instanceof types.EnumType) this.#one(type.symbols);
    else if (type instanceof types.FixedType) this.#skip(type.size);
    else if (type instanceof types.StringType || type instanceof types.BytesType) this.#skip(this.#varint());
    else if (type instanceof types.NullType) return;
    else if (type instanceof types.BooleanType) this.#skip(1);
    else if (type instanceof types.FloatType) this.#skip(4);
    else if (type instanceof types.DoubleType) this.#skip(8);
    else this.#skipVarint();
  }

  #items(item: () => void): void {
    for (;;) {
      let count = this.#varint();
      if (count === 0) return;
      if (count < 0) {
        count = -count;
        this.#varint();
      }
      const begin = this.position;
      item();
      if (this.position === begin) {
        this.#emptyItems += count;
        if (this.#emptyItems > emptyItemsMax) throw new Error(`${this.#emptyItems} items that take no bytes`);
      } else for (let index = 1; index < count; index++) item();
    }
  }

  #one<Choice>(choices: readonly Choice[]): Choice {
    const index = this.#varint();
    const found = choices[index];
    if (found === undefined) throw new Error(`choice ${index} of ${choices.length} at byte ${this.position}`);
    return found;
  }

  #skip(count: number): void {
    const isThere = count >= 0 && count <= this.#bytes.length - this.position;
    if (!isThere) throw new Error(`${count} bytes at byte ${this.position} of ${this.#bytes.length}`);
    this.position += count;
  }

  #skipVarint(): void {
    for (let length = 1; length <= 10; length++) {
      const byte = this.#bytes[this.position++];
      if (byte === undefined) throw new Error(`it ends within a number`);
      if (byte < 0x80) return;
    }
    throw new Error(`a number of more than 10 bytes at byte ${this.position}`);
  }

  /** Zig-zag. What is beyond a safe integer is no length that could be true. */
  #varint(): number {
    const begin = this.position;
    this.#skipVarint();
    let value = 0;
    for (let at = this.position - 1; at >= begin; at--) value = value * 0x80 + ((this.#bytes[at] ?? 0) & 0x7f);
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }
}
