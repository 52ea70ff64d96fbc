export const nodesMax = 9;

const controllersMax = 5;

/**
 * How many of so many nodes are controllers. An odd number, since one more would only be one more that has to agree: of two nodes
 * one, from five nodes on five.
 */
export function controllersOf(nodes: number): number {
  const most = Math.min(nodes, controllersMax);
  return most % 2 === 0 ? most - 1 : most;
}

/** Settings that suit so many nodes better than the defaults, which a single broker has to work with. */
export function suitedTo(nodes: number): Readonly<Record<string, string>> {
  const replicas = Math.min(nodes, 3);
  return {
    "default.replication.factor": String(replicas),
    "min.insync.replicas": replicas === 3 ? "2" : "1",
  };
}

/** What differs from node to node, so that one text for all of them cannot say it. */
export const ofOneNode: readonly string[] = [
  "node.id",
  "broker.id",
  "process.roles",
  "listeners",
  "advertised.listeners",
  "inter.broker.listener.name",
  "controller.listener.names",
  "controller.quorum.voters",
  "log.dirs",
  "log.dir",
];

/** Those settings of a node on this machine. */
export function settingsOfNode(given: {
  readonly nodeId: number;
  readonly port: number;
  /** By node id, where controllers listen. */
  readonly controllerPorts: ReadonlyMap<number, number>;
}): Readonly<Record<string, string>> {
  const { nodeId, port, controllerPorts } = given;
  const own = controllerPorts.get(nodeId);
  const voters = [...controllerPorts].map(([id, controllerPort]) => `${id}@127.0.0.1:${controllerPort}`);
  const client = `PLAINTEXT://127.0.0.1:${port}`;
  return {
    "node.id": String(nodeId),
    "process.roles": own === undefined ? "broker" : "broker,controller",
    listeners: own === undefined ? client : `${client},CONTROLLER://127.0.0.1:${own}`,
    "advertised.listeners": client,
    "inter.broker.listener.name": "PLAINTEXT",
    "controller.listener.names": "CONTROLLER",
    "controller.quorum.voters": voters.join(","),
  };
}

/** Whether enough controllers run to agree: to have others lead what a node leads that stops. */
export function canDecide(running: number, controllers: number): boolean {
  return running * 2 > controllers;
}
