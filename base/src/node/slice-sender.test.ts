import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { errno, Native } from "@millrace/base/node/native";
import type { NativeCalls } from "@millrace/base/node/native";
import { NodeDisk } from "@millrace/base/node/node-disk";
import { TcpNetwork } from "@millrace/base/node/tcp-network";
import { Prng } from "@millrace/base/prng";
import { CountedSlice, connected } from "@millrace/base/test/network-cases";
import type { DiskFile } from "@millrace/base/world";

const root = mkdtempSync(join(tmpdir(), "millrace-slices-"));
const host = "127.0.0.1";
const native = new Native({ isWanted: true });
const content = new Prng(2).bytes(9_000_000);
const disk = new NodeDisk({ native });
let file: DiskFile;

beforeAll(async () => {
  file = await disk.open(join(root, "log"), "create");
  await file.write([content], 0);
});

afterAll(async () => {
  await file.close();
  rmSync(root, { recursive: true });
});

type Replies = Partial<Pick<NativeCalls, "sendfile" | "readCached">>;

/** Sends the whole file over a connection whose native calls answer as the test says. */
async function send(
  change: (real: NativeCalls) => Replies,
): Promise<{ received: Buffer; error: Error | null; slice: CountedSlice }> {
  const real = native.calls!;
  const calls: NativeCalls = { ...real, ...change(real) };
  const { client, server } = await connected({ network: new TcpNetwork({ native: { calls } }), host });
  const slice = new CountedSlice(file, 0, content.length);
  server.connection.send([Buffer.from("head"), slice, Buffer.from("tail")]);
  server.connection.end();
  await Promise.all([client.closed(), server.closed()]);
  return { received: client.bytes, error: server.error, slice };
}

const whole = (received: Buffer): boolean =>
  received.equals(Buffer.concat([Buffer.from("head"), content, Buffer.from("tail")]));

describe.runIf(native.calls !== null)("a slice by sendfile", () => {
  test("goes in pieces of at most a megabyte a turn, each with the descriptor of that turn", async () => {
    const bytesOfTurns: number[] = [];
    let isTurnOver = true;
    const { received, error, slice } = await send((real) => ({
      sendfile(...args) {
        if (isTurnOver) {
          isTurnOver = false;
          bytesOfTurns.push(0);
          setImmediate(() => (isTurnOver = true));
        }
        const sent = real.sendfile(...args);
        if (sent > 0) bytesOfTurns.push((bytesOfTurns.pop() ?? 0) + sent);
        return sent;
      },
    }));
    expect([whole(received), error, slice.releases]).toEqual([true, null, 1]);
    expect(Math.max(...bytesOfTurns)).toBeLessThanOrEqual(1 << 20);
    expect(Math.max(...bytesOfTurns)).toBeGreaterThan(100_000);
  });

  test("goes on by ordinary writes of the next bytes when the socket is full", async () => {
    let answers = 0;
    const { received, slice } = await send((real) => ({
      sendfile(socketFd, fileFd, position, sizeBytes) {
        return answers++ % 2 === 0
          ? -errno.EAGAIN
          : real.sendfile(socketFd, fileFd, position, Math.min(sizeBytes, 77_777));
      },
    }));
    expect([whole(received), slice.releases]).toEqual([true, 1]);
    expect(answers).toBeGreaterThan(20);
  });

  test("reads cold pages ahead on another thread, and sends what was read without another probe", async () => {
    const cold = new Set<number>();
    for (let position = 0; position < content.length; position += 1 << 17) cold.add(position >> 17);
    let coldAnswers = 0;
    const { received, slice } = await send((real) => ({
      readCached(fileFd, position, sizeBytes) {
        if (!cold.has(position >> 17)) return real.readCached(fileFd, position, sizeBytes);
        coldAnswers++;
        return -errno.EAGAIN; // For ever: it must not be asked for ever.
      },
    }));
    expect([whole(received), slice.releases]).toEqual([true, 1]);
    expect(coldAnswers).toBeLessThan(2 * cold.size);
  });

  test("is copied where the file system cannot tell what is cold, or the kernel refuses the file", async () => {
    const answers: Replies[] = [
      { readCached: () => -errno.EOPNOTSUPP },
      { sendfile: () => -errno.EINVAL },
      { sendfile: () => -errno.ENOSYS },
    ];
    for (const replies of answers) {
      let sends = 0;
      const { received, slice } = await send(() => ({
        ...replies,
        ...(replies.sendfile === undefined
          ? {}
          : {
              sendfile: () => {
                sends++;
                return replies.sendfile!(0, 0, 0, 0);
              },
            }),
      }));
      expect([whole(received), slice.releases]).toEqual([true, 1]);
      expect(sends).toBeLessThanOrEqual(1);
    }
  });

  test("is repeated when a signal came in between", async () => {
    let isInterrupted = false;
    const { received } = await send((real) => ({
      sendfile(...args) {
        isInterrupted = !isInterrupted;
        return isInterrupted ? -errno.EINTR : real.sendfile(...args);
      },
    }));
    expect(whole(received)).toBe(true);
  });

  test("closes the connection when the promised bytes are not there, or the peer is gone", async () => {
    const truncated = await send(() => ({ sendfile: () => 0 }));
    expect(truncated.error?.message).toContain(
      `${content.length} bytes at 0 of ${file.path} could not be sent to 127.0.0.1:`,
    );
    expect(truncated.error?.message).toContain("the file is shorter than its slice");
    const broken = await send(() => ({ sendfile: () => -32 }));
    expect(broken.error).toMatchObject({ name: "NetworkError", code: "EPIPE" });
    const failing = await send(() => ({ sendfile: () => -5 }));
    expect(failing.error).toMatchObject({ name: "NetworkError", code: "EIO" });
    expect([truncated, broken, failing].map(({ slice }) => slice.releases)).toEqual([1, 1, 1]);
  });

  test("is not given back while a read of it is under way", async () => {
    const { server } = await connected({ network: new TcpNetwork({ native }), host });
    const asked = Promise.withResolvers<void>();
    const answer = Promise.withResolvers<number>();
    const slow = {
      ...file,
      path: "slow",
      read: () => {
        asked.resolve();
        return answer.promise;
      },
    } as unknown as DiskFile;
    const slices = [0, 1].map(() => new CountedSlice(slow, 0, 1_000_000));
    for (const slice of slices) server.connection.send([slice]);
    await asked.promise;
    server.connection.destroy();
    await server.closed();
    expect(slices.map(({ releases }) => releases)).toEqual([0, 1]);
    const back = new Promise<void>((resolve) => (slices[0]!.onRelease = resolve));
    answer.resolve(256 * 1024);
    await back;
    expect(slices.map(({ releases }) => releases)).toEqual([1, 1]);
  });

  test("gives a small slice back as soon as its bytes are in memory, and sends it with its neighbours", async () => {
    const { client, server } = await connected({ network: new TcpNetwork({ native }), host });
    const slices = Array.from({ length: 300 }, (_, index) => new CountedSlice(file, index * 1000, 20_000));
    server.connection.send(slices.flatMap((slice, index) => [Buffer.from(`part ${index}`), slice]));
    const expected = Buffer.concat(
      slices.flatMap(({ position }, index) => [
        Buffer.from(`part ${index}`),
        content.subarray(position, position + 20_000),
      ]),
    );
    await client.received(expected.length);
    expect(client.bytes.equals(expected)).toBe(true);
    expect(slices.every(({ releases }) => releases === 1)).toBe(true);
  });
});
