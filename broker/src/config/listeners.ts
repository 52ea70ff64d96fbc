import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { BrokerConfig } from "./broker-keys.ts";

/** One address that takes connections. */
export interface ListenerSetting {
  readonly name: string;
  /** "" takes all interfaces. */
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  readonly kind: "broker" | "controller";
}

/** Where clients of a listener are told to connect. Port 0 stands for the port that was bound. */
export interface Advertised {
  readonly host: string;
  readonly port: number;
}

export interface Listeners {
  readonly listeners: readonly ListenerSetting[];
  /** By the listener's name; listeners of controllers are not advertised to clients. */
  readonly advertised: ReadonlyMap<string, Advertised>;
}

/** What `listeners`, `advertised.listeners`, `controller.listener.names` and the protocol map say together. */
export function listenersOf(config: BrokerConfig): Result<Listeners, "invalid-config"> {
  const controllers = new Set(config["controller.listener.names"].map((name) => name.toUpperCase()));
  const parsed = parseEndpoints("listeners", config.listeners);
  if (!parsed.ok) return parsed;
  const listeners = parsed.value.map((endpoint) => ({
    ...endpoint,
    kind: controllers.has(endpoint.name) ? ("controller" as const) : ("broker" as const),
  }));
  const protocols = protocolsOf(config["listener.security.protocol.map"]);
  for (const { name, kind } of listeners) {
    const protocol = protocols.get(name) ?? (kind === "controller" ? "PLAINTEXT" : undefined);
    if (protocol === undefined) return failed("invalid-config", `No security protocol defined for listener ${name}`);
    if (protocol !== "PLAINTEXT") {
      return failed(
        "invalid-config",
        `listener ${name} asks for ${protocol}: authentication and TLS are not built yet`,
      );
    }
  }
  const advertised = advertisedOf(config, listeners);
  return advertised.ok ? ok({ listeners, advertised: advertised.value }) : advertised;
}

function advertisedOf(
  config: BrokerConfig,
  listeners: readonly ListenerSetting[],
): Result<ReadonlyMap<string, Advertised>, "invalid-config"> {
  const clientListeners = listeners.filter(({ kind }) => kind === "broker");
  const given = config["advertised.listeners"];
  if (given === null) {
    const unreachable = clientListeners.find(({ host }) => isAnyAddress(host));
    if (unreachable !== undefined) {
      return failed(
        "invalid-config",
        `listener ${unreachable.name} takes connections on ${unreachable.host}, an address no client can connect to: say in advertised.listeners where clients shall connect`,
      );
    }
    // Kafka takes the machine's name; a name that resolves everywhere is left to advertised.listeners.
    return ok(
      new Map(clientListeners.map(({ name, host, port }) => [name, { host: host === "" ? "localhost" : host, port }])),
    );
  }
  const parsed = parseEndpoints("advertised.listeners", given);
  if (!parsed.ok) return parsed;
  const advertised = new Map<string, Advertised>();
  for (const { name, host, port } of parsed.value) {
    const listener = listeners.find((candidate) => candidate.name === name);
    if (listener === undefined) {
      return failed("invalid-config", `advertised.listeners names ${name}, which is not among the listeners`);
    }
    if (isAnyAddress(host)) {
      return failed(
        "invalid-config",
        `advertised.listeners cannot use the nonroutable meta-address ${host}. Use a routable IP address.`,
      );
    }
    if (listener.kind === "broker") advertised.set(name, { host: host === "" ? "localhost" : host, port });
  }
  return ok(advertised);
}

function isAnyAddress(host: string): boolean {
  return host === "0.0.0.0" || host === "::";
}

function parseEndpoints(
  key: string,
  texts: readonly string[],
): Result<{ readonly name: string; readonly host: string; readonly port: number }[], "invalid-config"> {
  const endpoints: { readonly name: string; readonly host: string; readonly port: number }[] = [];
  for (const text of texts) {
    const match = /^([^:/]+):\/\/(\[[^\]]*\]|[^:]*):(\d+)$/.exec(text);
    const [, name = "", host = "", portText = ""] = match ?? [];
    const port = Number(portText);
    if (match === null || port > 65_535)
      return failed("invalid-config", `Unable to parse ${text} in ${key} to a broker endpoint`);
    const endpoint = { name: name.toUpperCase(), host: host.replace(/^\[|\]$/g, ""), port };
    const twin = endpoints.find(
      (other) => other.name === endpoint.name || (port !== 0 && other.port === port && other.host === endpoint.host),
    );
    if (twin !== undefined) {
      const what = twin.name === endpoint.name ? `name ${twin.name}` : `address ${twin.host}:${twin.port}`;
      return failed(
        "invalid-config",
        `each listener in ${key} must have its own name and address; two have the ${what}`,
      );
    }
    endpoints.push(endpoint);
  }
  return ok(endpoints);
}

function protocolsOf(map: string): ReadonlyMap<string, string> {
  const protocols = new Map<string, string>();
  for (const entry of map.split(",")) {
    const [name = "", protocol = ""] = entry.split(":").map((side) => side.trim().toUpperCase());
    if (name !== "") protocols.set(name, protocol);
  }
  return protocols;
}
