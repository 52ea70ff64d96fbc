/** Java's String.hashCode: clients and tools of every language compute a coordinator's partition from it. */
export function javaHashCode(text: string): number {
  let hash = 0;
  for (let index = 0; index < text.length; index++) hash = (Math.imul(hash, 31) + text.charCodeAt(index)) | 0;
  return hash;
}

/** Java's least int has no positive counterpart. */
const INT_MIN = -0x8000_0000;

/** Which partition of __consumer_offsets holds a group, or of __transaction_state a transactional id. */
export function partitionFor(id: string, partitionCount: number): number {
  const hash = javaHashCode(id);
  return (hash === INT_MIN ? 0 : Math.abs(hash)) % partitionCount;
}
