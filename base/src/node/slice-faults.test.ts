import fs from "node:fs";
import { createRequire } from "node:module";
import net from "node:net";
import type { AddressInfo, OnReadOpts } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import tls from "node:tls";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { cachedReadBytesMax, errno, Native } from "@millrace/base/node/native";
import type { NativeCalls } from "@millrace/base/node/native";
import { CatchUpPacer } from "@millrace/base/node/catch-up";
import { NodeDisk } from "@millrace/base/node/node-disk";
import { readShared, SharedReads } from "@millrace/base/node/shared-reads";
import { systemClock } from "@millrace/base/node/system-clock";
import { TcpConnection } from "@millrace/base/node/tcp-connection";
import { Prng } from "@millrace/base/prng";
import { CountedSlice, End } from "@millrace/base/test/network-cases";
import type { DiskFile } from "@millrace/base/world";

/**
 * What can go wrong while a slice is sent. Every case ends in a comparison of all bytes that came to the peer with those
 * that were promised, and in a count of the leases given back.
 */
const root = fs.mkdtempSync(join(tmpdir(), "millrace-slice-faults-"));
const native = new Native({ isWanted: true });
const real = native.calls;
const disk = new NodeDisk({ native });
const content = new Prng(3).bytes(9_000_000);
let file: DiskFile;

beforeAll(async () => {
  file = await disk.open(join(root, "log"), "create");
  await file.write([content], 0);
});

afterAll(async () => {
  await file.close();
  fs.rmSync(root, { recursive: true });
});

// --- Both ends -------------------------------------------------------------------------------------------------------

/** Over TLS the native calls are there, and must not be used for the socket. */
type Way = "by sendfile" | "copied" | "over TLS";
const ways: readonly Way[] = real === null ? ["copied", "over TLS"] : ["by sendfile", "copied", "over TLS"];

interface Ends {
  readonly connection: TcpConnection;
  readonly server: End;
  readonly peer: Peer;
  /** As setsockopt(2) takes it; the kernel has a least size of its own. */
  boundSendBuffer(sizeBytes: number): void;
}

/** The other side: it keeps what came, and can go away in every manner. */
class Peer {
  readonly raw: net.Socket;
  /** The raw socket, or TLS over it. */
  readonly socket: net.Socket;
  readonly chunks: Buffer[] = [];
  receivedBytes = 0;
  isClosed = false;
  #wake = Promise.withResolvers<void>();

  constructor(raw: net.Socket, socket: net.Socket) {
    this.raw = raw;
    this.socket = socket;
    for (const each of new Set([raw, socket])) each.on("error", () => undefined);
    socket.on("data", (chunk: Buffer) => this.take(chunk));
    for (const each of new Set([raw, socket]))
      each.on("close", () => {
        this.isClosed = true;
        this.#changed();
      });
    onTestFinished(() => this.leave());
  }

  take(chunk: Buffer): void {
    this.chunks.push(Buffer.from(chunk));
    this.receivedBytes += chunk.length;
    this.#changed();
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }

  async received(sizeBytes: number): Promise<void> {
    while (this.receivedBytes < sizeBytes && !this.isClosed) await this.#wake.promise;
  }

  async closed(): Promise<void> {
    while (!this.isClosed) await this.#wake.promise;
  }

  /** The kernel of the other end knows at once; the other end itself at its next call. */
  reset(): void {
    this.raw.resetAndDestroy();
  }

  leave(): void {
    for (const each of new Set([this.socket, this.raw])) each.destroy();
  }

  #changed(): void {
    this.#wake.resolve();
    this.#wake = Promise.withResolvers();
  }
}

/** TLS by a shared key, so that the test needs no certificate. */
const key = Buffer.alloc(32, 7);
const secret = { ciphers: "PSK", maxVersion: "TLSv1.2" } as const;

