import type { Clock, Random } from "@millrace/base/world";
import type { ConsumerOptions } from "../consumer/options.ts";
import type { Wire } from "../network/wire.ts";
import type { ConsumerRunConfig } from "./consumer-types.ts";
import type { Instrumentation } from "./events.ts";
import type { Logger } from "./logger.ts";
import type { RetrySettings } from "./retry.ts";

/** What a run of a consumer is made of. */
export interface RunParts {
  readonly wire: Wire;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly instrumentation: Instrumentation;
  readonly groupId: string;
  /** By topic: whether reading begins at the beginning where nothing is committed. */
  readonly topics: ReadonlyMap<string, boolean>;
  readonly options: ConsumerOptions;
  readonly retry: RetrySettings;
  readonly config: ConsumerRunConfig;
  /** It cannot go on. Called once, and never after `stop`. */
  readonly onCrash: (error: Error) => void;
}
