import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import type { Address } from "@millrace/base/world";
import type { BrokerConfig } from "../config/broker-keys.ts";
import { listenersOf } from "../config/listeners.ts";
import type { Listeners } from "../config/listeners.ts";
import type { BrokerEndpoint } from "../metadata/records.ts";
import { parseVoterAddresses } from "../quorum/voter-addresses.ts";

/** What a node is to be, by its settings. */
export interface NodePlan {
  readonly nodeId: number;
  readonly isBroker: boolean;
  readonly isController: boolean;
  readonly listeners: Listeners;
  /** Other nodes are spoken to. */
  readonly isClustered: boolean;
  /** By node id, where controllers are; of a node by itself empty. */
  readonly controllers: ReadonlyMap<number, Address>;
  /** On which brokers speak to each other. */
  readonly interBrokerListener: string;
}

/** Where the others reach this controller: as all settings say it, or as its own listener does; empty where neither does. */
export function controllerEndpoints({ nodeId, listeners, controllers }: NodePlan): readonly BrokerEndpoint[] {
  const listener = listeners.listeners.find(({ kind }) => kind === "controller");
  if (listener === undefined) return [];
  const { name, host, port } = listener;
  const known = controllers.get(nodeId);
  if (known !== undefined) return [{ listener: name, ...known }];
  const isAddress = port !== 0 && !["", "0.0.0.0", "::"].includes(host);
  return isAddress ? [{ listener: name, host, port }] : [];
}

export function nodePlan(nodeId: number, config: BrokerConfig): Result<NodePlan, "invalid-config"> {
  const listeners = listenersOf(config);
  if (!listeners.ok) return listeners;
  const parsed = parseVoterAddresses(config["controller.quorum.voters"]);
  if (!parsed.ok) return parsed;
  const controllers = parsed.value;
  const roles = new Set(config["process.roles"]);
  const isBroker = roles.has("broker");
  const isController = roles.has("controller");
  const hasControllerListener = listeners.value.listeners.some(({ kind }) => kind === "controller");
  const isClustered = hasControllerListener || controllers.size > 0;
  const mistake = mistakeOf({
    nodeId,
    isBroker,
    isController,
    isClustered,
    hasControllerListener,
    controllers,
    config,
  });
  if (mistake !== null) return failed("invalid-config", mistake);
  const interBroker = interBrokerListener(config, listeners.value);
  if (!interBroker.ok) return interBroker;
  return ok({
    nodeId,
    isBroker,
    isController,
    listeners: listeners.value,
    isClustered,
    controllers,
    interBrokerListener: interBroker.value,
  });
}

function mistakeOf(given: {
  readonly nodeId: number;
  readonly isBroker: boolean;
  readonly isController: boolean;
  readonly isClustered: boolean;
  readonly hasControllerListener: boolean;
  readonly controllers: ReadonlyMap<number, Address>;
  readonly config: BrokerConfig;
}): string | null {
  const { nodeId, isController, isClustered, hasControllerListener, controllers } = given;
  const isVoter = controllers.has(nodeId);
  if (!isClustered)
    return isController ? null : "process.roles has no controller, and controller.quorum.voters names none";
  if (isController && !hasControllerListener) {
    return "a controller of a cluster needs a listener for it: one of controller.listener.names in listeners";
  }
  if (!isController && hasControllerListener) {
    return "listeners has a listener for controllers, and process.roles does not have controller";
  }
  if (!isController && isVoter) {
    return `controller.quorum.voters names node ${nodeId}, whose process.roles does not have controller`;
  }
  if (controllers.size === 0 && !isController) return "controller.quorum.voters has to say where the controllers are";
  return null;
}

function interBrokerListener(config: BrokerConfig, { listeners }: Listeners): Result<string, "invalid-config"> {
  const ofBrokers = listeners.filter(({ kind }) => kind === "broker");
  const wanted = config["inter.broker.listener.name"]?.toUpperCase();
  const found = wanted === undefined ? ofBrokers[0] : ofBrokers.find(({ name }) => name === wanted);
  if (found !== undefined) return ok(found.name);
  if (ofBrokers.length === 0) return ok("");
  return failed("invalid-config", `inter.broker.listener.name is ${wanted ?? ""}, which is not among the listeners`);
}