async function connect(
  way: Way,
  options: { readonly calls?: Partial<NativeCalls>; readonly readBytes?: () => number } = {},
): Promise<Ends> {
  const calls = way === "copied" || real === null ? null : { ...real, ...options.calls };
  const accepted = Promise.withResolvers<net.Socket>();
  const listener = net.createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, accepted.resolve);
  await new Promise<void>((resolve) => void listener.listen(0, "127.0.0.1", resolve));
  const { port } = listener.address() as AddressInfo;

  let peer: Peer | null = null;
  const { readBytes } = options;
  // So many bytes a call of read(2), and not what the platform finds good.
  const onread = {
    buffer: () => Buffer.allocUnsafe(readBytes?.() ?? 1),
    callback: (count: number, buffer: Buffer) => {
      peer?.take(buffer.subarray(0, count));
      return true;
    },
  } as unknown as OnReadOpts;
  const raw = net.connect({
    port,
    host: "127.0.0.1",
    ...(readBytes === undefined || way === "over TLS" ? {} : { onread }),
  });
  const socket = await accepted.promise;
  const descriptor = descriptorOf(socket);
  const boundSendBuffer = (sizeBytes: number): void => real?.setSendBuffer(descriptor, sizeBytes);
  const reads = new SharedReads();
  let inner: net.Socket;
  if (way === "over TLS") {
    const secured = new tls.TLSSocket(socket, {
      isServer: true,
      pskCallback: () => key,
      ...secret,
    } as tls.TLSSocketOptions);
    const clear = tls.connect({
      socket: raw,
      pskCallback: () => ({ psk: key, identity: "peer" }),
      checkServerIdentity: () => undefined,
      ...secret,
    });
    await Promise.all([
      new Promise((resolve) => void secured.once("secure", resolve)),
      new Promise((resolve) => void clear.once("secureConnect", resolve)),
    ]);
    secured.on("data", (chunk: Buffer) => reads.receive(chunk));
    secured.pause();
    peer = new Peer(raw, clear);
    inner = secured;
  } else {
    inner = readShared(socket, listener, reads);
    peer = new Peer(raw, raw);
  }
  listener.close();
  const connection = new TcpConnection(inner, { calls }, reads, new CatchUpPacer(systemClock));
  onTestFinished(() => connection.destroy());
  return { connection, server: new End(connection), peer, boundSendBuffer };
}

function descriptorOf(socket: net.Socket): number {
  return (socket as unknown as { readonly _handle: { readonly fd: number } })._handle.fd;
}

/** Every socket that was ready has had its turn, more than once. */
async function turns(): Promise<void> {
  for (let count = 0; count < 5; count++) await new Promise((resolve) => void setImmediate(resolve));
}

/** The connection has sent what the sockets between it and its peer take. */
async function stuck(connection: TcpConnection): Promise<void> {
  for (let before = -1; before !== connection.queuedBytes;) {
    before = connection.queuedBytes;
    await turns();
    // What is read on another thread takes as long as it takes.
    await fs.promises.stat(root);
  }
}

// --- A full socket ---------------------------------------------------------------------------------------------------

describe.runIf(real !== null)("a slice by sendfile goes on at the right byte", () => {
  /** Sends slices each of which is met by `take`: how many of the wanted bytes the socket takes, 0 for none. */
  async function sendAll(
    slices: readonly CountedSlice[],
    take: (position: number, sizeBytes: number) => number,
  ): Promise<boolean> {
    const { connection, peer } = await connect("by sendfile", {
      calls: {
        sendfile(socketFd, fileFd, position, sizeBytes) {
          const taken = Math.min(take(position, sizeBytes), sizeBytes);
          return taken === 0 ? -errno.EAGAIN : real!.sendfile(socketFd, fileFd, position, taken);
        },
      },
    });
    let areEqual = true;
    // A part at a time, so that not all of it is kept.
    for (let from = 0; from < slices.length; from += 256) {
      const part = slices.slice(from, from + 256);
      for (const [index, slice] of part.entries())
        connection.send([Buffer.from(`<${from + index}`), slice, Buffer.from(">")]);
      const expected = Buffer.concat(
        part.flatMap(({ position, sizeBytes }, index) => [
          Buffer.from(`<${from + index}`),
          content.subarray(position, position + sizeBytes),
          Buffer.from(">"),
        ]),
      );
      await peer.received(expected.length);
      areEqual &&= peer.bytes.equals(expected);
      peer.chunks.length = 0;
      peer.receivedBytes = 0;
    }
    return areEqual;
  }

  test("wherever in the slice the socket is full", async () => {
    const sizeBytes = cachedReadBytesMax + 1; // The least that does not go through memory.
    const takenAt = new Map<number, number>();
    const slices = Array.from({ length: sizeBytes + 1 }, (_, taken) => {
      const slice = new CountedSlice(file, taken * 101, sizeBytes);
      takenAt.set(slice.position, taken);
      return slice;
    });
    const stops = new Set<number>();
    const areEqual = await sendAll(slices, (position) => {
      const taken = takenAt.get(position) ?? Number.MAX_SAFE_INTEGER;
      if (taken < sizeBytes) stops.add(taken);
      return taken;
    });
    expect(areEqual).toBe(true);
    expect(slices.every(({ releases }) => releases === 1)).toBe(true);
    expect(stops.size).toBe(sizeBytes);
  });

  test.for([1, 100, 70_000, 300_000])("when it takes up to %i bytes at a time, or none", async (bytesMax) => {
    const seed = 11 + bytesMax;
    const prng = new Prng(seed);
    const slices = Array.from({ length: 60 }, () => {
      const sizeBytes = prng.between(cachedReadBytesMax + 1, 700_000);
      return new CountedSlice(file, prng.between(0, content.length - sizeBytes), sizeBytes);
    });
    const areEqual = await sendAll(slices, () => prng.between(0, bytesMax));
    expect(areEqual, `seed ${seed}`).toBe(true);
    expect(slices.every(({ releases }) => releases === 1)).toBe(true);
  });
});

