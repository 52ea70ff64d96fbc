import type { Connection, Network, Part } from "@millrace/base/world";
import { readRequestHeader, readResponseHeader } from "kafka-protocol-ts/header";
import { offsetCommit } from "kafka-protocol-ts/messages/08-offset-commit";
import { ByteReader } from "kafka-protocol-ts/reader";

/** One partition of an OffsetCommit, as it came to a broker. */
export interface TappedOffset {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
}

export interface TappedCommit {
  readonly clientId: string;
  readonly group: string;
  readonly offsets: readonly TappedOffset[];
}

export interface CommitListener {
  /** Of versions that speak of topics by their ids. */
  nameOf(topicId: string): string;
  onAsked(commit: TappedCommit): void;
  /** In the order in which the broker answers; `stored` are those that it took. */
  onAnswered(commit: TappedCommit, stored: readonly TappedOffset[]): void;
}

/** The network as a broker uses it, with somebody who reads along what is committed and what becomes of it. */
export function tapped(network: Network, listener: CommitListener): Network {
  return {
    connect: async (address, options) => network.connect(address, options),
    listen: async (address, onConnection) =>
      network.listen(address, (connection) => {
        tap(connection, listener);
        onConnection(connection);
      }),
  };
}

function tap(connection: Connection, listener: CommitListener): void {
  const open = new Map<number, { readonly version: number; readonly commit: TappedCommit }>();
  const requests = new Frames((frame) => {
    const reader = new ByteReader(frame);
    const { apiKey, apiVersion: version, correlationId, clientId } = readRequestHeader(reader);
    if (apiKey !== offsetCommit.key) return;
    const { groupId: group, topics } = offsetCommit.request.read(reader, version);
    const offsets = topics.flatMap(({ name, topicId, partitions }) =>
      partitions.map(({ partitionIndex: partition, committedOffset: offset }) => {
        return { topic: name === "" ? listener.nameOf(topicId) : name, partition, offset };
      }),
    );
    const commit = { clientId: clientId ?? "", group, offsets };
    open.set(correlationId, { version, commit });
    listener.onAsked(commit);
  });
  const answers = new Frames((frame) => {
    const asked = open.get(frame.readInt32BE(0));
    if (asked === undefined) return;
    open.delete(frame.readInt32BE(0));
    const reader = new ByteReader(frame);
    readResponseHeader(reader, offsetCommit, asked.version);
    const answer = offsetCommit.response.read(reader, asked.version);
    const refused = new Set<string>();
    for (const { name, topicId, partitions } of answer.topics) {
      const topic = name === "" ? listener.nameOf(topicId) : name;
      for (const each of partitions) if (each.errorCode !== 0) refused.add(`${topic}-${each.partitionIndex}`);
    }
    const { commit } = asked;
    listener.onAnswered(
      commit,
      commit.offsets.filter(({ topic, partition }) => !refused.has(`${topic}-${partition}`)),
    );
  });
  const start = connection.start.bind(connection);
  connection.start = (handlers) =>
    start({
      ...{ onEnd: () => handlers.onEnd(), onClose: (error) => handlers.onClose(error) },
      onData: (chunk) => {
        requests.add(chunk);
        handlers.onData(chunk);
      },
    });
  const send = connection.send.bind(connection);
  connection.send = (parts, onSent) => {
    for (const part of parts) addPart(answers, part);
    send(parts, onSent);
  };
}

function addPart(answers: Frames, part: Part): void {
  if (part instanceof Uint8Array) answers.add(part);
  else answers.skip(part.sizeBytes);
}

/** From a stream to frames; of one that is not whole in memory only its length counts. */
class Frames {
  readonly #take: (frame: Buffer) => void;
  #buffered = Buffer.alloc(0);
  /** Of a frame that is partly in a file. */
  #left = 0;

  constructor(take: (frame: Buffer) => void) {
    this.#take = take;
  }

  add(bytes: Uint8Array): void {
    const passed = Math.min(this.#left, bytes.length);
    this.#left -= passed;
    this.#buffered = Buffer.concat([this.#buffered, bytes.subarray(passed)]);
    while (this.#buffered.length >= 4) {
      const end = 4 + this.#buffered.readInt32BE(0);
      if (this.#buffered.length < end) return;
      this.#take(this.#buffered.subarray(4, end));
      this.#buffered = this.#buffered.subarray(end);
    }
  }

  skip(length: number): void {
    if (this.#buffered.length >= 4) {
      this.#left = 4 + this.#buffered.readInt32BE(0) - this.#buffered.length;
      this.#buffered = Buffer.alloc(0);
    }
    this.#left -= length;
  }
}
