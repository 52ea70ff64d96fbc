import { assert } from "@millrace/base/assert";
import type {
  CommitAnswer,
  DeleteGroupsAnswer,
  DeleteOffsetsAnswer,
  DescribedGroup,
  FetchAnswer,
  JoinAnswer,
  LeaveAnswer,
  ListedGroup,
  SyncAnswer,
} from "../answers.ts";
import type { ClassicGroup } from "../classic-group.ts";
import { assignmentBytes, assignmentOf } from "../consumer-protocol.ts";
import { defaultGroupSettings } from "../settings.ts";
import type { GroupSettings } from "../settings.ts";
import type { Group } from "../types.ts";
import { subscription, TestClient } from "./client.ts";
import type { ConsumerClient } from "./consumer-client.ts";
import { consumerText, runConsumerCommand } from "./consumer-script.ts";
import { GroupHost } from "./group-host.ts";

/**
 * Runs a script against one shard. Blocks of commands, `----`, what happened; then an empty line:
 *
 *     settings delay=0s size=2        initial rebalance delay, group.max.size, retention, pending members; of consumer groups:
 *                                     interval (between targets), consumers (group size), policy (migration)
 *     client a group=g instance=i     without it: group g, no instance id
 *     join a protocols=range,rr       also: type= session= rebalance= topics= owned=t-0,1 v=3 (joins at once) v=8
 *                                     (cannot skip)
 *     sync a a=0,1 b=2                what the leader assigns, by client; followers: sync b; generation=2; a=embedded:t-0,1;u-0
 *                                     assigns in words that the coordinator knows, too
 *     beat a · leave a b · evict i    heartbeat; several leave at once; an administrator removes by instance id
 *     restart a                       the process is new and knows nothing
 *     commit a t-0=5 · commit @g t-0=5        as the member (or generation=3); from outside of group g
 *     commit … in=7 · end 7 commit    as part of the transaction of producer 7; its marker: commit or abort
 *     fetch g t-0 · fetch g           some or all offsets; stable=yes does not tell those that a transaction may move
 *     describe g · list states=empty · delete g h · delete-offsets g t-0 · topics-deleted t
 *     advance 10s · failover          time passes; another broker takes over with nothing but the log
 *
 * Of the consumer protocol:
 *
 *     consumer a group=g instance=i   without it: group g, no instance id
 *     consume a topics=t,u            joins; also: regex= assignor= rack= rebalance=
 *     hb a                            heartbeat, with what it has if that has changed; also: epoch= topics= regex= owned=t-0,1; `full` says
 *                                     everything, `silent` does not say what it has, `lost`: the answer never comes
 *     holds a · yields a              it does not give up what it is told to, or does so again (as from the beginning)
 *     quit a · away a · reborn a      leaves; leaves for a moment (static); the process is new
 *     topic t=4 · topic t=0           t has 4 partitions now; t is gone
 *     describe-consumer g
 *     commit a … · member-fetch a t-0 as the member, with its epoch or epoch=3
 *
 * `<=` is an answer that waits until the log has it, `<-` one that does not. A changed group is shown after its block.
 */
export function runScript(script: string): string {
  const runner = new ScriptRunner();
  return script
    .trim()
    .split(/\n\n+/)
    .map((block) => {
      const [input = ""] = block.split("\n----");
      const commands = input.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
      return commands.length === 0 ? input : `${input}\n----\n${runner.run(commands).join("\n")}`.trimEnd();
    })
    .join("\n\n")
    .concat("\n");
}

class ScriptRunner {
  #host = new GroupHost(settingsOf(new Map()));
  readonly #clients = new Map<string, TestClient>();
  readonly #consumers = new Map<string, ConsumerClient>();
  readonly #shown = new Map<string, string>();

