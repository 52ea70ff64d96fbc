import { readdir, readFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { once } from "node:events";
import { expect, test } from "vitest";
import { silentLogger } from "@millrace/base/logger";
import { nodeWorld } from "@millrace/base/node/node-world";
import type { Disk } from "@millrace/base/world";
import { startBroker } from "@millrace/broker/broker";
import { ResourceType } from "@millrace/broker/config/resources";
import { ConfigOperation } from "@millrace/broker/metadata/controller/alter-configs";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { apiVersions } from "kafka-protocol-ts/messages/18-api-versions";
import { incrementalAlterConfigs } from "kafka-protocol-ts/messages/44-incremental-alter-configs";
import { createTopic, produceTo } from "./calls.ts";
import { batchOf, LogBook, running, temporaryDirectory } from "./fixture.ts";
import { RawClient } from "./raw-client.ts";
import { simulated } from "./simulated.ts";
import type { SimulatedBroker } from "./simulated.ts";

/* Who may connect, and when. What Apache Kafka 4.3.1 does with each of these settings was measured. */

async function setForAll(client: RawClient, name: string, value: string | null): Promise<number> {
  const configOperation = value === null ? ConfigOperation.DELETE : ConfigOperation.SET;
  const answer = await client.request(incrementalAlterConfigs, 1, {
    resources: [{ resourceType: ResourceType.BROKER, resourceName: "", configs: [{ name, configOperation, value }] }],
    validateOnly: false,
  });
  return answer.responses[0]!.errorCode;
}

/** Asks, and does not wait for the answer: what became of it is in `outcome` once it is known. */
function ask(client: RawClient): { outcome: "waits" | "answered" | "closed" } {
  const asked: ReturnType<typeof ask> = { outcome: "waits" };
  client.request(apiVersions, 3, { clientSoftwareName: "test", clientSoftwareVersion: "1" }).then(
    () => (asked.outcome = "answered"),
    () => (asked.outcome = "closed"),
  );
  return asked;
}

async function connected(it: SimulatedBroker, count: number): Promise<RawClient[]> {
  const clients: RawClient[] = [];
  for (let index = 0; index < count; index++) {
    const client = await it.client();
    expect(await settled(it, ask(client))).toBe("answered");
    clients.push(client);
    await it.clock.advance(10);
  }
  return clients;
}

async function settled(it: SimulatedBroker, asked: ReturnType<typeof ask>): Promise<string> {
  await it.settle();
  return asked.outcome;
}

test("a lower max.connections closes who was silent longest; whoever comes then waits until one goes", async () => {
  await using it = await simulated();
  const clients = await connected(it, 6);
  await using admin = await it.client();
  expect(await setForAll(admin, "max.connections", "4")).toBe(ErrorCode.NONE);
  await it.settle();
  expect(clients.map(({ isClosed }) => isClosed)).toEqual([true, true, true, false, false, false]);
  expect(it.log.reasons).toEqual(Array.from({ length: 3 }, () => "max.connections is lower now"));
  await using late = await it.client();
  const asked = ask(late);
  expect(await settled(it, asked)).toBe("waits");
  await clients[3]![Symbol.asyncDispose]();
  expect(await settled(it, asked)).toBe("answered");
  await using later = await it.client();
  const askedLater = ask(later);
  expect(await settled(it, askedLater)).toBe("waits");
  expect(await setForAll(admin, "max.connections", null)).toBe(ErrorCode.NONE);
  expect(await settled(it, askedLater)).toBe("answered");
  expect(await setForAll(admin, "max.connections", "0")).toBe(ErrorCode.INVALID_REQUEST);
});

test("a lower max.connections.per.ip closes nobody but whoever comes then, and a higher one counts at once", async () => {
  await using it = await simulated();
  const clients = await connected(it, 5);
  await using admin = await it.client();
  expect(await setForAll(admin, "max.connections.per.ip", "3")).toBe(ErrorCode.NONE);
  await it.settle();
  expect(clients.map(({ isClosed }) => isClosed)).toEqual([false, false, false, false, false]);
  await using late = await it.client();
  await late.closed;
  expect(it.log.lines.at(-1)).toMatchObject({
    message: "connection refused",
    fields: { peer: "127.0.0.1", listener: "PLAINTEXT", reason: "max.connections.per.ip is reached" },
  });
  expect(await setForAll(admin, "max.connections.per.ip", "7")).toBe(ErrorCode.NONE);
  await using later = await it.client();
  expect(await settled(it, ask(later))).toBe("answered");
});

test("max.connection.creation.rate holds back who comes too fast, from the moment it is set", async () => {
  await using it = await simulated();
  await using admin = await it.client();
  expect(await setForAll(admin, "max.connection.creation.rate", "5")).toBe(ErrorCode.NONE);
  const asked = await Promise.all(Array.from({ length: 70 }, async () => ask(await it.client())));
  const answered = (): number => asked.filter(({ outcome }) => outcome === "answered").length;
  await it.settle();
  // Ten seconds' worth, less the connection that set it.
  expect(answered()).toBe(49);
  await it.clock.advance(2_000);
  await it.settle();
  expect(answered()).toBe(59);
  await it.clock.advance(3_000);
  await it.settle();
  expect(answered()).toBe(70);
});

test("who waits for a place when the broker stops is let go", async () => {
  await using it = await simulated({ config: { "max.connections": "1" } });
  await using client = await it.client();
  expect(await settled(it, ask(client))).toBe("answered");
  await using waiting = await it.client();
  const asked = ask(waiting);
  expect(await settled(it, asked)).toBe("waits");
  const stopped = it.broker.stop();
  await it.clock.advance(10_000);
  await stopped;
  expect(await settled(it, asked)).toBe("closed");
});

/** What lies in a directory, to the byte. */
async function contents(path: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const entry of await readdir(path, { recursive: true, withFileTypes: true })) {
    const at = join(entry.parentPath, entry.name);
    found[at] = entry.isFile() ? (await readFile(at)).toString("hex") : "";
  }
  return found;
}

