import { test } from "vitest";
import { expectInvariants, expectTable } from "../../test/spec-page.ts";
import { runScript } from "./testing/script.ts";

const page = new URL("SPEC.md", import.meta.url);

/** a leads, b follows, s is a static follower, n is new. In Preparing, c has joined and the others have not. */
const stable = (session: string): string => `settings delay=0s
client s instance=one
join a v=3 session=30m
join b v=3 session=${session}
join s session=30m
advance 0s
sync a a=0 b=1 s=2
sync b
sync s`;

const states: Readonly<Record<string, (session: string) => string>> = {
  "no group": (session) => `${stable(session)}\nleave a b s\ndelete g`,
  Empty: (session) => `${stable(session)}\nleave a b s`,
  PreparingRebalance: (session) => `${stable(session)}\njoin c v=3 session=30m`,
  CompletingRebalance: (session) =>
    `${stable(session)}\njoin c v=3 session=30m\njoin a session=30m\njoin b session=${session}\njoin s session=30m`,
  Stable: stable,
};

interface Event {
  readonly who: string;
  readonly commands: string;
  /** Long, where b's session must not end first. */
  readonly session?: string;
}

const events: Readonly<Record<string, Event>> = {
  "JoinGroup v0–v3, newcomer": { who: "n", commands: "join n v=3" },
  "JoinGroup v4+, newcomer": { who: "n", commands: "join n" },
  "JoinGroup, static newcomer": { who: "m", commands: "client m instance=two\njoin m" },
  "JoinGroup, follower as before": { who: "b", commands: "join b" },
  "JoinGroup, follower with other metadata": { who: "b", commands: "join b topics=other" },
  "JoinGroup, leader": { who: "a", commands: "join a" },
  "JoinGroup, static member's new process": { who: "s", commands: "restart s\njoin s" },
  "JoinGroup with no common protocol": { who: "n", commands: "join n protocols=none-of-yours" },
  "SyncGroup, follower": { who: "b", commands: "sync b" },
  "SyncGroup, leader": { who: "a", commands: "sync a a=0 b=1 s=2" },
  Heartbeat: { who: "b", commands: "beat b" },
  "Heartbeat of an old generation": { who: "b", commands: "sync b generation=0\nbeat b" },
  LeaveGroup: { who: "b", commands: "leave b" },
  "OffsetCommit, member": { who: "b", commands: "commit b t-0=1" },
  "OffsetCommit from outside": { who: "@g", commands: "commit @g t-0=1" },
  "OffsetDelete of a topic that is read": { who: "", commands: "delete-offsets g t-0" },
  "OffsetDelete of another topic": { who: "", commands: "delete-offsets g u-0" },
  DeleteGroups: { who: "", commands: "delete g" },
  "session timeout of b": { who: "-", commands: "advance 10s" },
  "rebalance timeout": { who: "-", commands: "advance 60s", session: "30m" },
  failover: { who: "-", commands: "failover" },
};

function cell(stateName: string, { who, commands, session = "10s" }: Event): string {
  const setup = states[stateName]!(session);
  const stateOf = (output: string): string =>
    output
      .match(/^g: (not there|\w+ generation \d+)/gm)
      ?.at(-1)
      ?.slice(3) ?? "not there";
  const before = stateOf(runScript(setup));
  const output = runScript(`${setup}\n\n${commands}`);
  const happened = output.slice(output.lastIndexOf("----"));
  const answers = happened
    .split("\n")
    .flatMap((line) => (line.startsWith(`${who} <`) || (who === "" && line.startsWith("<")) ? [line] : []));
  const answer =
    answers
      .at(-1)
      ?.replace(/^.*?<[-=] (g )?/, "")
      .replace(/ as .*$| generation .*$| \[.*$/, "") ?? (who === "-" ? outText(happened) : "waits");
  const [afterName = "not there", , afterGeneration] = stateOf(output).split(" generation ").join(" _ ").split(" ");
  const [beforeName = "not there", , beforeGeneration] = before.split(" generation ").join(" _ ").split(" ");
  const steps = Number(afterGeneration ?? 0) - Number(beforeGeneration ?? afterGeneration ?? 0);
  const isSame = afterName === beforeName && steps === 0;
  const name = afterName === "not" ? "no group" : afterName;
  const move = isSame
    ? ""
    : `→ ${name}${steps === 0 || name === "no group" ? "" : ` ${steps > 0 ? "+" : "−"}${Math.abs(steps)}`}`;
  return [answer, move].filter((part) => part !== "").join(" ") || "·";
}

/** Whom a timer has put out. */
function outText(happened: string): string {
  const out = Array.from(happened.matchAll(/^g: (\S+?)-\d+ removed/gm), ([, client]) =>
    client === "one" ? "s" : client,
  );
  return out.length === 0 ? "" : `${out.join(", ")} out`;
}

test("the table of states and events is what the machine does", () => {
  const names = Object.fromEntries(Object.keys(states).map((name) => [name, name]));
  expectTable(page, names, events, cell);
});

test("every invariant of the specification is checked, and every check is in the specification", () => {
  const files = ["testing/invariants.ts", "testing/group-host.ts", "properties.test.ts"];
  expectInvariants(
    page,
    "I",
    files.map((name) => new URL(name, import.meta.url)),
  );
});