describe.each(ways)("a slice %s", (way) => {
  const calls = way === "by sendfile" ? real : null;

  test.runIf(real !== null).for([
    [1, 400_000],
    [13, 1_000_000],
    [5_000, 2_000_000],
  ] as const)(
    "reaches a peer that reads up to %i bytes at a time from small sockets",
    async ([readBytesMax, sizeBytesMax]) => {
      const prng = new Prng(readBytesMax);
      let fullAnswers = 0;
      const { connection, server, peer, boundSendBuffer } = await connect(way, {
        readBytes: () => prng.between(1, readBytesMax),
        calls: {
          setSendBuffer: () => boundSendBuffer(1),
          sendfile(socketFd, fileFd, position, sizeBytes) {
            const answer = real!.sendfile(socketFd, fileFd, position, sizeBytes);
            if (answer < sizeBytes) fullAnswers++;
            return answer;
          },
        },
      });
      boundSendBuffer(1);
      const slices: CountedSlice[] = [];
      const expected: Buffer[] = [];
      for (let total = 0; total < sizeBytesMax;) {
        const sizeBytes = prng.between(1, sizeBytesMax >> 2);
        const slice = new CountedSlice(file, prng.between(0, content.length - sizeBytes), sizeBytes);
        const head = Buffer.from(`slice ${slices.length}`);
        connection.send([head, slice]);
        slices.push(slice);
        expected.push(head, content.subarray(slice.position, slice.position + sizeBytes));
        total += sizeBytes;
      }
      await peer.received(1);
      expect(connection.queuedBytes).toBeGreaterThan(0);
      connection.end();
      await server.closed();
      await peer.closed();
      expect(peer.bytes.equals(Buffer.concat(expected))).toBe(true);
      expect(slices.every(({ releases }) => releases === 1)).toBe(true);
      expect(connection.queuedBytes).toBe(0);
      if (calls !== null) expect(fullAnswers).toBeGreaterThan(0);
    },
  );

  // --- A peer that goes away ------------------------------------------------------------------------------------------

  interface Scene extends Ends {
    /** The first is the one that is being sent. */
    readonly slices: readonly CountedSlice[];
    readonly reports: string[];
    /** The read of the file that is under way goes on. */
    readonly letRead: () => void;
    readonly readBegan: Promise<void>;
  }
  const resets: Readonly<Record<string, (scene: Scene) => Promise<void> | void>> = {
    "before the first byte": ({ peer }) => peer.reset(),
    "after the head": async ({ peer, readBegan }) => {
      await readBegan;
      await peer.received(4);
      peer.reset();
    },
    "within the slice": async ({ peer, letRead }) => {
      letRead();
      await peer.received(300_000);
      peer.reset();
    },
    "while the socket is full": async ({ peer, connection, letRead }) => {
      letRead();
      peer.socket.pause();
      peer.raw.pause();
      await stuck(connection);
      expect(connection.queuedBytes).toBeGreaterThan(0);
      peer.reset();
    },
    "between the slice and the bytes behind it": async ({ peer, slices, letRead }) => {
      letRead();
      const back = new Promise<void>((resolve) => (slices[0]!.onRelease = resolve));
      slices[0]!.onRelease = ((resolve) => () => {
        peer.reset();
        resolve();
      })(slices[0]!.onRelease);
      await back;
    },
    "when the last byte is with the system": async ({ peer, connection, letRead }) => {
      letRead();
      const left = new Promise<void>((resolve) => connection.send([], resolve));
      await left;
      peer.reset();
    },
  };

  test.for(Object.keys(resets))("is given back once when its peer resets %s", async (state) => {
    const own = await disk.open(join(root, "log"), "read");
    const began = Promise.withResolvers<void>();
    const gate = Promise.withResolvers<void>();
    let readsUnderWay = 0;
    const read = own.read.bind(own);
    own.read = async (into, position) => {
      readsUnderWay++;
      began.resolve();
      await gate.promise;
      const count = await read(into, position);
      readsUnderWay--;
      return count;
    };
    // Cold until the gate opens, so that a read on another thread is under way in each of the ways.
    let isCold = true;
    void gate.promise.then(() => (isCold = false));
    const ends = await connect(way, {
      calls: {
        readCached: (fileFd, position, sizeBytes) =>
          isCold ? -errno.EAGAIN : real!.readCached(fileFd, position, sizeBytes),
      },
    });
    const { connection, server, peer } = ends;
    const slices = [5_000_000, 400_000, 30_000].map(
      (sizeBytes, index) => new CountedSlice(own, index * 1000, sizeBytes),
    );
    const reports: string[] = [];
    let isReleasedInUse = false;
    slices[0]!.onRelease = () => (isReleasedInUse = readsUnderWay > 0);
    connection.send([Buffer.from("head"), slices[0]!, Buffer.from("tail")], () => reports.push("first"));
    connection.send([slices[1]!, slices[2]!], () => reports.push("second"));
    await resets[state]!({ ...ends, slices, reports, letRead: gate.resolve, readBegan: began.promise });
    await server.closed();
    // A lease outlives a read that is under way, and ends with it.
    if (readsUnderWay > 0) expect(slices.map(({ releases }) => releases)).toEqual([0, 1, 1]);
    gate.resolve();
    await vi.waitUntil(() => slices.every(({ releases }) => releases > 0));
    await turns();
    expect(slices.map(({ releases }) => releases)).toEqual([1, 1, 1]);
    expect([server.closes, connection.queuedBytes, isReleasedInUse]).toEqual([1, 0, false]);
    if (server.error !== null) expect(server.error).toMatchObject({ name: "NetworkError" });
    expect(reports).toEqual(state === "when the last byte is with the system" ? ["first", "second"] : []);
    const promised = Buffer.concat([
      Buffer.from("head"),
      content.subarray(0, 5_000_000),
      Buffer.from("tail"),
      content.subarray(1000, 401_000),
      content.subarray(2000, 32_000),
    ]);
    expect(peer.bytes.equals(promised.subarray(0, peer.receivedBytes))).toBe(true);
    const late = new CountedSlice(own, 0, 10);
    connection.send([late]);
    expect(late.releases).toBe(1);
    await own.close();
  });

  // --- A file that goes away ------------------------------------------------------------------------------------------

  test("is sent whole though its file was removed, and holds the file open until then", async () => {
    const path = join(root, `removed ${way}`);
    const own = await disk.open(path, "create");
    const sizeBytes = 6_000_000;
    await own.write([content.subarray(0, sizeBytes)], 0);
    const { connection, server, peer } = await connect(way);
    let leases = 0;
    let queuedAtClose = -1;
    const others: DiskFile[] = [];
    const closed = Promise.withResolvers<void>();
    /** What retention does when the last lease is back; the next files to be opened get the number of the descriptor. */
    const giveBack = (): void => {
      if (--leases > 0) return;
      queuedAtClose = connection.queuedBytes;
      void own.close().then(async () => {
        for (let count = 0; count < 8; count++) others.push(await disk.open(join(root, `other ${count}`), "create"));
        await Promise.all(others.map((each) => each.write([Buffer.alloc(sizeBytes, 0xee)], 0)));
        closed.resolve();
      });
    };
    const slices = [0, 100, 200].map((position) => new CountedSlice(own, position, sizeBytes - 200));
    leases = slices.length;
    for (const slice of slices) slice.onRelease = giveBack;
    peer.socket.pause();
    for (const slice of slices) connection.send([Buffer.from("head"), slice]);
    connection.end();
    await stuck(connection);
    expect(leases).toBeGreaterThan(1);
    await disk.removeFile(path);
    // A new file takes the name.
    fs.writeFileSync(path, Buffer.alloc(sizeBytes, 0xff));
    peer.socket.resume();
    await server.closed();
    await closed.promise;
    await peer.closed();
    const expected = slices.flatMap(({ position }) => [
      Buffer.from("head"),
      content.subarray(position, position + sizeBytes - 200),
    ]);
    expect(peer.bytes.equals(Buffer.concat(expected))).toBe(true);
    expect(slices.map(({ releases }) => releases)).toEqual([1, 1, 1]);
    expect(queuedAtClose).toBe(0);
    await Promise.all(others.map((each) => each.close()));
  });

  test("never has a byte of another file or socket: 1,000 closes and opens use descriptors again", async () => {
    const seed = Number(process.env["MILLRACE_TEST_SEED"] ?? 4);
    const prng = new Prng(seed);
    const fileCount = 40;
    const fileBytes = 300_000;
    const contents = Array.from({ length: fileCount }, (_, index) => patternOf(index, fileBytes));
    for (const [index, each] of contents.entries()) fs.writeFileSync(join(root, `${way} ${index}`), each);
    const descriptors = new Map<string, number>();
    const seen = (kind: string, descriptor: number): void => {
      descriptors.set(`${kind} ${descriptor}`, (descriptors.get(`${kind} ${descriptor}`) ?? 0) + 1);
    };
    const faults: string[] = [];
    const slicesMade: CountedSlice[] = [];
    let rounds = 0;
    const openAtStart = openDescriptors();

    const lane = async (): Promise<void> => {
      while (rounds < 1_000) {
        const round = ++rounds;
        const index = prng.between(0, fileCount - 1);
        const own = await disk.open(join(root, `${way} ${index}`), "read");
        seen("file", (own as unknown as { readonly descriptor: number }).descriptor);
        const { connection, server, peer } = await connect(way);
        seen("socket", descriptorOf(peer.raw));
        let leases = 3;
        const expected: Buffer[] = [];
        const closed = Promise.withResolvers<void>();
        for (let count = 0; count < 3; count++) {
          const sizeBytes = prng.between(1, fileBytes);
          const position = prng.between(0, fileBytes - sizeBytes);
          const slice = new CountedSlice(own, position, sizeBytes);
          slice.onRelease = () => {
            if (--leases === 0) void own.close().then(closed.resolve);
          };
          slicesMade.push(slice);
          const head = Buffer.from(`${round}/${count}`);
          connection.send([head, slice]);
          expected.push(head, contents[index]!.subarray(position, position + sizeBytes));
        }
        const all = Buffer.concat(expected);
        const fate = prng.between(0, 3);
        if (fate === 0) {
          await peer.received(all.length);
          connection.end();
        } else {
          await peer.received(prng.between(0, all.length));
          if (fate === 1) peer.reset();
          else if (fate === 2) connection.destroy();
          else peer.leave();
        }
        await server.closed();
        await closed.promise;
        peer.leave();
        await peer.closed();
        const { bytes } = peer;
        if (!bytes.equals(all.subarray(0, bytes.length))) faults.push(`round ${round}: other bytes`);
        if (fate === 0 && bytes.length !== all.length)
          faults.push(`round ${round}: ${bytes.length} of ${all.length} bytes`);
      }
    };
    await Promise.all(Array.from({ length: 8 }, lane));
    expect(faults, `again with MILLRACE_TEST_SEED=${seed}`).toEqual([]);
    expect(slicesMade.every(({ releases }) => releases === 1)).toBe(true);
    // Else nothing was tried: the kernel gives out the lowest number that is free.
    expect(descriptors.size).toBeLessThan(300);
    await vi.waitUntil(() => openDescriptors() <= openAtStart);
  }, 20_000);
});

