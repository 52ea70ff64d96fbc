/**
 * Why another node gave no answer:
 * - unreachable: no connection came about
 * - lost: the connection broke before the answer
 * - timed-out: no answer in time; the connection is closed, since its place in the order is lost
 * - malformed: what came is no answer
 * - unsupported: the two nodes share no version of the API, or none that can say what is to be said
 * - busy: too many requests of this connection have no answer yet
 * - closed: this node has closed the connection
 */
export type PeerFailure = "unreachable" | "lost" | "timed-out" | "malformed" | "unsupported" | "busy" | "closed";
