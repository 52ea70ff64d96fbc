import dns from "node:dns";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import net from "node:net";
import { join } from "node:path";
import tls from "node:tls";
import { expect, onTestFinished, test, vi } from "vitest";
import { Native } from "@millrace/base/node/native";
import { TcpNetwork } from "@millrace/base/node/tcp-network";
import { Prng } from "@millrace/base/prng";
import { End } from "@millrace/base/test/network-cases";
import { NetworkError } from "@millrace/base/world";
import type { Connection, TlsClientOptions } from "@millrace/base/world";

const network = new TcpNetwork({ native: new Native({ isWanted: true }) });
const pem = (name: string): string =>
  readFileSync(join(import.meta.dirname, "../../testdata/tls", `${name}.pem`), "utf8");
const ca = pem("ca");
const identity = (name: string) => ({ cert: pem(name), key: pem(`${name}-key`) });

/** A server as others make it, whose sockets a test gets hold of. */
async function serving(
  options: tls.TlsOptions = identity("server"),
  onSocket: (socket: tls.TLSSocket) => void = () => undefined,
): Promise<number> {
  const server = tls.createServer({ allowHalfOpen: true, ...options }, (socket) => {
    socket.on("error", () => undefined);
    onSocket(socket);
  });
  server.on("tlsClientError", () => undefined);
  return await listening(server);
}

async function listening(server: net.Server): Promise<number> {
  const sockets = new Set<net.Socket>();
  server.on("connection", (socket: net.Socket) => sockets.add(socket.on("error", () => undefined)));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return (server.address() as net.AddressInfo).port;
}

const connect = (port: number, options: TlsClientOptions = { ca }, host = "127.0.0.1"): Promise<Connection> =>
  network.connect({ host, port }, { timeoutMs: 10_000, tls: options });

async function failure(work: Promise<unknown>): Promise<NetworkError> {
  const error: unknown = await work.then(
    () => "connected",
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(NetworkError);
  return error as NetworkError;
}

const echo = (socket: tls.TLSSocket): void => void socket.pipe(socket);

test("what is sent comes back, and both ends end", async () => {
  const client = new End(await connect(await serving(identity("server"), echo)));
  client.connection.send([Buffer.from("hello, "), Buffer.from("world")]);
  await client.received(12);
  expect(client.text).toBe("hello, world");
  client.connection.end();
  await client.closed();
  expect(client.error).toBeNull();
});

test("20 MB go out and come back as they were, in one turn and in many", async () => {
  const content = new Prng(7).bytes(20 << 20);
  const client = new End(await connect(await serving(identity("server"), echo)));
  let sentCount = 0;
  for (let at = 0; at < content.length;) {
    const size = at === 0 ? 5 << 20 : 700_001;
    client.connection.send([content.subarray(at, at + size)], () => sentCount++);
    at += size;
    if (at % 2 === 0) await new Promise(setImmediate);
  }
  await client.received(content.length);
  expect(client.bytes.equals(content)).toBe(true);
  expect(client.connection.queuedBytes).toBe(0);
  expect(sentCount).toBeGreaterThan(20);
  client.connection.destroy();
});

test("who does not read is not sent to without end, and who pauses gets the rest later", async () => {
  const content = new Prng(8).bytes(30 << 20);
  let peer: tls.TLSSocket | null = null;
  const client = new End(
    await connect(
      await serving(identity("server"), (socket) => {
        peer = socket;
        socket.pause();
        socket.write(content);
      }),
    ),
  );
  client.connection.pause();
  client.connection.send([content]);
  await vi.waitUntil(() => peer !== null);
  const socket = peer as unknown as tls.TLSSocket;
  // Both directions stand still, with most of the bytes where they were.
  for (let before = -1; before !== socket.bytesWritten + client.receivedBytes; await new Promise(setImmediate))
    before = socket.bytesWritten + client.receivedBytes;
  expect(client.receivedBytes).toBeLessThan(1 << 20);
  expect(client.connection.queuedBytes).toBeGreaterThan(20 << 20);
  client.connection.resume();
  const got: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => got.push(chunk)).resume();
  await client.received(content.length);
  await vi.waitUntil(() => client.connection.queuedBytes === 0);
  client.connection.end();
  await once(socket, "end");
  expect(client.bytes.equals(content)).toBe(true);
  expect(Buffer.concat(got).equals(content)).toBe(true);
  socket.end();
  await client.closed();
});