  run(commands: readonly string[]): string[] {
    for (const command of commands) {
      const [verb = "", ...words] = command.trim().split(/\s+/);
      this.#run(verb, words);
    }
    const lines = this.#host.trace.splice(0);
    const texts = new Map([...this.#host.shard.groups.values()].map((group) => [group.groupId, groupText(group)]));
    for (const [groupId, text] of texts) {
      if (this.#shown.get(groupId) !== text) lines.push(`${groupId}: ${text}`);
      this.#shown.set(groupId, text);
    }
    for (const groupId of [...this.#shown.keys()]) {
      if (texts.has(groupId)) continue;
      lines.push(`${groupId}: not there`);
      this.#shown.delete(groupId);
    }
    return lines;
  }

  #run(verb: string, words: readonly string[]): void {
    const [subject = "", ...rest] = words.filter((word) => !word.includes("=") || /-\d+=/.test(word));
    const options = new Map(
      words.filter((word) => word.includes("=")).map((word) => word.split("=", 2) as [string, string]),
    );
    const host = this.#host;
    const context = {
      host,
      consumers: this.#consumers,
      answer: (who: string, when: "committed" | "now" | "lost", text: string) => this.#answer(who, when, text),
      durationMs,
    };
    if (runConsumerCommand(context, { verb, words: [subject, ...rest], options })) return;
    switch (verb) {
      case "settings":
        this.#host = new GroupHost(settingsOf(options));
        this.#clients.clear();
        this.#consumers.clear();
        return;
      case "client":
        this.#clients.set(
          subject,
          new TestClient(host, {
            name: subject,
            groupId: options.get("group") ?? "g",
            instanceId: options.get("instance") ?? null,
          }),
        );
        return;
      case "join":
        return this.#join(this.#client(subject), options);
      case "sync":
        return this.#sync(this.#client(subject), options);
      case "beat":
        return this.#say(`${subject} <- ${this.#client(subject).heartbeat() ?? "ok"}`);
      case "restart":
        return this.#client(subject).restart();
      case "leave":
      case "evict":
        return this.#leave(verb, [subject, ...rest]);
      case "commit":
        return this.#commit(subject, rest, options);
      case "fetch":
        return this.#fetch(subject, rest, { memberId: null, memberEpoch: -1 }, options.get("stable") === "yes");
      case "member-fetch": {
        const { memberId, epoch } = this.#consumers.get(subject) ?? { memberId: subject, epoch: 1 };
        return this.#fetch("g", rest, { memberId, memberEpoch: Number(options.get("epoch") ?? epoch) });
      }
      case "describe":
      case "list":
        return this.#read(verb, subject, options);
      case "delete":
        return host.ask<DeleteGroupsAnswer>(
          (shard, ticket) => shard.decideDeleteGroups({ ticket, groupIds: [subject, ...rest] }),
          (answer, when) =>
            this.#answer(
              "",
              when,
              (answer?.groups ?? []).map(({ groupId, failure }) => `${groupId} ${failure ?? "deleted"}`).join(", "),
            ),
        );
      case "delete-offsets":
        return host.ask<DeleteOffsetsAnswer>(
          (shard, ticket) => shard.decideDeleteOffsets({ ticket, groupId: subject, partitions: rest.map(placeOf) }),
          (answer, when) =>
            this.#answer(
              "",
              when,
              answer?.failure ?? (answer?.partitions ?? []).map((one) => one ?? "deleted").join(", "),
            ),
        );
      case "topics-deleted":
        return host.tell((shard) => shard.decideTopicsDeleted(new Set([subject, ...rest])));
      case "end":
        return host.endTransaction(Number(subject), rest[0] === "commit" ? "commit" : "abort");
      case "advance":
        return host.advance(durationMs(subject));
      case "failover":
        return host.failover();
      default:
        assert(false, `there is no command ${verb}`);
    }
  }

