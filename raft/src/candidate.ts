import type { Core } from "./core.ts";
import { randomTimeout } from "./follower.ts";
import type { NodeId } from "./messages.ts";

/**
 * The role of the one who asks for votes. At first only whether it would get them: one that is cut off does not raise the term
 * of those that are not (section 9.6 of the dissertation).
 */
export class Candidate {
  readonly isPreVote: boolean;
  readonly #core: Core;
  readonly #timeoutTicks: number;
  readonly #votes = new Map<NodeId, boolean>();
  #ticks = 0;

  constructor(core: Core, { isPreVote, isTransfer }: { readonly isPreVote: boolean; readonly isTransfer: boolean }) {
    this.#core = core;
    this.isPreVote = isPreVote;
    this.#timeoutTicks = randomTimeout(core);
    this.#votes.set(core.id, true);
    const { log, voters, id, term } = core;
    const { lastIndex, lastTerm } = log;
    for (const to of voters) {
      if (to === id) continue;
      if (isPreVote) core.send({ kind: "pre-vote", to, lastIndex, lastTerm }, term + 1);
      else core.send({ kind: "vote", to, lastIndex, lastTerm, isTransfer });
    }
    // Whoever leads may not count this node among the voters any more, and then nobody tells it.
    if (isPreVote) core.askToJoin();
    core.events.push({ kind: "stands", term: isPreVote ? term + 1 : term, isPreVote });
  }

  /** True: nobody has won, and it is time to try again. */
  tick(): boolean {
    return ++this.#ticks >= this.#timeoutTicks;
  }

  count(voter: NodeId, isGranted: boolean): void {
    this.#votes.set(voter, isGranted);
  }

  get outcome(): "won" | "lost" | null {
    const { voters, quorum } = this.#core;
    const given = voters.filter((voter) => this.#votes.get(voter) === true).length;
    const refused = voters.filter((voter) => this.#votes.get(voter) === false).length;
    if (given >= quorum) return "won";
    return voters.length - refused < quorum ? "lost" : null;
  }
}
