import { describe, expect, onTestFinished, test } from "vitest";
import { NetworkError } from "@millrace/base/world";
import type { Address, Connection, Disk, FileSlice, Listener, Network } from "@millrace/base/world";

export interface NetworkUnderTest {
  readonly network: Network;
  readonly disk: Disk;
  /** An existing, empty directory. */
  readonly directory: string;
  /** A host that the network knows. */
  readonly host: string;
  /** Lets time go by, where a test must make it; elsewhere it does nothing. */
  readonly passTime: () => Promise<void>;
}

/** The largest chunk any network gives at a time. */
const chunkBytesMax = 256 * 1024;

/** One end of a connection, and all that came to it. */
export class End {
  readonly connection: Connection;
  readonly chunks: Buffer[] = [];
  hasEnded = false;
  closes = 0;
  error: Error | null = null;
  #receivedBytes = 0;
  #wake = Promise.withResolvers<void>();

  constructor(connection: Connection, options: { readonly isPaused?: boolean; readonly answersEnd?: boolean } = {}) {
    this.connection = connection;
    connection.start({
      onData: (chunk) => {
        expect(this.closes).toBe(0);
        this.chunks.push(Buffer.from(chunk));
        this.#receivedBytes += chunk.length;
        this.#changed();
      },
      onEnd: () => {
        this.hasEnded = true;
        if (options.answersEnd !== false) connection.end();
        this.#changed();
      },
      onClose: (error) => {
        this.closes++;
        this.error = error;
        this.#changed();
      },
    });
    if (options.isPaused === true) connection.pause();
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }

  get text(): string {
    return this.bytes.toString("latin1");
  }

  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  async until(condition: (end: this) => boolean): Promise<void> {
    while (!condition(this)) await this.#wake.promise;
  }

  received(sizeBytes: number): Promise<void> {
    return this.until(() => this.#receivedBytes >= sizeBytes);
  }

  closed(): Promise<void> {
    return this.until(() => this.closes > 0);
  }

  #changed(): void {
    this.#wake.resolve();
    this.#wake = Promise.withResolvers();
  }
}

/** A slice that counts how often it was given back. */
export class CountedSlice implements FileSlice {
  readonly file: FileSlice["file"];
  readonly position: number;
  readonly sizeBytes: number;
  releases = 0;
  onRelease: () => void = () => undefined;

  constructor(file: FileSlice["file"], position: number, sizeBytes: number) {
    this.file = file;
    this.position = position;
    this.sizeBytes = sizeBytes;
  }

  release(): void {
    this.releases++;
    this.onRelease();
  }
}

/** A listener whose connections a test receives one by one. */
export async function listening(
  network: Network,
  host: string,
): Promise<{ listener: Listener; address: Address; accepted: () => Promise<Connection> }> {
  const waiting: ((connection: Connection) => void)[] = [];
  const connections: Connection[] = [];
  const listener = await network.listen({ host, port: 0 }, (connection) => {
    const next = waiting.shift();
    if (next === undefined) connections.push(connection);
    else next(connection);
  });
  onTestFinished(() => listener.close());
  return {
    listener,
    address: listener.address,
    accepted: () => {
      const connection = connections.shift();
      if (connection !== undefined) return Promise.resolve(connection);
      return new Promise((resolve) => {
        waiting.push(resolve);
      });
    },
  };
}

/** Both ends of a new connection. */
export async function connected(
  { network, host }: Pick<NetworkUnderTest, "network" | "host">,
  options: {
    readonly client?: ConstructorParameters<typeof End>[1];
    readonly server?: ConstructorParameters<typeof End>[1];
  } = {},
): Promise<{ client: End; server: End }> {
  const { address, accepted } = await listening(network, host);
  const client = new End(await network.connect(address, { timeoutMs: 5000 }), options.client);
  const server = new End(await accepted(), options.server);
  onTestFinished(() => {
    client.connection.destroy();
    server.connection.destroy();
  });
  return { client, server };
}