  #client(name: string): TestClient {
    let client = this.#clients.get(name);
    if (client === undefined) this.#clients.set(name, (client = new TestClient(this.#host, { name, groupId: "g" })));
    return client;
  }

  #join(client: TestClient, options: ReadonlyMap<string, string>): void {
    const topics = (options.get("topics") ?? "t").split(",");
    const owned = options.has("owned") ? partitionsFrom(options.get("owned") ?? "") : null;
    const type = options.get("type") ?? "consumer";
    const version = Number(options.get("v") ?? 9);
    client.join(
      {
        protocolType: type,
        protocols: (options.get("protocols") ?? "range").split(",").map((name) => ({
          name,
          metadata: type === "consumer" ? subscription(topics, owned) : Buffer.from(`about ${name}`),
        })),
        sessionTimeoutMs: durationMs(options.get("session") ?? "10s"),
        rebalanceTimeoutMs: durationMs(options.get("rebalance") ?? "60s"),
        isMemberIdRequired: version >= 4,
        canSkipAssignment: version >= 9,
      },
      (answer) => this.#answer(client.name, "now", joinText(answer)),
    );
  }

  #sync(client: TestClient, options: ReadonlyMap<string, string>): void {
    const assigned = [...options].filter(([name]) => name !== "generation");
    const assignments = new Map(
      assigned.map(([name, text]) => [this.#client(name).memberId, assignmentFrom(text)] as const),
    );
    client.generation = Number(options.get("generation") ?? client.generation);
    client.sync(assignments, (answer) =>
      this.#answer(client.name, answer.failure === null ? "committed" : "now", syncText(answer)),
    );
  }

  #leave(verb: "leave" | "evict", names: readonly string[]): void {
    const clients = names.map((name) => this.#client(name));
    const groupId = clients[0]?.groupId ?? "g";
    const members =
      verb === "evict"
        ? names.map((instanceId) => ({ memberId: "", instanceId, reason: null }))
        : clients.map(({ memberId, instanceId }) => ({ memberId, instanceId, reason: null }));
    this.#host.ask<LeaveAnswer>(
      (shard, ticket) =>
        shard.decideLeave({ ticket, groupId: verb === "evict" ? "g" : groupId, members }, this.#host.nowMs),
      (answer, when) =>
        this.#answer(names.join(" "), when, (answer?.members ?? []).map(({ failure }) => failure ?? "left").join(", ")),
    );
  }

  #commit(subject: string, places: readonly string[], options: ReadonlyMap<string, string>): void {
    const outside = subject.startsWith("@");
    const consumer = this.#consumers.get(subject);
    const client = outside || consumer !== undefined ? null : this.#client(subject);
    const member = consumer ?? client;
    const epoch = options.get("epoch") ?? consumer?.epoch;
    const producerId = options.get("in");
    const offsets = places.map((text) => {
      const [place = "", offset = "0"] = text.split("=");
      return { ...placeOf(place), offset: Number(offset), topicId: null, leaderEpoch: -1, metadata: "" };
    });
    this.#host.ask<CommitAnswer>(
      (shard, ticket) =>
        shard.decideCommit(
          {
            ticket,
            groupId: member?.groupId ?? subject.slice(1),
            memberId: member?.memberId ?? "",
            instanceId: member?.instanceId ?? null,
            generation: Number(epoch ?? options.get("generation") ?? client?.generation ?? -1),
            producer:
              producerId === undefined ? null : { producerId: Number(producerId), producerEpoch: 0, guard: null },
            knowsGroupIdNotFound: producerId === undefined && options.get("v") !== "8",
            expireAfterMs: null,
            offsets,
          },
          this.#host.nowMs,
        ),
      (answer, when) =>
        this.#answer(
          subject,
          when,
          answer?.failure ?? (answer?.partitions ?? []).map((one) => one ?? "committed").join(", "),
        ),
    );
  }

  #fetch(
    groupId: string,
    places: readonly string[],
    member: { readonly memberId: string | null; readonly memberEpoch: number },
    isStableRequired = false,
  ): void {
    const topics = places.map((text) => ({
      topic: placeOf(text).topic,
      topicId: null,
      partitions: [placeOf(text).partition],
    }));
    this.#host.ask<FetchAnswer>(
      (shard, ticket) =>
        shard.decideFetch({
          ticket,
          groupId,
          ...member,
          topics: places.length === 0 ? null : topics,
          isStableRequired,
        }),
      (answer, when) => {
        const texts = (answer?.topics ?? []).flatMap(({ topic, partitions }) =>
          partitions.map((one) => `${topic}-${one.partition}=${one.failure ?? one.offset}`),
        );
        const text = texts.length === 0 ? "no offsets" : texts.join(" ");
        this.#answer(groupId, when, answer?.failure ?? text);
      },
    );
  }

  #read(verb: "describe" | "list", groupId: string, options: ReadonlyMap<string, string>): void {
    const list = (key: string): string[] => options.get(key)?.split(",") ?? [];
    if (verb === "list") {
      this.#host.ask<readonly ListedGroup[]>(
        (shard, ticket) => shard.decideList({ ticket, states: list("states"), types: list("types") }),
        (answer, when) =>
          this.#answer(
            "list",
            when,
            (answer ?? [])
              .map((one) => `${one.groupId} (${one.type}, ${one.protocolType || "no protocol"}, ${one.state})`)
              .join(", ") || "nothing",
          ),
      );
      return;
    }
    this.#host.ask<readonly DescribedGroup[]>(
      (shard, ticket) => shard.decideDescribe({ ticket, groupIds: [groupId] }),
      (answer, when) => {
        const [group] = answer ?? [];
        const members = (group?.members ?? []).map(
          ({ memberId, metadata, assignment }) =>
            `${memberId} metadata ${metadata.length} B assignment ${assignedText(assignment)}`,
        );
        this.#answer(
          groupId,
          when,
          [group?.state, `type "${group?.protocolType}"`, `protocol "${group?.protocolName}"`, ...members].join(" · "),
        );
      },
    );
  }

  #answer(who: string, when: "committed" | "now" | "lost", text: string): void {
    this.#say(`${who} ${when === "committed" ? "<=" : "<-"} ${when === "lost" ? "lost" : text}`.trimStart());
  }

  #say(line: string): void {
    this.#host.trace.push(line);
  }
}