test("the server's end and the server's sudden death both close the connection, once", async () => {
  const port = await serving(identity("server"), (socket) => socket.end("bye"));
  const ended = new End(await connect(port));
  await ended.closed();
  expect([ended.text, ended.hasEnded, ended.error]).toEqual(["bye", true, null]);
  const wires: net.Socket[] = [];
  const server = await serving();
  const relay = net.createServer((socket) => {
    const wire = net.connect(server, "127.0.0.1");
    wire
      .on("error", () => undefined)
      .pipe(socket)
      .pipe(wire);
    wires.push(socket, wire);
  });
  const broken = new End(await connect(await listening(relay)));
  wires[0]!.resetAndDestroy();
  await broken.closed();
  wires[1]!.destroy();
  // The platform shows a reset below TLS as an end: whoever reads frames sees by their lengths that one is missing.
  expect([broken.text, broken.closes]).toEqual(["", 1]);
});

test("mutual TLS: the server sees who connects, also by an encrypted key", async () => {
  const names: unknown[] = [];
  const port = await serving({ ...identity("server"), ca, requestCert: true }, (socket) => {
    names.push(socket.getPeerCertificate().subject.CN);
    socket.write("in");
  });
  const key = pem("client-key-encrypted");
  for (const options of [identity("client"), { cert: pem("client"), key, passphrase: "millrace" }]) {
    const client = new End(await connect(port, { ca, ...options }));
    await client.received(2);
    client.connection.destroy();
  }
  expect(names).toEqual(["billing", "billing"]);
});

test("a server that wants a client certificate is named, when it has judged a client without one", async () => {
  const port = await serving({ ...identity("server"), ca, requestCert: true });
  // TLS 1.3: the client has connected by then.
  const client = new End(await connect(port));
  await client.closed();
  expect(client.error).toMatchObject({ code: "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED", kind: "tls" });
  expect(client.error?.message).toContain("wants a client certificate: set tls.cert and tls.key");
});

test.for([
  ["self-signed", "self-signed", "DEPTH_ZERO_SELF_SIGNED_CERT", "is signed by itself: give that certificate as tls.ca"],
  ["expired", "expired", "CERT_HAS_EXPIRED", "has expired"],
  ["another's", "elsewhere", "ERR_TLS_CERT_ALTNAME_INVALID", "is for DNS:elsewhere.test, not for that host"],
] as const)("a certificate that is %s is not taken, and why is said", async ([, name, code, message]) => {
  const port = await serving(identity(name));
  const error = await failure(connect(port));
  expect(error).toMatchObject({ code, kind: "tls" });
  expect(error.message).toContain(`the certificate of 127.0.0.1:${port} ${message}`);
  // Whoever wants to connect all the same can.
  (await connect(port, { rejectUnauthorized: false })).destroy();
});

test("an authority that nobody named is not trusted; one of several that are named is", async () => {
  const port = await serving();
  const error = await failure(connect(port, {}));
  expect(error).toMatchObject({ code: "UNABLE_TO_VERIFY_LEAF_SIGNATURE", kind: "tls" });
  expect(error.message).toContain("give the authority's certificate as tls.ca");
  (await connect(port, { ca: [pem("other-ca"), Buffer.from(ca)] })).destroy();
});

