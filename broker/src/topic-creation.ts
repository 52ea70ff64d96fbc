import { failed, ok } from "@millrace/base/result";
import { ErrorCode } from "kafka-protocol-ts/errors";
import { createTopics } from "kafka-protocol-ts/messages/19-create-topics";
import type { ControllerLink } from "./controller/controller-link.ts";
import { codeOfControllerFailure } from "./metadata/controller/decision.ts";
import type { ControllerFailure, ItemResult } from "./metadata/controller/decision.ts";
import type { MetadataService } from "./metadata/metadata.ts";
import type { InternalTopic } from "./metadata/topics.ts";

/** As Kafka's broker waits for its controller. */
const timeoutMs = 30_000;

/** Topics that come into being because somebody needs them: the broker's own, and those that clients ask for by name. */
export class TopicCreation {
  readonly #metadata: MetadataService;
  readonly #link: ControllerLink;

  constructor({ metadata, link }: { readonly metadata: MetadataService; readonly link: ControllerLink }) {
    this.#metadata = metadata;
    this.#link = link;
  }

  async ensureInternalTopic(name: InternalTopic): Promise<ItemResult<null>> {
    if (this.#metadata.image.topic(name) !== undefined) return ok(null);
    const [created] = await this.createMissing([name]);
    // Another node was faster.
    if (created === undefined || created.ok || created.failure === "topic-exists") return ok(null);
    return created;
  }

  /** With the defaults; an internal one as it has to be. */
  async createMissing(names: readonly string[]): Promise<readonly ItemResult<null>[]> {
    if (this.#link.isHere) {
      const results = await this.#metadata.createMissingTopics(names);
      return results.map((result) => (result.ok ? ok(null) : result));
    }
    const topics = this.#metadata.automaticWishes(names);
    const answered = await this.#link.request(createTopics, { topics, timeoutMs }, { timeoutMs });
    if (!answered.ok) return names.map(() => failed("not-controller", answered.message));
    const byName = new Map(answered.value.topics.map((topic) => [topic.name, topic]));
    return names.map((name): ItemResult<null> => {
      const told = byName.get(name);
      if (told === undefined) return failed("not-controller");
      if (told.errorCode === ErrorCode.NONE) return ok(null);
      return failed(failureOf(told.errorCode), told.errorMessage ?? undefined);
    });
  }
}

function failureOf(code: number): ControllerFailure {
  for (const [failure, of] of Object.entries(codeOfControllerFailure)) {
    if (of === code) return failure as ControllerFailure;
  }
  return "metadata-unavailable";
}
