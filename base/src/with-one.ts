/**
 * The list with one more, or a list of the one. The engine sets 17 places aside when something is pushed to an empty array; most lists
 * of a request hold one thing, and a literal takes one place.
 */
export function withOne<T>(list: T[] | null, one: T): T[] {
  if (list === null) return [one];
  list.push(one);
  return list;
}
