import { expect, test } from "vitest";
import { BrokerConfigs } from "./broker-configs.ts";
import { listenersOf } from "./listeners.ts";
import type { Listeners } from "./listeners.ts";

function listeners(settings: Readonly<Record<string, string>>): Listeners | string | undefined {
  const overrides = { configVersion: 0, configsOf: () => new Map<string, string>() };
  const { broker } = new BrokerConfigs({ nodeId: 1, texts: new Map(Object.entries(settings)), overrides });
  const result = listenersOf(broker);
  return result.ok ? result.value : result.message;
}

test("without settings a broker listens on its own machine", () => {
  expect(listeners({})).toEqual({
    listeners: [{ name: "PLAINTEXT", host: "127.0.0.1", port: 9092, kind: "broker" }],
    advertised: new Map([["PLAINTEXT", { host: "127.0.0.1", port: 9092 }]]),
  });
});

test("controllers have listeners of their own, which are not advertised", () => {
  expect(
    listeners({
      listeners: "PLAINTEXT://:9092,CONTROLLER://[::1]:9093",
      "controller.listener.names": "CONTROLLER",
    }),
  ).toEqual({
    listeners: [
      { name: "PLAINTEXT", host: "", port: 9092, kind: "broker" },
      { name: "CONTROLLER", host: "::1", port: 9093, kind: "controller" },
    ],
    advertised: new Map([["PLAINTEXT", { host: "localhost", port: 9092 }]]),
  });
});

test("advertised addresses go by the listener's name", () => {
  expect(
    listeners({
      listeners: "INSIDE://0.0.0.0:9092,OUTSIDE://0.0.0.0:9094",
      "listener.security.protocol.map": "INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT",
      "advertised.listeners": "INSIDE://kafka:9092,outside://example.org:19094",
    }),
  ).toMatchObject({
    advertised: new Map([
      ["INSIDE", { host: "kafka", port: 9092 }],
      ["OUTSIDE", { host: "example.org", port: 19_094 }],
    ]),
  });
});

test.for([
  [{ listeners: "127.0.0.1:9092" }, "Unable to parse 127.0.0.1:9092 in listeners to a broker endpoint"],
  [{ listeners: "PLAINTEXT://h:99999" }, "Unable to parse PLAINTEXT://h:99999 in listeners to a broker endpoint"],
  [{ listeners: "PLAINTEXT://h" }, "Unable to parse PLAINTEXT://h in listeners to a broker endpoint"],
  [{ listeners: "INSIDE://h:1" }, "No security protocol defined for listener INSIDE"],
  [{ listeners: "SSL://h:1" }, "listener SSL asks for SSL: authentication and TLS are not built yet"],
  [
    { listeners: "PLAINTEXT://a:1,PLAINTEXT://b:2" },
    "each listener in listeners must have its own name and address; two have the name PLAINTEXT",
  ],
  [
    { listeners: "PLAINTEXT://0.0.0.0:9092" },
    "listener PLAINTEXT takes connections on 0.0.0.0, an address no client can connect to: say in advertised.listeners where clients shall connect",
  ],
  [
    { "advertised.listeners": "PLAINTEXT://0.0.0.0:9092" },
    "advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address.",
  ],
  [{ "advertised.listeners": "OTHER://h:1" }, "advertised.listeners names OTHER, which is not among the listeners"],
] as const)("%j is refused", ([settings, message]) => {
  expect(listeners(settings)).toBe(message);
});
