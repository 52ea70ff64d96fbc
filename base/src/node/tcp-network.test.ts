import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { errno, Native } from "@millrace/base/node/native";
import { NodeDisk } from "@millrace/base/node/node-disk";
import { TcpNetwork } from "@millrace/base/node/tcp-network";
import { CountedSlice, connected, End, listening, networkCases } from "@millrace/base/test/network-cases";
import type { NetworkUnderTest } from "@millrace/base/test/network-cases";
import { Prng } from "@millrace/base/prng";
import type { Address, DiskFile } from "@millrace/base/world";

const root = mkdtempSync(join(tmpdir(), "millrace-network-"));
const host = "127.0.0.1";
const natives = { "with sendfile": new Native({ isWanted: true }), copying: new Native({ isWanted: false }) };
const content = new Prng(1).bytes(50 << 20);
const disk = new NodeDisk({ native: natives.copying });
let file: DiskFile;

beforeAll(async () => {
  file = await disk.open(join(root, "log"), "create");
  await file.write([content], 0);
  await file.sync();
});

afterAll(async () => {
  await file.close();
  rmSync(root, { recursive: true });
});

test.runIf(process.platform === "linux")("native calls are there where koffi is", () => {
  const native = natives["with sendfile"];
  // `npm ci --omit=optional` runs this too.
  if (native.calls === null) expect(native.reason).toContain("koffi");
  else expect(native.reason).toBeNull();
  expect(natives.copying.reason).toBe("switched off by configuration");
});

