import type { Fetch } from "../world.ts";

/** The platform's own HTTP client. */
export const systemFetch: Fetch = async (url, request) => fetch(url, { ...request });
