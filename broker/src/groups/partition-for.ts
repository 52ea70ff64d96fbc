/** Java's String.hashCode: clients and tools of every language compute a group's partition from it. */
export function javaHashCode(text: string): number {
  let hash = 0;
  for (let index = 0; index < text.length; index++) hash = (Math.imul(hash, 31) + text.charCodeAt(index)) | 0;
  return hash;
}

/** Which partition of __consumer_offsets holds a group. */
export function partitionFor(groupId: string, partitionCount: number): number {
  return (javaHashCode(groupId) & 0x7fff_ffff) % partitionCount;
}