describe.each(Object.entries(natives))("tcp, %s", (name, native) => {
  const network = new TcpNetwork({ native });
  const makeNetwork = async (): Promise<NetworkUnderTest> => ({
    network,
    disk,
    host,
    directory: mkdtempSync(join(root, "case-")),
    passTime: async () => undefined,
  });
  networkCases(`tcp ${name}`, makeNetwork);

  test("50 MB go through a slow reader as they are", async () => {
    const { client, server } = await connected({ network, host });
    const slice = new CountedSlice(file, 0, content.length);
    server.connection.send([Buffer.from("head"), slice, Buffer.from("tail")]);
    let seen = 0;
    while (client.receivedBytes < content.length + 8) {
      await client.received(Math.min(seen + (4 << 20), content.length + 8));
      client.connection.pause();
      // While it is paused, the other side fills the socket; the answer to a question shows that it has had its turn.
      await roundTrip(network);
      seen = client.receivedBytes;
      client.connection.resume();
    }
    const bytes = client.bytes;
    expect(bytes.toString("latin1", 0, 4)).toBe("head");
    expect(bytes.subarray(4, -4).equals(content)).toBe(true);
    expect(bytes.toString("latin1", bytes.length - 4)).toBe("tail");
    expect(slice.releases).toBe(1);
    expect(server.connection.queuedBytes).toBe(0);
  });

  test("200 connections each get their own bytes, small and large, while some of them go away", async () => {
    const slices: CountedSlice[] = [];
    /** What connection `index` asks for: the same at both ends. */
    const answer = (index: number): { head: Buffer; position: number; sizeBytes: number }[] => {
      const prng = new Prng(index);
      return Array.from({ length: 6 }, (_, count) => {
        const sizeBytes = count === 5 ? 400_000 : prng.between(0, 40_000);
        return {
          head: Buffer.from(`${index}/${count}`),
          position: prng.between(0, content.length - sizeBytes),
          sizeBytes,
        };
      });
    };
    const listener = await network.listen({ host, port: 0 }, (connection) => {
      connection.start({
        onData: (question) => {
          for (const { head, position, sizeBytes } of answer(Number(question.toString()))) {
            const slice = new CountedSlice(file, position, sizeBytes);
            slices.push(slice);
            connection.send([head, slice]);
          }
        },
        onEnd: () => connection.end(),
        onClose: () => undefined,
      });
    });
    onTestFinished(() => listener.close());
    const readers = Array.from({ length: 200 }, async (_, index) => {
      const client = new End(await network.connect(listener.address, { timeoutMs: 10_000 }));
      client.connection.send([Buffer.from(String(index))]);
      const expected = Buffer.concat(
        answer(index).flatMap(({ head, position, sizeBytes }) => [
          head,
          content.subarray(position, position + sizeBytes),
        ]),
      );
      const leavesEarly = index % 10 === 0;
      await client.received(leavesEarly ? 1 : expected.length);
      if (leavesEarly) client.connection.destroy();
      else client.connection.end();
      await client.closed();
      return leavesEarly || client.bytes.equals(expected);
    });
    expect((await Promise.all(readers)).every(Boolean)).toBe(true);
    expect(slices.length).toBe(1200);
    await vi.waitUntil(() => slices.every(({ releases }) => releases === 1));
  });

  test("a peer that is killed in the middle gives the slice back", async () => {
    const { address, accepted } = await listening(network, host);
    const peer = net.connect(address.port, host);
    onTestFinished(() => void peer.destroy());
    const server = new End(await accepted());
    const slices = [0, 1].map(() => new CountedSlice(file, 0, content.length));
    for (const slice of slices) server.connection.send([slice]);
    await new Promise((resolve) => {
      peer.once("data", resolve);
    });
    peer.resetAndDestroy();
    await server.closed();
    await vi.waitUntil(() => slices.every(({ releases }) => releases === 1));
    expect(server.closes).toBe(1);
  });

  test.runIf(native.calls !== null).each([
    ["takes a part", (fd: number, bytes: Uint8Array) => native.calls!.send(fd, bytes.subarray(0, 3))],
    ["is full", () => -errno.EAGAIN],
    ["is broken", () => -errno.EIO],
  ])("what a socket that %s leaves comes behind it, in order", async (_, send) => {
    const calls = { ...native.calls!, send };
    const { client, server } = await connected({ network: new TcpNetwork({ native: { calls } }), host });
    const sent = Array.from({ length: 20 }, (__, index) => Buffer.from(`answer ${index};`.repeat(index)));
    let leftCount = 0;
    for (const [index, bytes] of sent.entries()) {
      server.connection.send([bytes, Buffer.from("|")], () => leftCount++);
      if (index % 3 === 0) await roundTrip(network);
    }
    const expected = sent.map((bytes) => `${bytes.toString()}|`).join("");
    await client.received(expected.length);
    expect(client.bytes.toString()).toBe(expected);
    await vi.waitFor(() => expect(leftCount).toBe(20));
    expect(server.connection.queuedBytes).toBe(0);
  });

  test("one answer is one write, and so are several small ones of one turn", async () => {
    const { client, server } = await connected({ network, host });
    const write = vi.spyOn(net.Socket.prototype, "write");
    const send = native.calls === null ? write : vi.spyOn(native.calls, "send");
    onTestFinished(() => void vi.restoreAllMocks());
    server.connection.send([Buffer.from("one"), Buffer.from("answer")]);
    await client.received(9);
    expect(send).toHaveBeenCalledTimes(1);
    for (let count = 0; count < 5; count++) {
      queueMicrotask(() => server.connection.send([Buffer.from("more "), Buffer.alloc(100)]));
    }
    await client.received(9 + 525);
    expect(send).toHaveBeenCalledTimes(2);
    if (native.calls === null) return;
    server.connection.send([Buffer.from("head"), new CountedSlice(file, 0, 4000), Buffer.from("tail")]);
    await client.received(9 + 525 + 4008);
    expect(send).toHaveBeenCalledTimes(3);
    expect(write).not.toHaveBeenCalled();
  });
});

test.runIf(natives["with sendfile"].calls !== null)(
  "a crowd that came while the loop was busy is taken in a few turns, each with its own address",
  async () => {
    const network = new TcpNetwork({ native: natives["with sendfile"] });
    const ports = new Set<number>();
    const byTurn: number[] = [];
    let turns = 0;
    const listener = await network.listen({ host, port: 0 }, (connection) => {
      ports.add(connection.remote.port);
      byTurn.push(turns);
      connection.start({
        onData: (bytes) => connection.send([bytes]),
        onEnd: () => connection.end(),
        onClose: () => {},
      });
    });
    const isThere = join(root, "crowd");
    const script = `
      const { connect } = require("node:net");
      const { writeFileSync } = require("node:fs");
      let [connected, answered] = [0, 0];
      for (let index = 0; index < 300; index++) {
        const socket = connect({ port: ${listener.address.port}, host: "${host}" });
        socket.on("connect", () => {
          socket.end(String(index));
          if (++connected === 300) writeFileSync("${isThere}", "");
        });
        let answer = "";
        socket.on("data", (bytes) => (answer += bytes));
        socket.on("end", () => { if (answer === String(index)) answered++; });
      }
      process.on("exit", () => console.log(answered));`;
    const child = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
    const said = text(child.stdout);
    // The kernel completes the handshakes meanwhile.
    for (const untilMs = performance.now() + 20_000; !existsSync(isThere) && performance.now() < untilMs;);
    const turn = (): void => {
      turns++;
      if (ports.size < 300) setImmediate(turn);
    };
    setImmediate(turn);
    expect((await said).trim()).toBe("300");
    expect(ports.size).toBe(300);
    expect(byTurn.at(-1)).toBeLessThan(60);
    await listener.close();
  },
);

