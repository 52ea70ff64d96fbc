import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nodeWorld } from "@millrace/base/node/node-world";
import type { LogFields, Logger } from "@millrace/base/logger";
import type { World } from "@millrace/base/world";
import { startBroker } from "@millrace/broker/broker";
import type { Broker } from "@millrace/broker/broker";
import { createTopics } from "kafka-protocol-ts/messages/19-create-topics";
import { installNodeAccelerators } from "kafka-protocol-ts/node";
import { encodeBatch } from "kafka-protocol-ts/records/record";
import { RawClient } from "./raw-client.ts";

/** Remembers what was logged, so that a test can ask for the reason the operator would see. */
export class LogBook implements Logger {
  readonly lines: { readonly level: string; readonly message: string; readonly fields: LogFields }[] = [];
  debug(message: string, fields: LogFields = {}): void {
    this.lines.push({ level: "debug", message, fields });
  }
  info(message: string, fields: LogFields = {}): void {
    this.lines.push({ level: "info", message, fields });
  }
  warn(message: string, fields: LogFields = {}): void {
    this.lines.push({ level: "warn", message, fields });
  }
  error(message: string, fields: LogFields = {}): void {
    this.lines.push({ level: "error", message, fields });
  }
  with(): Logger {
    return this;
  }
  /** The last lines as one text, for the message of a failing test. */
  text(count: number): string {
    return this.lines
      .slice(-count)
      .map(({ level, message, fields }) => `${level} ${message} ${fieldsText(fields)}`)
      .join("\n");
  }
  /** All reasons of closed connections. */
  get reasons(): string[] {
    return this.lines
      .filter(({ message }) => message === "connection closed")
      .map(({ fields }) => String(fields["reason"]));
  }
}

export function fieldsText(fields: LogFields): string {
  return JSON.stringify(fields, (_, value: unknown) => (value instanceof Error ? value.message : value));
}

/** A data directory that is gone when the test is. */
export async function temporaryDirectory(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), "millrace-"));
  return { path, [Symbol.asyncDispose]: async () => rm(path, { recursive: true, force: true }) };
}

export interface Running extends AsyncDisposable {
  readonly broker: Broker;
  readonly log: LogBook;
  readonly client: () => Promise<RawClient>;
}

/** A broker in this process on a free port. */
export async function running(
  dataDirectory: string,
  config: Readonly<Record<string, string>> = {},
  world: World = nodeWorld({ workerPreload: [import.meta.resolve("kafka-protocol-ts/install")] }),
): Promise<Running> {
  installNodeAccelerators();
  const log = new LogBook();
  const broker = await startBroker({
    config: { listeners: "PLAINTEXT://127.0.0.1:0", "log.dirs": dataDirectory, ...config },
    world,
    logger: log,
  });
  return {
    broker,
    log,
    client: async () => RawClient.connect(broker.address),
    [Symbol.asyncDispose]: async () => broker.stop(),
  };
}

export async function createTopic(
  client: RawClient,
  name: string,
  partitions = 1,
  config: Record<string, string> = {},
): Promise<void> {
  const { topics } = await client.request(createTopics, 7, {
    topics: [
      {
        name,
        numPartitions: partitions,
        replicationFactor: 1,
        assignments: [],
        configs: Object.entries(config).map(([key, value]) => ({ name: key, value })),
      },
    ],
    timeoutMs: 10_000,
    validateOnly: false,
  });
  const [created] = topics;
  if (created?.errorCode !== 0) throw new Error(`creating ${name}: ${created?.errorCode} ${created?.errorMessage}`);
}

/** One batch of records with these values. */
export function batchOf(values: readonly string[], options: Partial<Parameters<typeof encodeBatch>[0]> = {}): Buffer {
  return encodeBatch({
    records: values.map((value) => ({ key: null, value: Buffer.from(value), timestamp: 1_700_000_000_000 })),
    ...options,
  });
}
