/** glibc looks at blocks of up to 32 MiB. */
const blockBytes = 24 * 1024 * 1024;
let isKept = false;

/**
 * Lets the process keep memory that it has freed, for the next large buffers, where glibc would give it back to the system at
 * once: of a reader of large answers that is most of them, and each page of the next ones costs a fault, a third of what
 * reading costs in all. glibc keeps twice as much as the largest block that was ever freed (mallopt(3),
 * M_MMAP_THRESHOLD); this takes and frees one of 24 MiB, of which no page is touched. Where memory comes from elsewhere it
 * changes nothing. Any call after the first does nothing.
 */
export function keepFreedMemory(): void {
  if (isKept) return;
  isKept = true;
  new ArrayBuffer(blockBytes).transfer(0);
}
