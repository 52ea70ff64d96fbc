import { expect, test } from "vitest";
import { loadStaticConfig } from "./static-config.ts";
import type { ConfigSources } from "./static-config.ts";

function load(sources: ConfigSources): { texts: Record<string, string>; warnings: readonly string[] } {
  const loaded = loadStaticConfig(sources);
  if (!loaded.ok) throw new Error(loaded.message);
  return { texts: Object.fromEntries(loaded.value.texts), warnings: loaded.value.warnings };
}

function refusal(sources: ConfigSources): string | undefined {
  const loaded = loadStaticConfig(sources);
  return loaded.ok ? undefined : loaded.message;
}

test("the command line counts more than the environment, and that more than the file", () => {
  const file = { path: "a.properties", text: "num.partitions=1\nlog.segment.bytes=2000000\nnode.id=9" };
  const environment = { MILLRACE_NUM_PARTITIONS: "2", MILLRACE_LOG_SEGMENT_BYTES: "3000000", PATH: "/bin" };
  expect(load({ file, environment, set: ["num.partitions=3"] })).toEqual({
    texts: { "num.partitions": "3", "log.segment.bytes": "3000000", "node.id": "9" },
    warnings: [],
  });
});

test("an unknown name is warned about, with where it stands", () => {
  const { texts, warnings } = load({
    file: { path: "a.properties", text: "num.partitons=3" },
    environment: { MILLRACE_NUM_PARTITONS: "3" },
    set: ["retention.ms=5"],
  });
  expect(texts).toEqual({});
  expect(warnings).toEqual([
    "unknown setting num.partitons (a.properties) is ignored",
    "unknown setting MILLRACE_NUM_PARTITONS (environment) is ignored",
    "unknown setting retention.ms (--set) is ignored",
  ]);
});

test("every value that is not valid is named, with where it stands", () => {
  expect(
    refusal({
      file: { path: "a.properties", text: "num.partitions=many\nlisteners=" },
      set: ["log.segment.bytes=1", "nonsense"],
    }),
  ).toBe(
    "Invalid value many for configuration num.partitions: Not a number of type INT (a.properties); " +
      "Configuration 'listeners' must not be empty. Valid values include: any non-empty value (a.properties); " +
      "Invalid value 1 for configuration log.segment.bytes: Value must be at least 1048576 (--set); " +
      "nonsense (--set) is not of the form key=value",
  );
});

test("what would be unsafe to ignore is refused; what only has no effect is warned about", () => {
  expect(refusal({ set: ["authorizer.class.name=org.example.Acl"] })).toBe(
    "authorizer.class.name (--set) can not be served: Authentication, authorization and TLS are not built yet.",
  );
  expect(load({ set: ["authorizer.class.name=", "num.network.threads=3", "num.io.threads=16"] }).warnings).toEqual([
    "num.io.threads (--set) has no effect: One event loop and its thread pool serve a node; more cores are more nodes.",
  ]);
});

test("Kafka's own server.properties starts a broker", () => {
  const { warnings } = load({
    file: {
      path: "server.properties",
      text: `
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
log.dirs=/tmp/kraft-combined-logs
num.partitions=1
num.recovery.threads.per.data.dir=1
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
`,
    },
  });
  expect(warnings.filter((warning) => warning.startsWith("unknown"))).toEqual([]);
});

test("broker.id stands in for node.id", () => {
  expect(load({ set: ["broker.id=7"] }).texts["node.id"]).toBe("7");
  expect(load({ set: ["broker.id=7", "node.id=8"] }).texts["node.id"]).toBe("8");
});
