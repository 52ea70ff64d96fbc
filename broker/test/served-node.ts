import { silentLogger } from "@millrace/base/logger";
import type { Address, Clock, Network } from "@millrace/base/world";
import type { Handler } from "@millrace/broker/apis/handler";
import { bindHandlers } from "@millrace/broker/apis/handler";
import { apiVersionsHandler } from "@millrace/broker/apis/18-api-versions";
import { FramePool } from "@millrace/broker/network/frame-pool";
import { Server } from "@millrace/broker/network/server";
import type { Services } from "@millrace/broker/services";

export interface ServedNodeOptions {
  readonly network: Network;
  readonly clock: Clock;
  readonly address: Address;
  /** Beside ApiVersions. */
  readonly handlers: readonly Handler[];
  readonly services?: Partial<Services>;
  readonly fatal?: (error: unknown) => void;
}

const MiB = 1024 * 1024;

/** A real server with a controller listener, and of a node nothing else. */
export async function serveNode({
  network,
  clock,
  address,
  handlers,
  services = {},
  fatal = (error) => {
    throw error;
  },
}: ServedNodeOptions): Promise<Server> {
  const server = new Server({
    ...{ network, clock, logger: silentLogger, framePool: new FramePool({ isOverwriting: true }) },
    limits: {
      ...{ frameBytesMax: 100 * MiB, inFlightMax: 64, inFlightBytesMax: 64 * MiB, unsentBytesMax: 8 * MiB },
      ...{ waitingMax: 100, idleMsMax: 600_000, requestBytesMax: 512 * MiB, stallMs: 30_000 },
    },
  });
  await server.listen({ name: "CONTROLLER", kind: "controller", ...address });

  const metadata = { image: { offset: 0, features: new Map() } } as unknown as Services["metadata"];
  const all = {
    clock,
    logger: silentLogger,
    metadata,
    raft: null,
    handlersOf: () => byKey,
    ...services,
  } as unknown as Services;
  const byKey = bindHandlers<Services>(all, [apiVersionsHandler, ...handlers]);
  const limits = { connectionsMax: 1_000, connectionsPerHostMax: 1_000, connectionsPerSecondMax: 1_000_000 };
  server.serve("controller", { handlers: byKey, fatal });
  server.open(() => limits);
  return server;
}