test("the name that a certificate must hold can be given, and is what the server is asked for", async () => {
  const asked: string[] = [];
  const port = await serving({
    ...identity("elsewhere"),
    SNICallback: (name, answer) => {
      asked.push(name);
      answer(null);
    },
  });
  (await connect(port, { ca, serverName: "elsewhere.test" })).destroy();
  expect(asked).toEqual(["elsewhere.test"]);
});

test.for([
  ["a text that is no PEM", { ca: "nonsense", cert: "nonsense", key: "nonsense" }, "cannot be read"],
  ["the key of another", { cert: pem("client"), key: pem("server-key") }, "tls.key is not the key of tls.cert"],
  ["a wrong passphrase", { cert: pem("client"), key: pem("client-key-encrypted"), passphrase: "x1y2z3" }, "passphrase"],
  ["no passphrase", { cert: pem("client"), key: pem("client-key-encrypted") }, "tls.passphrase is missing or wrong"],
] as const)("%s is the caller's mistake, and is said before anything is connected", async ([, options, message]) => {
  const error = await failure(connect(1, options));
  expect(error.kind).toBe("options");
  expect(error.message).toContain(message);
  expect(error.message).not.toContain("x1y2z3");
});

test.for([
  ["hangs up", (socket: net.Socket) => socket.once("data", () => socket.destroy()), "hung up in the middle"],
  ["ends", (socket: net.Socket) => socket.once("data", () => socket.end()), "hung up in the middle"],
  ["resets", (socket: net.Socket) => socket.once("data", () => socket.resetAndDestroy()), "hung up in the middle"],
  ["answers in its own words", (socket: net.Socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"), "not with TLS"],
] as const)("a port without TLS that %s is said to be one", async ([, act, message]) => {
  const error = await failure(connect(await listening(net.createServer(act))));
  expect(error.kind).toBe("tls");
  expect(error.message).toContain(message);
  expect(error.message).toContain(`"tls" out`);
});

test("a port that takes connections and says nothing is given up in time", async () => {
  const port = await listening(net.createServer(() => undefined));
  const error = await failure(network.connect({ host: "127.0.0.1", port }, { timeoutMs: 50, tls: { ca } }));
  expect(error).toMatchObject({ code: "ETIMEDOUT", kind: "tls" });
  expect(error.message).toContain("did not end TLS's handshake within 50 ms");
});

test("a port that there cannot be is an error like others", async () => {
  const error = await failure(connect(70_000));
  expect(error).toMatchObject({ code: "ERR_SOCKET_BAD_PORT", kind: "network" });
  await failure(network.connect({ host: "127.0.0.1", port: -1 }, { timeoutMs: 100 }));
});

test("nobody there is the network's failure, with TLS too", async () => {
  const error = await failure(connect(await closedPort()));
  expect(error).toMatchObject({ code: "ECONNREFUSED", kind: "network" });
});

/** Where nothing listens any more. */
async function closedPort(): Promise<number> {
  const server = net.createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

test.for([
  ["in the clear", false],
  ["with TLS", true],
] as const)("of a name with several addresses, those that do not answer are passed over: %s", async ([, isTls]) => {
  const port = isTls ? await serving(identity("server"), echo) : await listening(net.createServer((s) => s.pipe(s)));
  const addresses = ["127.0.0.3", "127.0.0.2", "127.0.0.1"].map((address) => ({ address, family: 4 }));
  const lookup = vi.spyOn(dns, "lookup").mockImplementation(((_name: string, _options: object, done: unknown) => {
    (done as (error: null, found: object) => void)(null, addresses);
  }) as never);
  onTestFinished(() => lookup.mockRestore());
  const options = { timeoutMs: 10_000, ...(isTls ? { tls: { ca } } : {}) };
  const client = new End(await network.connect({ host: "localhost", port }, options));
  client.connection.send([Buffer.from("here")]);
  await client.received(4);
  expect(client.connection.remote.host).toBe("127.0.0.1");
  client.connection.destroy();
});