test("a port in use is said by host and port before anything in the data directory is touched", async () => {
  await using directory = await temporaryDirectory();
  const data = join(directory.path, "data");
  const blocker = createServer().listen(0, "127.0.0.1");
  await once(blocker, "listening");
  const { port } = blocker.address() as { port: number };
  const inUse = `port ${port} on 127.0.0.1 is already in use`;
  const starting = async (listeners: string) =>
    startBroker({
      config: {
        listeners,
        "log.dirs": data,
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SECOND:PLAINTEXT",
      },
      world: nodeWorld(),
      logger: silentLogger,
    });

  await expect(starting(`PLAINTEXT://127.0.0.1:${port}`)).rejects.toThrow(inUse);
  expect(await readdir(directory.path)).toEqual([]);
  {
    await using it = await running(data);
    await using client = await it.client();
    await createTopic(client, "orders");
    expect(await produceTo(client, batchOf(["kept"]))).toMatchObject({ errorCode: ErrorCode.NONE });
  }
  const before = await contents(data);
  await expect(starting(`PLAINTEXT://127.0.0.1:${port}`)).rejects.toThrow(inUse);
  await expect(starting(`PLAINTEXT://127.0.0.1:0,SECOND://127.0.0.1:${port}`)).rejects.toThrow(inUse);
  expect(await contents(data)).toEqual(before);
  blocker.close();
});

test("who connects before the broker is ready is not read and not answered, and is served once it is", async () => {
  await using directory = await temporaryDirectory();
  const loading = Promise.withResolvers<void>();
  const held = Promise.withResolvers<void>();
  const real = nodeWorld();
  const log = new LogBook();
  const port = await freePort();
  const starting = startBroker({
    config: {
      listeners: `PLAINTEXT://127.0.0.1:${port}`,
      "log.dirs": directory.path,
      "socket.listen.backlog.size": "2",
    },
    world: { ...real, disk: diskThatWaits(real.disk, { reached: loading.resolve, until: held.promise }) },
    logger: log,
  });
  await loading.promise;
  const early = [];
  for (let count = 0; count < 2; count++) early.push(await RawClient.connect({ host: "127.0.0.1", port }));
  const asked = early.map(ask);
  const surplus = connect({ host: "127.0.0.1", port });
  await once(surplus, "close");
  expect(log.lines.at(-1)).toMatchObject({
    message: "connection refused",
    fields: { reason: "the broker is not ready, and socket.listen.backlog.size others wait" },
  });
  expect(asked.map(({ outcome }) => outcome)).toEqual(["waits", "waits"]);
  held.resolve();
  await using broker = await starting;
  await expect.poll(() => asked.map(({ outcome }) => outcome)).toEqual(["answered", "answered"]);
  expect(broker.address.port).toBe(port);
  for (const client of early) await client[Symbol.asyncDispose]();
});

test("a start that fails after it has bound lets the port go, and whoever waited there", async () => {
  await using directory = await temporaryDirectory();
  await using it = await running(directory.path);
  const port = await freePort();
  const listeners = `PLAINTEXT://127.0.0.1:${port}`;
  const starting = startBroker({
    config: { listeners, "log.dirs": directory.path },
    world: nodeWorld(),
    logger: silentLogger,
  });
  await expect(starting).rejects.toThrow(`the data directory ${directory.path} is locked by another process`);
  await using other = await temporaryDirectory();
  await using again = await running(other.path, { listeners });
  expect(again.broker.address.port).toBe(port);
  expect(it.broker.address.port).not.toBe(port);
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

/** The real disk, which does not list a directory before it may. */
function diskThatWaits(
  disk: Disk,
  { reached, until }: { readonly reached: () => void; readonly until: Promise<void> },
): Disk {
  return new Proxy(disk, {
    get(target, name) {
      if (name === "list") {
        return async (path: string) => {
          reached();
          await until;
          return target.list(path);
        };
      }
      const member: unknown = Reflect.get(target, name, target);
      return typeof member === "function" ? (member.bind(target) as unknown) : member;
    },
  });
}
