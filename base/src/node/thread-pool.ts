/** What the platform takes when nothing is set. */
const platformSize = 4;
/** Enough for syncs in one half and reads in the other, on two cores as on sixteen: its threads wait, they do not compute. */
const ourSize = 8;
const platformSizeMax = 1024;

/**
 * Sets the size of the thread pool on which file calls run, unless the user has set UV_THREADPOOL_SIZE. The platform
 * reads the variable once, at the first use of the pool, so that entry points call this before anything else.
 */
export function setThreadPoolSize(size: number = ourSize): number {
  process.env["UV_THREADPOOL_SIZE"] ??= String(size);
  return threadPoolSize();
}

/** The number of threads that the pool has, or will have at its first use. */
export function threadPoolSize(): number {
  const text = process.env["UV_THREADPOOL_SIZE"];
  if (text === undefined) return platformSize;
  const size = Number.parseInt(text, 10);
  return Number.isNaN(size) || size <= 0 ? 1 : Math.min(size, platformSizeMax);
}
