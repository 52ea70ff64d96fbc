/** raft-ts-lite as it is installed: three nodes in one process, that agree on a hundred entries. */
import { Raft } from "raft-ts-lite";

const ids = ["a", "b", "c"];
const snapshot = { index: 0, term: 0, configuration: { voters: ids } };
const hardState = { term: 0, votedFor: null };
const nodes = new Map(ids.map((id) => [id, new Raft({ id, hardState, snapshot, entries: [], random: Math.random })]));
const states = new Map(ids.map((id) => [id, []]));

function drive() {
  for (let isBusy = true; isBusy;) {
    isBusy = false;
    for (const [id, raft] of nodes) {
      for (let ready = raft.ready(); ready !== null; ready = raft.ready()) {
        isBusy = true;
        for (const message of ready.messages) nodes.get(message.to)?.step(message);
        for (const entry of ready.committed) if (entry.kind === "data") states.get(id).push(String(entry.data[0]));
        raft.advance();
      }
    }
  }
}

const leading = () => [...nodes.values()].find(({ status }) => status.role === "leader");
for (let ticks = 0; ticks < 1_000 && leading() === undefined; ticks++) {
  for (const raft of nodes.values()) raft.tick();
  drive();
}
for (let count = 0; count < 100; count++) leading().propose([Uint8Array.of(count)]);
drive();
const agreed = new Set([...states.values()].map((state) => state.join()));
console.log(`${nodes.size} nodes agree on ${[...agreed].map((text) => text.split(",").length).join(" or ")} entries`);
