import { assert } from "@millrace/base/assert";
import type { Logger } from "@millrace/base/logger";
import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { Address, Clock, Random } from "@millrace/base/world";
import { ErrorCode, errorMessage } from "kafka-protocol-ts/errors";
import { raft } from "kafka-protocol-ts/messages/10001-raft";
import type { RaftRequest, RaftResponse, RaftResponseInput } from "kafka-protocol-ts/messages/10001-raft";
import type { Message, NodeId } from "raft-ts-lite";
import type { PeerConnection } from "../peers/peer-connection.ts";
import type { Peers } from "../peers/peers.ts";
import { LongPoll } from "./long-poll.ts";
import { Mailboxes } from "./mailboxes.ts";
import type { MailboxLimits } from "./mailboxes.ts";
import { MessageQueue } from "./message-queue.ts";
import { decodeMessage } from "./raft-frames.ts";

export interface TransportLimits extends MailboxLimits {
  /** Of the messages in one request or answer; one message may be larger. */
  readonly requestBytesMax: number;
  readonly requestTimeoutMs: number;
  /** A poll of this node waits so long for messages. */
  readonly pollWaitMs: number;
  /** A poll of another node waits so long at most. */
  readonly maxWaitMsMax: number;
}

export const transportLimits: TransportLimits = {
  countMax: 1_024,
  bytesMax: 16 * 1024 * 1024,
  mailboxesMax: 1_000,
  idleMs: 10_000,
  requestBytesMax: 4 * 1024 * 1024,
  requestTimeoutMs: 3_000,
  pollWaitMs: 500,
  maxWaitMsMax: 30_000,
};

export interface TransportOptions {
  /** Of this node and its directory. */
  readonly nodeId: NodeId;
  readonly clusterId: string;
  readonly peers: Peers;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly limits?: Partial<TransportLimits>;
  /** Of a node that is known to listen somewhere: a voter, or one that is about to be. */
  addressOf(nodeId: NodeId): Address | null;
  /** Who leads, as far as this node knows: others who ask for messages are told. */
  leader(): NodeId | null;
  /** Messages for this node, in the order in which their sender sent them. */
  onMessages(messages: readonly Message[]): void;
  /** An open connection to a node broke: most often its process is gone. */
  onConnectionLost(nodeId: NodeId): void;
  /** The node that is followed by polls did not answer, or refuses us; the next try comes by itself. */
  onUnreachable(nodeId: NodeId): void;
  /** The node that is followed by polls says that another one leads: that one has the messages. */
  onLeader(nodeId: NodeId): void;
  /** A bug showed itself where nobody waits for an answer: the node stops. */
  fatal(error: unknown): void;
}

/**
 * Carries raft's messages between nodes, by Raft requests. A message may be lost, which raft minds; those of one target keep their
 * order. A node that nobody knows the address of (a broker without a vote) follows by asking: what is sent to it waits in a mailbox.
 */
export class RaftTransport {
  readonly #options: TransportOptions;
  readonly #limits: TransportLimits;
  readonly #mailboxes: Mailboxes;
  readonly #outgoing = new Map<NodeId, MessageQueue>();
  readonly #watched = new WeakSet<PeerConnection>();
  /** Nodes that refuse us, and why: told once. */
  readonly #refusals = new Map<NodeId, string>();
  #poll: LongPoll | null = null;
  #isClosed = false;

  constructor(options: TransportOptions) {
    this.#options = options;
    this.#limits = { ...transportLimits, ...options.limits };
    this.#mailboxes = new Mailboxes(options.clock, this.#limits);
  }

  /** Bytes of messages that wait for nodes that come and ask. */
  get mailboxBytes(): number {
    return this.#mailboxes.sizeBytes;
  }

