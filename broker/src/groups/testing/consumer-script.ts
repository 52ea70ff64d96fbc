import type { Assignment } from "../assignors/types.ts";
import type { ConsumerDescribeAnswer, ConsumerHeartbeatAnswer } from "../consumer/commands.ts";
import type { ConsumerGroup } from "../consumer/group.ts";
import { assignmentOf } from "../consumer/member.ts";
import { ConsumerClient } from "./consumer-client.ts";
import type { ConsumeOptions } from "./consumer-client.ts";
import { assignmentText } from "./group-host.ts";
import type { GroupHost } from "./group-host.ts";

/** What commands of the consumer protocol need of the script that they are part of. */
export interface ScriptContext {
  readonly host: GroupHost;
  readonly consumers: Map<string, ConsumerClient>;
  answer(who: string, when: "committed" | "now" | "lost", text: string): void;
  durationMs(text: string): number;
}

/** False: it is no command of the consumer protocol. testing/script.ts lists them. */
export function runConsumerCommand(
  context: ScriptContext,
  {
    verb,
    words,
    options,
  }: { readonly verb: string; readonly words: readonly string[]; readonly options: ReadonlyMap<string, string> },
): boolean {
  const { host, consumers } = context;
  const [subject = "", ...flags] = words;
  const client = (): ConsumerClient => {
    let known = consumers.get(subject);
    if (known === undefined)
      consumers.set(subject, (known = new ConsumerClient(host, { name: subject, groupId: "g" })));
    return known;
  };
  const tell = (answer: ConsumerHeartbeatAnswer, when: "committed" | "now" | "lost"): void =>
    context.answer(subject, when, heartbeatText(answer));
  switch (verb) {
    case "consumer": {
      const identity = {
        name: subject,
        groupId: options.get("group") ?? "g",
        instanceId: options.get("instance") ?? null,
      };
      consumers.set(subject, new ConsumerClient(host, identity));
      return true;
    }
    case "consume":
      client().join(consumeOptions(context, options), tell);
      return true;
    case "hb": {
      const epoch = options.get("epoch");
      client().beat(
        {
          ...consumeOptions(context, options),
          ...(epoch === undefined ? {} : { epoch: Number(epoch) }),
          ...(options.has("owned") ? { owned: ownedFrom(host, options.get("owned") ?? "") } : {}),
          isFull: flags.includes("full"),
          isSilent: flags.includes("silent"),
          isLost: flags.includes("lost"),
        },
        tell,
      );
      return true;
    }
    case "quit":
      client().leave(-1, tell);
      return true;
    case "away":
      client().leave(-2, tell);
      return true;
    case "reborn":
      client().restart();
      return true;
    case "holds":
    case "yields":
      client().isStubborn = verb === "holds";
      return true;
    case "topic":
      for (const [name, partitionCount] of options) {
        if (partitionCount === "0") {
          host.topics.remove(name);
          host.tell((shard) => shard.decideTopicsDeleted(new Set([name])));
        } else host.topics.set(name, Number(partitionCount));
      }
      host.tell((shard) => shard.decideTopicsChanged());
      return true;
    case "describe-consumer":
      host.ask<ConsumerDescribeAnswer>(
        (shard, ticket) => shard.decideConsumerDescribe({ ticket, groupId: subject }),
        (answer, when) => context.answer(subject, when, answer === null ? "" : describeText(answer)),
      );
      return true;
    default:
      return false;
  }
}

/** `t-0,1;u-0` */
function ownedFrom({ topics }: GroupHost, text: string): Assignment {
  return new Map(
    text.split(";").map((one) => {
      const [name = "", partitions = ""] = one.split("-");
      return [topics.byName(name)?.id ?? "", partitions.split(",").map(Number)] as const;
    }),
  );
}

function consumeOptions(context: ScriptContext, options: ReadonlyMap<string, string>): ConsumeOptions {
  const topics = options.get("topics");
  const rebalance = options.get("rebalance");
  return {
    ...(topics === undefined ? {} : { topics: topics === "" ? [] : topics.split(",") }),
    ...(options.has("regex") ? { regex: options.get("regex") ?? null } : {}),
    ...(options.has("assignor") ? { assignor: options.get("assignor") ?? null } : {}),
    ...(options.has("rack") ? { rack: options.get("rack") ?? null } : {}),
    ...(rebalance === undefined ? {} : { rebalanceTimeoutMs: context.durationMs(rebalance) }),
  };
}

function heartbeatText(answer: ConsumerHeartbeatAnswer): string {
  if (answer.failure !== null) return `${answer.failure}: ${answer.message}`;
  const assignment = answer.assignment === null ? "" : `, has ${assignmentText(answer.assignment)}`;
  return `epoch ${answer.memberEpoch}${assignment}`;
}

function describeText(answer: ConsumerDescribeAnswer): string {
  if (answer.failure !== null) return `${answer.failure}: ${answer.message}`;
  const { state, groupEpoch, assignmentEpoch, assignorName, members } = answer.group;
  const texts = members.map(({ memberId, memberEpoch, assignment, target, isClassic, topicNames, topicRegex }) => {
    const reads = [...topicNames, ...(topicRegex === null || topicRegex === "" ? [] : [`/${topicRegex}/`])].join(",");
    return `${memberId} epoch ${memberEpoch}${isClassic ? " classic" : ""} reads ${reads} has ${assignmentText(assignment)} of ${assignmentText(target)}`;
  });
  return [`${state} epoch ${groupEpoch}, target ${assignmentEpoch} by ${assignorName}`, ...texts].join(" · ");
}

/** The group as it is shown after a block. */
export function consumerText(group: ConsumerGroup): string {
  const members = Array.from(
    group.members(),
    ({ memberId, memberEpoch, state, assigned, pendingRevocation, classic }) => {
      const kind = classic === null ? "" : " classic";
      const mood = state === "stable" ? "" : ` ${state}`;
      const pending = pendingRevocation.size === 0 ? "" : ` −${assignmentText(assignmentOf(pendingRevocation))}`;
      return `${memberId}${kind}@${memberEpoch}${mood} ${assignmentText(assignmentOf(assigned))}${pending}`;
    },
  );
  const epochs = `epoch ${group.groupEpoch}${group.assignmentEpoch === group.groupEpoch ? "" : ` (target ${group.assignmentEpoch})`}`;
  return `consumer group ${group.state} ${epochs}${members.length === 0 ? "" : ` · ${members.join(", ")}`}`;
}