/** What every Network does, whichever world it belongs to. */
export function networkCases(name: string, makeNetwork: () => Promise<NetworkUnderTest>): void {
  describe(`${name} is a network`, () => {
    conversationCases(makeNetwork);
    closingCases(makeNetwork);
    sliceCases(makeNetwork);
    addressCases(makeNetwork);
  });
}

function conversationCases(makeNetwork: () => Promise<NetworkUnderTest>): void {
  test("bytes arrive in order, both ways, and each part is reported when it has left", async () => {
    const { client, server } = await connected(await makeNetwork());
    const sent: string[] = [];
    client.connection.send([Buffer.from("one "), Buffer.from("two ")], () => sent.push("first"));
    client.connection.send([], () => sent.push("nothing"));
    client.connection.send([Buffer.from("three")], () => sent.push("second"));
    expect(client.connection.queuedBytes).toBe(13);
    await server.received(13);
    expect(server.text).toBe("one two three");
    server.connection.send([Buffer.from("answer")]);
    await client.received(6);
    expect(client.text).toBe("answer");
    expect(sent).toEqual(["first", "nothing", "second"]);
    expect([client.connection.queuedBytes, server.connection.queuedBytes]).toEqual([0, 0]);
  });

  test("each end knows where it is and who is at the other end", async () => {
    const { client, server } = await connected(await makeNetwork());
    expect(client.connection.remote).toEqual(server.connection.local);
    expect(client.connection.local).toEqual(server.connection.remote);
  });

  test("many parts of many sizes arrive as they were sent", async () => {
    const { client, server } = await connected(await makeNetwork());
    const parts = Array.from({ length: 400 }, (_, index) => Buffer.alloc((index * 7919) % 40_000, index));
    for (let index = 0; index < parts.length; index += 4) client.connection.send(parts.slice(index, index + 4));
    const expected = Buffer.concat(parts);
    await server.received(expected.length);
    expect(server.bytes.equals(expected)).toBe(true);
  });

  test("what is sent from the report of a sent part follows it", async () => {
    const { client, server } = await connected(await makeNetwork());
    const next = (count: number): void => {
      if (count > 0) client.connection.send([Buffer.from(String(count % 10))], () => next(count - 1));
    };
    next(25);
    await server.received(25);
    expect(server.text).toBe("5432109876543210987654321");
  });

  test("a receiver that has paused takes no more, the sender's queue shows it, and all arrives in the end", async () => {
    const { client, server } = await connected(await makeNetwork(), { server: { isPaused: true } });
    const block = Buffer.alloc(1 << 20, 1);
    let left = 0;
    for (let count = 0; count < 32; count++) client.connection.send([block], () => left++);
    client.connection.send([Buffer.from("end")]);
    const other = await connected(await makeNetwork());
    other.client.connection.send([Buffer.from("x")]);
    await other.server.received(1);
    expect(left).toBeLessThan(32);
    expect(client.connection.queuedBytes).toBeGreaterThan(0);
    expect(server.receivedBytes).toBeLessThanOrEqual(chunkBytesMax);
    server.connection.resume();
    await server.received((32 << 20) + 3);
    expect(server.bytes.toString("latin1", 32 << 20)).toBe("end");
  });

  test.each(["client", "server"] as const)("a %s that resumes and pauses in one turn has paused", async (side) => {
    const ends = await connected(await makeNetwork(), { client: { isPaused: true } });
    const receiver = ends[side];
    const sender = side === "client" ? ends.server : ends.client;
    receiver.connection.resume();
    receiver.connection.pause();
    const block = Buffer.alloc(1 << 20, 1);
    for (let count = 0; count < 16; count++) sender.connection.send([block]);
    const other = await connected(await makeNetwork());
    for (let count = 1; count <= 50; count++) {
      other.client.connection.send([Buffer.from("x")]);
      await other.server.received(count);
    }
    expect(receiver.receivedBytes).toBeLessThanOrEqual(chunkBytesMax);
    receiver.connection.resume();
    await receiver.received(16 << 20);
  });

  test("no byte is read before an end is started", async () => {
    const { network, host } = await makeNetwork();
    const { address, accepted } = await listening(network, host);
    const client = new End(await network.connect(address, { timeoutMs: 5000 }));
    client.connection.send([Buffer.from("early")]);
    const connection = await accepted();
    client.connection.end();
    const server = new End(connection);
    await server.closed();
    expect(server.text).toBe("early");
    expect(server.hasEnded).toBe(true);
  });
}