function joinText(answer: JoinAnswer): string {
  if (answer.failure !== null) return `${answer.failure}${answer.memberId === "" ? "" : ` as ${answer.memberId}`}`;
  const members =
    answer.members.length === 0 ? "" : ` assigns to ${answer.members.map(({ memberId }) => memberId).join(" ")}`;
  const skip = answer.skipAssignment ? " but keeps the assignment" : "";
  return `joined generation ${answer.generation} as ${answer.memberId}, leader ${answer.leaderId}, ${answer.protocolName}${members}${skip}`;
}

/** `embedded:t-0,1;u-0` is a message of the embedded consumer protocol; any other text stands for itself. */
function assignmentFrom(text: string): string | Uint8Array {
  if (!text.startsWith("embedded:")) return text;
  return assignmentBytes(partitionsFrom(text.slice("embedded:".length)), subscription([]));
}

/** `t-0,1;u-0` */
function partitionsFrom(text: string): { readonly topic: string; readonly partitions: readonly number[] }[] {
  return text.split(";").map((one) => {
    const [topic = "", partitions = ""] = one.split("-");
    return { topic, partitions: partitions.split(",").map(Number) };
  });
}

function syncText(answer: SyncAnswer): string {
  if (answer.failure !== null) return answer.failure;
  return `assigned ${assignedText(answer.assignment)}`;
}

/** Scripts assign texts; what the coordinator assigns is a message of the embedded protocol. */
function assignedText(assignment: Uint8Array): string {
  const parsed = assignment[0] === 0 ? assignmentOf(assignment) : null;
  if (parsed === null) return `[${Buffer.from(assignment).toString()}]`;
  const texts = parsed.assignedPartitions.map(({ topic, partitions }) => `${topic}[${partitions.join(",")}]`);
  return texts.join(" ") || "nothing";
}

function groupText(group: Group): string {
  return group.type === "consumer" ? consumerText(group) : classicText(group);
}

function classicText(group: ClassicGroup): string {
  const members = [...group.members.values()].map((member) => {
    const waits = member.joinTicket !== null ? " joins" : member.syncTicket !== null ? " syncs" : "";
    return `${member.memberId}${member.memberId === group.leaderId ? "*" : ""}${waits}`;
  });
  const pending = group.pendingMembers.size === 0 ? "" : ` · pending ${[...group.pendingMembers].join(" ")}`;
  const missing = group.pendingSync.size === 0 ? "" : ` · to sync ${[...group.pendingSync].join(" ")}`;
  return `${group.state} generation ${group.generation}${members.length === 0 ? "" : ` · ${members.join(", ")}`}${pending}${missing}`;
}

function consumerSettingsOf(options: ReadonlyMap<string, string>): GroupSettings["consumer"] {
  const { consumer } = defaultGroupSettings;
  const policy = options.get("policy") ?? "bidirectional";
  const intervalText = options.get("interval");
  const times = consumer.ofGroup("");
  return {
    ...consumer,
    sizeMax: Number(options.get("consumers") ?? consumer.sizeMax),
    canUpgrade: policy === "bidirectional" || policy === "upgrade",
    canDowngrade: policy === "bidirectional" || policy === "downgrade",
    isMigrationDisabled: policy === "disabled",
    // Most stories are about something else than waiting for the next target.
    ofGroup: () => ({ ...times, assignmentIntervalMs: intervalText === undefined ? 0 : durationMs(intervalText) }),
  };
}

function settingsOf(options: ReadonlyMap<string, string>): GroupSettings {
  const ms = (key: string, fallback: number): number =>
    options.has(key) ? durationMs(options.get(key) ?? "") : fallback;
  return {
    ...defaultGroupSettings,
    initialRebalanceDelayMs: ms("delay", defaultGroupSettings.initialRebalanceDelayMs),
    offsetsRetentionMs: ms("retention", defaultGroupSettings.offsetsRetentionMs),
    groupSizeMax: Number(options.get("size") ?? defaultGroupSettings.groupSizeMax),
    pendingMembersMax: Number(options.get("pending") ?? defaultGroupSettings.pendingMembersMax),
    recordBytesMax: Number(options.get("record") ?? defaultGroupSettings.recordBytesMax),
    consumer: consumerSettingsOf(options),
  };
}

function placeOf(text: string): { readonly topic: string; readonly partition: number } {
  const [place = ""] = text.split("=");
  const dash = place.lastIndexOf("-");
  return { topic: place.slice(0, dash), partition: Number(place.slice(dash + 1)) };
}

function durationMs(text: string): number {
  const units: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
  const [, count = "0", unit = "ms"] = /^(\d+)(ms|s|m|h|d)$/.exec(text) ?? [];
  return Number(count) * (units[unit] ?? 1);
}