/** No eight bytes at the same place are in two of them. */
function patternOf(index: number, sizeBytes: number): Buffer {
  const words = new Uint32Array(sizeBytes / 4);
  for (let at = 0; at < words.length; at += 2) {
    words[at] = 0xabc00000 + index;
    words[at + 1] = at;
  }
  return Buffer.from(words.buffer);
}

function openDescriptors(): number {
  return process.platform === "linux" ? fs.readdirSync("/proc/self/fd").length : 0;
}

// --- Cold data -------------------------------------------------------------------------------------------------------

describe.runIf(real !== null && real.isCached !== null)("a slice of which a part is not in memory", () => {
  const pageBytes = 4096;
  const sizeBytes = 4_000_000;
  /** What a search for a batch, an earlier reader and the kernel's own read ahead may have left in memory. */
  const leftBehind: Readonly<Record<string, readonly (readonly [position: number, sizeBytes: number])[]>> = {
    nothing: [],
    "the page of the first batch": [[8192, 61]],
    "pages where probes look": Array.from({ length: 30 }, (_, index) => [index * 131_072 + 131_071, 1] as const),
    "the first half": [[0, sizeBytes / 2]],
    "all but one page": [
      [0, 2_000_000],
      [2_100_000, sizeBytes - 2_100_000],
    ],
  };

  test.for(Object.keys(leftBehind))(
    "is sent with no call that waits for the disk, when %s is",
    async (left, context) => {
      const path = join(root, `cold ${left}`);
      fs.writeFileSync(path, content.subarray(0, sizeBytes), { flush: true });
      const own = (await disk.open(path, "read")) as DiskFile & { readonly descriptor: number };
      const isCold = (position: number): boolean => !real!.isCached!(own.descriptor, position, 1);
      advise(own.descriptor, dontNeed);
      if (!isCold(0)) context.skip("the file system keeps all of its files in memory");
      const reader = fs.openSync(path, "r");
      // Else the kernel reads far ahead of the longer ones.
      advise(reader, random);
      for (const [position, count] of leftBehind[left]!) fs.readSync(reader, Buffer.alloc(count), 0, count, position);
      fs.closeSync(reader);
      let pagesCold = 0;
      for (let position = 0; position < sizeBytes; position += pageBytes) if (isCold(position)) pagesCold++;
      expect(pagesCold).toBeGreaterThan(0);

      let pagesWaitedFor = 0;
      const check = (from: number, count: number): void => {
        for (let at = from - (from % pageBytes); at < from + count; at += pageBytes) if (isCold(at)) pagesWaitedFor++;
      };
      const { connection, peer } = await connect("by sendfile", {
        calls: {
          sendfile(socketFd, fileFd, position, wanted) {
            check(position, wanted);
            return real!.sendfile(socketFd, fileFd, position, wanted);
          },
        },
      });
      const readNow = own.readNow.bind(own);
      own.readNow = (into, position) => {
        check(position, into.length);
        return readNow(into, position);
      };
      const slice = new CountedSlice(own, 8192, sizeBytes - 8192);
      connection.send([slice]);
      await peer.received(slice.sizeBytes);
      expect(peer.bytes.equals(content.subarray(8192, sizeBytes))).toBe(true);
      expect(pagesWaitedFor).toBe(0);
      await own.close();
    },
  );
});

const random = 1; // POSIX_FADV_RANDOM: reads bring into memory what they read.
const dontNeed = 4; // POSIX_FADV_DONTNEED: of a file that was synced nothing stays in memory.

/** posix_fadvise(2), for the whole file. */
function advise(descriptor: number, advice: number): void {
  const koffi = createRequire(import.meta.url)("koffi") as {
    load(path: null): { func(declaration: string): (...args: readonly number[]) => number };
  };
  const call = koffi.load(null).func("int posix_fadvise(int, int64_t, int64_t, int)");
  expect(call(descriptor, 0, 0, advice)).toBe(0);
}