function closingCases(makeNetwork: () => Promise<NetworkUnderTest>): void {
  test("an end sends what is queued, the other hears of it, and both close without an error", async () => {
    const { client, server } = await connected(await makeNetwork());
    client.connection.send([Buffer.alloc(3 << 20, 5), Buffer.from("last")]);
    client.connection.end();
    client.connection.end();
    client.connection.send([Buffer.from("too late")]);
    await Promise.all([client.closed(), server.closed()]);
    expect(server.receivedBytes).toBe((3 << 20) + 4);
    expect(server.hasEnded).toBe(true);
    expect([client.error, server.error, client.closes, server.closes]).toEqual([null, null, 1, 1]);
  });

  test("an answer to a peer that will send no more is no error", async () => {
    const { client, server } = await connected(await makeNetwork(), { server: { answersEnd: false } });
    client.connection.send([Buffer.from("last question")]);
    client.connection.end();
    await server.until(() => server.hasEnded);
    expect(server.text).toBe("last question");
    server.connection.send([Buffer.from("answer")]);
    server.connection.end();
    await Promise.all([client.closed(), server.closed()]);
    expect([client.error, server.error]).toEqual([null, null]);
  });

  test("a destroyed connection closes once, with its reason, and its peer learns of it", async () => {
    const { client, server } = await connected(await makeNetwork());
    const reason = new Error("bad frame");
    server.connection.destroy(reason);
    server.connection.destroy(new Error("another reason"));
    server.connection.send([Buffer.from("never")], () => expect.unreachable("nothing is sent after a close"));
    await Promise.all([server.closed(), client.closed()]);
    expect(server.error).toBe(reason);
    expect([server.closes, client.closes]).toEqual([1, 1]);
    server.connection.end();
    server.connection.destroy();
    expect(server.connection.queuedBytes).toBe(0);
  });

  test("an end that its peer does not answer closes all the same", async () => {
    const { passTime, ...rest } = await makeNetwork();
    const { client, server } = await connected(rest, { server: { answersEnd: false } });
    client.connection.end();
    await server.until(() => server.hasEnded);
    await passTime();
    await client.closed();
    expect(client.error).toBeNull();
  });

  test("a connection that closed before it was started tells so", async () => {
    const { network, host } = await makeNetwork();
    const { address, accepted } = await listening(network, host);
    const [connection, client] = await Promise.all([accepted(), network.connect(address, { timeoutMs: 5000 })]);
    connection.destroy();
    const other = new End(client);
    await other.closed();
    const late = new End(connection);
    await late.closed();
    expect(late.closes).toBe(1);
  });
}

