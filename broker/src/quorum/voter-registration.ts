import type { Clock, Timer } from "@millrace/base/world";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { updateRaftVoter } from "kafka-protocol-ts/messages/82-update-raft-voter";
import type { ControllerLink } from "../controller/controller-link.ts";
import { clusterFeatures } from "../metadata/features.ts";
import { areSameEndpoints } from "../metadata/image-difference.ts";
import type { MetadataService } from "../metadata/metadata.ts";
import type { BrokerEndpoint } from "../metadata/records.ts";
import { memberOf } from "./node-ids.ts";

export interface VoterRegistrationOptions {
  readonly metadata: MetadataService;
  readonly link: ControllerLink;
  readonly clock: Clock;
  readonly clusterId: string;
  /** Where this node takes the messages of the quorum; empty: it cannot say. */
  readonly endpoints: readonly BrokerEndpoint[];
}

/** Between two looks at what is known of this node. */
const lookMs = 500;
const timeoutMs = 5_000;
const [, kraftVersion] = clusterFeatures;

/**
 * A voter whose endpoints the metadata does not have tells them: those who came after `controller.quorum.voters` was written find it
 * by them, and tools show them.
 */
export class VoterRegistration {
  readonly #options: VoterRegistrationOptions;
  #look: Timer | null = null;
  #isTelling = false;
  #isClosed = false;

  constructor(options: VoterRegistrationOptions) {
    this.#options = options;
    options.metadata.onRole(() => this.#tell());
    this.#schedule();
  }

  close(): void {
    this.#isClosed = true;
    this.#look?.cancel();
  }

  #schedule(): void {
    this.#look = this.#options.clock.schedule(lookMs, () => {
      if (this.#isClosed) return;
      this.#schedule();
      this.#tell();
    });
  }

  get #isDue(): boolean {
    const { metadata, endpoints } = this.#options;
    const { quorum, image } = metadata;
    if (endpoints.length === 0 || quorum.role.leader === null || !quorum.status.voters.includes(quorum.id))
      return false;
    const { nodeId, directoryId } = memberOf(quorum.id);
    const known = image.controllers.get(nodeId);
    return known?.directoryId !== directoryId || !areSameEndpoints(known.endpoints, endpoints);
  }

  #tell(): void {
    if (this.#isTelling || this.#isClosed || !this.#isDue) return;
    this.#isTelling = true;
    void this.#ask().finally(() => {
      this.#isTelling = false;
    });
  }

  /** What is refused or lost is said again at the next look. */
  async #ask(): Promise<boolean> {
    const { metadata, link, clusterId, endpoints } = this.#options;
    const { nodeId, directoryId } = memberOf(metadata.quorum.id);
    const message = {
      clusterId,
      currentLeaderEpoch: metadata.quorum.role.term,
      voterId: nodeId,
      voterDirectoryId: directoryId,
      listeners: endpoints.map(({ listener, host, port }) => ({ name: listener, host, port })),
      kRaftVersionFeature: {
        minSupportedVersion: kraftVersion?.minVersion ?? 0,
        maxSupportedVersion: kraftVersion?.maxVersion ?? 0,
      },
    };
    const answered = await link.request(updateRaftVoter, message, { timeoutMs });
    return answered.ok && answered.value.errorCode === ErrorCode.NONE;
  }
}
