declare const kind: unique symbol;

/** A value of type T that may only be used where its kind is asked for: an offset is not an epoch. */
export type Brand<T, Name extends string> = T & { readonly [kind]: Name };
