import type { Api } from "kafka-protocol-ts/api";
import type { Logger } from "@millrace/base/logger";
import type { Clock } from "@millrace/base/world";
import { KafkaError } from "../../errors.ts";
import type { BrokerConnection } from "../../network/broker-connection.ts";
import type { Purpose, Wire } from "../../network/wire.ts";
import { Bell } from "./bell.ts";
import { Holdings } from "./holdings.ts";
import type { GroupPlace, Owner } from "./membership.ts";
import type { MembershipSettings } from "./options.ts";
import type { Verdict } from "./verdicts.ts";

const backoffMsMin = 100;
const backoffMsMax = 1_000;
/** Telling the coordinator that it leaves is a courtesy: it would find out. */
const farewellMsMax = 5_000;

/** What a membership of either protocol stands on: its connection to the coordinator, its owner, and its end. */
export class GroupLink {
  readonly wire: Wire;
  readonly settings: MembershipSettings;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly bell: Bell;
  readonly holdings: Holdings;
  /** Nothing is begun any more. */
  isEnding = false;
  #connected: BrokerConnection | null = null;
  readonly #owner: Owner;
  readonly #purpose: Purpose;
  readonly #over = new AbortController();
  #isClosed = false;

  constructor(wire: Wire, settings: MembershipSettings, owner: Owner) {
    this.wire = wire;
    this.settings = settings;
    this.clock = wire.world.clock;
    this.logger = wire.logger.with({ group: settings.groupId });
    this.bell = new Bell(this.clock);
    this.holdings = new Holdings(owner, { ...settings, bell: this.bell, logger: this.logger });
    this.#owner = owner;
    this.#purpose = wire.newPurpose("group");
    this.onWireClosed(() => {
      this.end();
      this.holdings.lose();
    });
  }

  /** Called when the cluster is closed before this membership has ended: a cluster outlives many of them. */
  onWireClosed(call: () => void): void {
    this.wire.closed.addEventListener("abort", call, { once: true, signal: this.#over.signal });
  }

  /** So long a request may take at most that is answered at once: a session holds two attempts more. */
  get promptTimeoutMs(): number {
    return Math.min(this.wire.requestTimeoutMs, Math.ceil(this.settings.sessionTimeoutMs / 3));
  }

  /** The coordinator waits for the other members, for as long as they may take. */
  get rebalanceTimeoutMs(): number {
    return this.settings.rebalanceTimeoutMs + 5_000;
  }

  async request<Req, Res, ReqInput, ResInput>(
    api: Api<Req, Res, ReqInput, ResInput>,
    message: ReqInput | ((version: number) => ReqInput),
    timeoutMs: number,
  ): Promise<Res> {
    const connection = await this.connection();
    return connection.request(api, message, { timeoutMs });
  }

  /** Where the last request went: another one stands for a coordinator that may have been away meanwhile. */
  get connected(): BrokerConnection | null {
    return this.#connected;
  }

  async connection(): Promise<BrokerConnection> {
    const connection = await this.wire.coordinator("group", this.settings.groupId, this.#purpose);
    this.#connected = connection;
    // What was about to be asked before the end must not come behind the farewell.
    if (!this.#isClosed) return connection;
    throw new KafkaError("CLOSED", `the membership of group ${this.settings.groupId} has ended`);
  }

  /** What the verdict says of the coordinator. */
  heed(verdict: Verdict): void {
    if (verdict === "elsewhere") this.wire.forgetCoordinator("group", this.settings.groupId);
  }

  async pause(failuresCount: number): Promise<void> {
    const backoffMs = Math.min(backoffMsMax, backoffMsMin * 2 ** failuresCount);
    await this.bell.within(backoffMs * (0.8 + 0.4 * this.wire.world.random.fraction()), () => this.isEnding);
  }

  /** Everything that waits looks up and finds that it is over. */
  joined(place: GroupPlace): void {
    this.#owner.joined?.(place);
  }

  rejoins(reason: string): void {
    this.#owner.rejoins?.(reason);
  }

  end(): void {
    this.isEnding = true;
    this.bell.ring();
  }

  /** For good: the owner loses what it has, and is told why. */
  fail(error: KafkaError): void {
    const wasEnding = this.isEnding;
    this.end();
    this.holdings.lose();
    if (wasEnding) return;
    const { code, message, broker, cause } = error;
    this.logger.error("the membership of the group has failed", { error });
    this.#owner.failed(new KafkaError(code, message, { fatal: true, broker, cause }));
  }

  /** Requests under way fail, and no others are sent. */
  closeConnection(): void {
    this.#isClosed = true;
    this.#over.abort();
    this.wire.closePurpose(this.#purpose);
  }

  /** On a connection of its own: nothing of before stands in its way. */
  async farewell(say: (connection: BrokerConnection) => Promise<void>): Promise<void> {
    const { wire } = this;
    const purpose = wire.newPurpose("group");
    const said = wire
      .coordinator("group", this.settings.groupId, purpose)
      .then(say)
      .catch((error: unknown) => {
        this.logger.debug("the coordinator could not be told that a member leaves", { error });
      });
    await this.bell.done(said, farewellMsMax, () => wire.closed.aborted);
    wire.closePurpose(purpose);
  }
}