test("a peer that has ended its side still receives the answer", async () => {
  const { address, accepted } = await listening(new TcpNetwork({ native: natives.copying }), host);
  const peer = net.connect({ port: address.port, host, allowHalfOpen: true });
  onTestFinished(() => void peer.destroy());
  const server = new End(await accepted(), { answersEnd: false });
  peer.end("question");
  await server.until(() => server.hasEnded);
  server.connection.send([Buffer.from("answer")]);
  server.connection.end();
  let text = "";
  for await (const chunk of peer) text += String(chunk);
  expect([server.text, text]).toEqual(["question", "answer"]);
  await server.closed();
});

test("an aborted connection is reset, whatever was still to be sent", async () => {
  const network = new TcpNetwork({ native: natives.copying });
  const { address, accepted } = await listening(network, host);
  const peer = net.connect({ port: address.port, host });
  const failed = once(peer, "error");
  const server = new End(await accepted());
  server.connection.abort(new Error("too late"));
  expect(((await failed) as [Error])[0]).toMatchObject({ code: "ECONNRESET" });
  await server.closed();
});

test("bytes are read to where the reader wants them, as they were sent", async () => {
  const { address, accepted } = await listening(new TcpNetwork({ native: natives.copying }), host);
  const network = new TcpNetwork({ native: natives.copying });
  const client = await network.connect(address, { timeoutMs: 5_000 });
  const server = await accepted();
  server.start({ onData: () => undefined, onEnd: () => undefined, onClose: () => undefined });
  const sent = content.subarray(0, 5_000_000);
  const wanted = Buffer.alloc(sent.length);
  const { promise: all, resolve } = Promise.withResolvers<void>();
  let filled = 0;
  let elsewhere = 0;
  client.start({
    // Every other megabyte is taken as it comes.
    memory: () => (isWantedThere(filled) ? wanted.subarray(filled, Math.min(filled + 300_000, sent.length)) : null),
    onData: (chunk) => {
      const isThere = chunk.buffer === wanted.buffer && chunk.byteOffset === wanted.byteOffset + filled;
      if (!isThere) {
        chunk.copy(wanted, filled);
        if (isWantedThere(filled)) elsewhere++;
      }
      filled += chunk.length;
      if (filled === sent.length) resolve();
    },
    onEnd: () => undefined,
    onClose: () => resolve(),
  });
  onTestFinished(() => {
    client.destroy();
    server.destroy();
  });
  server.send([sent]);
  await all;
  expect(wanted.equals(sent)).toBe(true);
  // The first read may have been prepared before there was anybody to ask.
  expect(elsewhere).toBeLessThanOrEqual(1);
});

function isWantedThere(filled: number): boolean {
  return Math.floor(filled / 1_000_000) % 2 === 0;
}

test("an attempt that nobody answers ends after its time, and names the address", async () => {
  const network = new TcpNetwork({ native: natives.copying });
  const address: Address = { host: "192.0.2.1", port: 9 };
  const error = await network.connect(address, { timeoutMs: 50 }).catch((thrown: unknown) => thrown);
  // Where the documentation network has no route, the system says so at once.
  expect(error).toMatchObject({ name: "NetworkError" });
  expect((error as Error).message).toContain("192.0.2.1:9");
});

test("addresses that cannot be listened on are named", async () => {
  const network = new TcpNetwork({ native: natives.copying });
  await expect(network.listen({ host: "192.0.2.1", port: 9 }, () => undefined)).rejects.toThrow(
    "192.0.2.1 is not an address of this machine",
  );
});

async function roundTrip(network: TcpNetwork): Promise<void> {
  const { client, server } = await connected({ network, host });
  client.connection.send([Buffer.from("?")]);
  await server.received(1);
  server.connection.send([Buffer.from("!")]);
  await client.received(1);
  client.connection.destroy();
  await server.closed();
}