  /** Bytes of messages that wait for their request to be sent. */
  get outgoingBytes(): number {
    let bytes = 0;
    for (const queue of this.#outgoing.values()) bytes += queue.sizeBytes;
    return bytes;
  }

  send(messages: readonly Message[]): void {
    if (this.#isClosed) return;
    for (const message of messages) {
      assert(message.to !== this.#options.nodeId, "a node has no messages for itself");
      if (this.#options.addressOf(message.to) === null) this.#mailboxes.put(message);
      else this.#enqueue(message);
    }
  }

  #enqueue(message: Message): void {
    const { to } = message;
    const known = this.#outgoing.get(to);
    if (known !== undefined) {
      known.push(message);
      return;
    }
    const queue = new MessageQueue(this.#limits);
    queue.push(message);
    this.#outgoing.set(to, queue);
    // At the end of the turn: what raft has to say at once goes in one request.
    queueMicrotask(() => void this.#drain(to, queue).catch(this.#options.fatal));
  }

  /** One request at a time. It is given up when the node cannot be reached: what waits would be old by then. */
  async #drain(target: NodeId, queue: MessageQueue): Promise<void> {
    while (!queue.isEmpty && !this.#isClosed) {
      const connected = await this.#connect(target, "raft");
      if (!connected.ok || this.#isClosed) break;
      const messages = queue.take(this.#limits.requestBytesMax);
      const asked = await this.#ask(target, connected.value, { messages, maxWaitMs: 0 });
      if (asked === null) queue.clear();
    }
    this.#outgoing.delete(target);
  }

  async #connect(target: NodeId, purpose: string): Promise<Result<PeerConnection, "unreachable">> {
    const address = this.#options.addressOf(target);
    if (address === null) return failed("unreachable");
    const connected = await this.#options.peers.to(target, address, purpose);
    if (!connected.ok) return failed("unreachable");
    this.#watch(target, connected.value);
    return ok(connected.value);
  }

  #watch(target: NodeId, connection: PeerConnection): void {
    if (this.#watched.has(connection)) return;
    this.#watched.add(connection);
    void connection.closed.then(({ failure }) => {
      if (failure !== "closed" && !this.#isClosed) this.#options.onConnectionLost(target);
    });
  }

  /** How many messages came back; null where the node has not taken ours, as far as is known. */
  async #ask(
    target: NodeId,
    connection: PeerConnection,
    { messages, maxWaitMs }: { readonly messages: readonly Buffer[]; readonly maxWaitMs: number },
    signal?: AbortSignal,
  ): Promise<number | null> {
    const { clusterId, nodeId } = this.#options;
    const request = {
      ...{ clusterId, fromNode: nodeId, toNode: target, maxWaitMs },
      messages: messages.map((frame) => ({ frame })),
    };
    const timeoutMs = this.#limits.requestTimeoutMs + maxWaitMs;
    const answer = await connection.request(raft, request, { timeoutMs });
    if (this.#isClosed || signal?.aborted === true) return null;
    if (!answer.ok) {
      if (answer.failure === "unsupported" || answer.failure === "malformed")
        this.#refused(target, answer.message ?? answer.failure);
      return null;
    }
    const count = this.#take(target, answer.value);
    if (maxWaitMs > 0) this.#hearOfLeader(target, answer.value.leaderNode);
    return count;
  }

  #take(target: NodeId, { errorCode, errorMessage: reason, messages }: RaftResponse): number | null {
    if (errorCode !== ErrorCode.NONE) {
      this.#refused(target, reason ?? errorMessage(errorCode));
      return null;
    }
    const decoded = this.#decode(messages);
    if (!decoded.ok) {
      this.#refused(target, `it answers with what is no message: ${decoded.message}`);
      return null;
    }
    this.#refusals.delete(target);
    if (decoded.value.length > 0) this.#options.onMessages(decoded.value);
    return decoded.value.length;
  }

  #hearOfLeader(target: NodeId, leader: NodeId | null): void {
    if (leader === null || leader === target || this.#options.addressOf(leader) === null) return;
    this.#options.onLeader(leader);
  }

  #refused(target: NodeId, reason: string): void {
    if (this.#refusals.get(target) === reason) return;
    this.#refusals.set(target, reason);
    this.#options.logger.warn("a node does not take messages of the quorum", { node: target, reason });
  }

  // --- Followers that ask -----------------------------------------------------------------------------------------------

  /** This node has no vote, and hears from that one by asking it; null: from nobody. */
  follow(target: NodeId | null): void {
    if (this.#isClosed || this.#poll?.target === target) return;
    this.#poll?.stop();
    this.#poll = null;
    if (target === null) return;
    const { clock, random, onUnreachable, fatal } = this.#options;
    this.#poll = new LongPoll(target, {
      ...{ clock, random, fatal },
      ask: async (signal) => this.#askForMessages(target, signal),
      onUnreachable: () => onUnreachable(target),
    });
  }

  async #askForMessages(target: NodeId, signal: AbortSignal): Promise<number | null> {
    const connected = await this.#connect(target, "raft-poll");
    if (!connected.ok || signal.aborted) return null;
    const connection = connected.value;
    // Where it polls no more, nothing must be sent to it: the other end notices by the connection.
    const close = (): void => connection.close();
    signal.addEventListener("abort", close);
    const count = await this.#ask(target, connection, { messages: [], maxWaitMs: this.#limits.pollWaitMs }, signal);
    signal.removeEventListener("abort", close);
    return count;
  }

  // --- What others send -------------------------------------------------------------------------------------------------

  /** What the handler of the Raft API answers. */
  async receive(request: RaftRequest): Promise<RaftResponseInput> {
    const { nodeId, clusterId, onMessages } = this.#options;
    const { fromNode, toNode, messages, maxWaitMs } = request;
    if (request.clusterId !== clusterId)
      return refusal(ErrorCode.INCONSISTENT_CLUSTER_ID, `this node belongs to cluster ${clusterId}`);
    if (toNode !== null && toNode !== nodeId)
      return refusal(ErrorCode.INVALID_VOTER_KEY, `this is node ${nodeId}, and not ${toNode}: its disk is another one`);
    if (fromNode === "" || fromNode === nodeId)
      return refusal(ErrorCode.INVALID_REQUEST, `"${fromNode}" is no other node`);
    const decoded = this.#decode(messages);
    if (!decoded.ok) return refusal(ErrorCode.INVALID_REQUEST, decoded.message ?? decoded.failure);
    if (this.#isClosed) return refusal(ErrorCode.BROKER_NOT_AVAILABLE, "this node stops");
    if (decoded.value.length > 0) onMessages(decoded.value);
    if (maxWaitMs <= 0) return this.#answer([]);
    const leader = this.#options.leader();
    const hasNone = leader !== null && leader !== nodeId;
    const wait = {
      maxWaitMs: hasNone ? 0 : Math.min(maxWaitMs, this.#limits.maxWaitMsMax),
      bytesMax: this.#limits.requestBytesMax,
    };
    return this.#answer(await this.#mailboxes.take(fromNode, wait));
  }

  #answer(frames: readonly Buffer[]): RaftResponseInput {
    const messages = frames.map((frame) => ({ frame }));
    return { throttleTimeMs: 0, errorCode: ErrorCode.NONE, leaderNode: this.#options.leader(), messages };
  }

  /** All of them, or none: whoever sends one that is bad is not to be believed. */
  #decode(messages: readonly { readonly frame: Buffer }[]): Result<readonly Message[], "malformed"> {
    const decoded: Message[] = [];
    for (const { frame } of messages) {
      const message = decodeMessage(frame);
      if (!message.ok) return message;
      if (message.value.to !== this.#options.nodeId)
        return failed("malformed", `a message for node ${message.value.to}`);
      decoded.push(message.value);
    }
    return ok(decoded);
  }

  /** Sends nothing more; polls that wait are answered. The connections are the owner's of `peers`. */
  close(): void {
    this.#isClosed = true;
    this.#poll?.stop();
    this.#poll = null;
    for (const queue of this.#outgoing.values()) queue.clear();
    this.#mailboxes.close();
  }
}

function refusal(errorCode: ErrorCode, message: string): RaftResponseInput {
  return { throttleTimeMs: 0, errorCode, errorMessage: message, messages: [] };
}
