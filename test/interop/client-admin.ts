import { Cluster } from "@millrace/client";
import type { Admin, KafkaError, Outcome } from "@millrace/client";
import { expect, vi } from "vitest";
import { Target } from "./target.ts";

/** What Apache Kafka needs, so that it serves every API; Millrace knows the settings that both have. */
const settingsOf = {
  kafka: {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS",
    "delegation.token.secret.key": "a secret of these tests",
    "group.initial.rebalance.delay.ms": "0",
    "transaction.partition.verification.enable": "false",
    "group.coordinator.rebalance.protocols": "classic,consumer,streams,share",
  },
  millrace: { "group.initial.rebalance.delay.ms": "0", "transaction.partition.verification.enable": "false" },
} as const;

export function codes(outcomes: readonly Outcome<unknown, unknown>[]): string[] {
  return outcomes.map((each) => (each.ok ? "ok" : each.error.code));
}

export async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "ok";
  } catch (error) {
    return (error as KafkaError).code;
  }
}

/** What a controller has taken Kafka's brokers hear of a moment later. What is not served will not be either. */
export async function soon(check: () => Promise<void>): Promise<void> {
  const refusal = await vi.waitFor(
    async () => {
      try {
        await check();
        return null;
      } catch (error) {
        if ((error as Partial<KafkaError>).code === "UNSUPPORTED_VERSION") return error as KafkaError;
        throw error;
      }
    },
    { timeout: 20_000, interval: 50 },
  );
  if (refusal !== null) throw refusal;
}

export async function all<T>(listing: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const each of listing) found.push(each);
  return found;
}

/** Without hiding that the API is not served. */
export async function expectCode(work: Promise<unknown>, code: string): Promise<void> {
  const found = await work.then(
    () => null,
    (error: unknown) => error as KafkaError,
  );
  if (found?.code === "UNSUPPORTED_VERSION") throw found;
  expect(found?.code).toBe(code);
}

/** A broker with a client that administers it. */
export class AdminSuite implements AsyncDisposable {
  readonly isKafka: boolean;
  readonly target: Target;
  readonly cluster: Cluster;
  readonly admin: Admin;

  private constructor(target: Target) {
    this.isKafka = target.name === "kafka";
    this.target = target;
    this.cluster = new Cluster({ brokers: [target.address], clientId: "admin-test" });
    this.admin = this.cluster.admin();
  }

  static async start(name: "kafka" | "millrace"): Promise<AdminSuite> {
    const suite = new AdminSuite(await Target.start({ name, isBrief: true, settings: settingsOf[name] }));
    await suite.admin.cluster.describe();
    return suite;
  }

  brokerId(): number {
    return [...this.cluster.wire.metadata.brokers.keys()][0] ?? -1;
  }

  /** What Kafka serves is done, and what Millrace does not is refused by its name. */
  async servedByKafka(api: string, work: () => Promise<void>): Promise<void> {
    if (this.isKafka) return work();
    await expect(work()).rejects.toMatchObject({
      code: "UNSUPPORTED_VERSION",
      message: expect.stringMatching(new RegExp(`${this.target.port} does not serve ${api}$`)) as string,
    });
  }

  async produce(topic: string, values: readonly string[], partition = 0): Promise<void> {
    await using producer = this.cluster.producer();
    for (const value of values) await producer.send(topic, { value, partition });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cluster.close();
    await this.target[Symbol.asyncDispose]();
  }
}