function sliceCases(makeNetwork: () => Promise<NetworkUnderTest>): void {
  test("slices and buffers arrive in the order in which they were queued", async () => {
    const { disk, directory, ...rest } = await makeNetwork();
    const { client, server } = await connected(rest);
    const content = Buffer.from(Array.from({ length: 3 << 20 }, (_, index) => (index * 31 + (index >> 8)) & 0xff));
    const file = await disk.open(`${directory}/log`, "create");
    await file.write([content], 0);
    const ranges = [
      [0, 10],
      [0, content.length],
      [5, 0],
      [4095, 2],
      [1000, 40_000],
      [100, 32 * 1024],
      [content.length - 1, 1],
      [70_000, 1 << 20],
    ] as const;
    const slices = ranges.map(([position, sizeBytes]) => new CountedSlice(file, position, sizeBytes));
    const expected: Buffer[] = [];
    let reports = 0;
    for (const [index, slice] of slices.entries()) {
      const head = Buffer.from(`head of ${index}`);
      const send = [head, slice];
      server.connection.send(send, () => {
        reports++;
        // Some later ones may be in memory already.
        expect(slices.slice(0, index + 1).every(({ releases }) => releases === 1)).toBe(true);
      });
      expected.push(head, content.subarray(slice.position, slice.position + slice.sizeBytes));
    }
    const all = Buffer.concat(expected);
    expect(server.connection.queuedBytes).toBe(all.length);
    await client.received(all.length);
    expect(client.bytes.equals(all)).toBe(true);
    server.connection.end();
    await server.closed();
    expect(reports).toBe(slices.length);
    expect(server.connection.queuedBytes).toBe(0);
    await file.close();
  });

  test("a slice is given back once when the connection goes before it, while it is sent, and after", async () => {
    const { disk, directory, ...rest } = await makeNetwork();
    const file = await disk.open(`${directory}/log`, "create");
    const sizeBytes = 24 << 20;
    await file.write([Buffer.alloc(sizeBytes, 3)], 0);
    for (const destroyAt of [0, 1, 5 << 20]) {
      const { client, server } = await connected(rest);
      const slices = [1, 2, 3].map(() => new CountedSlice(file, 0, sizeBytes));
      for (const slice of slices) server.connection.send([slice]);
      await client.received(destroyAt);
      client.connection.destroy();
      // A sender that has nothing to say learns of it from its input, as a broker does.
      await server.closed();
      const after = new CountedSlice(file, 0, 10);
      server.connection.send([after]);
      await Promise.all(slices.map((slice) => released(slice)));
      expect([...slices, after].map(({ releases }) => releases)).toEqual([1, 1, 1, 1]);
    }
    await file.close();
  });

  test("a slice that promises more than its file has closes the connection", async () => {
    const { disk, directory, ...rest } = await makeNetwork();
    const file = await disk.open(`${directory}/log`, "create");
    await file.write([Buffer.alloc(100_000)], 0);
    for (const sizeBytes of [100_001, 400_000, 5 << 20]) {
      const { client, server } = await connected(rest);
      const slice = new CountedSlice(file, 0, sizeBytes);
      server.connection.send([Buffer.from("head"), slice], () => expect.unreachable("it cannot be sent"));
      await Promise.all([server.closed(), client.closed()]);
      expect(server.error?.message).toContain("shorter than its slice");
      expect(slice.releases).toBe(1);
    }
    await file.close();
  });
}

function addressCases(makeNetwork: () => Promise<NetworkUnderTest>): void {
  test("a port in use is named", async () => {
    const { network, host } = await makeNetwork();
    const { address } = await listening(network, host);
    const error = await network.listen(address, () => undefined).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(NetworkError);
    expect(error).toMatchObject({
      code: "EADDRINUSE",
      message: `port ${address.port} on ${host} is already in use`,
    });
  });

  test("a listener that has closed refuses, and its connections go on", async () => {
    const { network, host } = await makeNetwork();
    const { listener, address, accepted } = await listening(network, host);
    const client = new End(await network.connect(address, { timeoutMs: 5000 }));
    const server = new End(await accepted());
    await listener.close();
    await listener.close();
    await expect(network.connect(address, { timeoutMs: 5000 })).rejects.toMatchObject({
      code: "ECONNREFUSED",
      message: `${address.host}:${address.port} refused the connection: nothing listens there`,
    });
    client.connection.send([Buffer.from("still here")]);
    await server.received(10);
    const again = await network.listen(address, () => undefined);
    await again.close();
    client.connection.destroy();
    await server.closed();
  });

  test("connecting can be given up", async () => {
    const { network, host } = await makeNetwork();
    const { address } = await listening(network, host);
    const signal = AbortSignal.abort();
    const attempt = network.connect(address, { timeoutMs: 5000, signal });
    await expect(attempt).rejects.toMatchObject({ name: "NetworkError", code: "ABORT_ERR" });
  });
}

function released(slice: CountedSlice): Promise<void> {
  return new Promise((resolve) => {
    if (slice.releases > 0) resolve();
    else slice.onRelease = resolve;
  });
}
