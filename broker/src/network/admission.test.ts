import { expect, test } from "vitest";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import { Admission } from "./admission.ts";
import type { AdmissionLimits } from "./admission.ts";

const unlimited: AdmissionLimits = {
  connectionsMax: 1_000_000,
  connectionsPerHostMax: 1_000_000,
  connectionsPerSecondMax: 1_000_000,
};

/** Connections by name, each from an address `host`; `events` tells what became of them. */
function gate({ waitingMax = 100 } = {}) {
  const clock = new VirtualClock();
  const events: string[] = [];
  let limits = unlimited;
  const admission = new Admission<{ readonly name: string; readonly host: string }>({
    clock,
    waitingMax,
    take: ({ name }) => events.push(`${name} taken`),
    refuse: ({ name }, reason) => events.push(`${name} refused: ${reason}`),
  });
  return {
    admission,
    clock,
    arrive: (name: string, host = "h") => admission.arrive({ name, host }),
    set: (changed: Partial<AdmissionLimits>) => {
      limits = { ...limits, ...changed };
      admission.limitsChanged();
    },
    open: () => admission.open(() => limits),
    events: () => events.splice(0),
  };
}

test("nobody is taken before the door opens; who waits is taken first, up to a limit", () => {
  const it = gate({ waitingMax: 2 });
  it.arrive("a");
  it.arrive("b");
  it.arrive("c");
  expect(it.events()).toEqual(["c refused: the broker is not ready, and socket.listen.backlog.size others wait"]);
  it.open();
  it.arrive("d");
  expect(it.events()).toEqual(["a taken", "b taken", "d taken"]);
});

test("max.connections lets wait until a place is free, and until it is raised", () => {
  const it = gate({ waitingMax: 2 });
  it.set({ connectionsMax: 1 });
  it.open();
  for (const name of ["a", "b", "c", "d"]) it.arrive(name);
  expect(it.events()).toEqual([
    "a taken",
    "d refused: max.connections is reached, and socket.listen.backlog.size others wait",
  ]);
  it.admission.left("h");
  expect(it.events()).toEqual(["b taken"]);
  it.set({ connectionsMax: 2 });
  expect(it.events()).toEqual(["c taken"]);
  expect(it.admission.surplus).toBe(0);
  it.set({ connectionsMax: 1 });
  expect(it.admission.surplus).toBe(1);
});

test("max.connections.per.ip closes one too many of an address, and only of that", () => {
  const it = gate();
  it.open();
  it.set({ connectionsPerHostMax: 1 });
  it.arrive("a1", "a");
  it.arrive("a2", "a");
  it.arrive("b1", "b");
  expect(it.events()).toEqual(["a1 taken", "a2 refused: max.connections.per.ip is reached", "b1 taken"]);
  it.admission.left("a");
  it.arrive("a3", "a");
  it.set({ connectionsPerHostMax: 2 });
  it.arrive("a4", "a");
  expect(it.events()).toEqual(["a3 taken", "a4 taken"]);
});

test("max.connection.creation.rate holds over ten seconds, and a change counts at once", async () => {
  const it = gate();
  it.open();
  it.set({ connectionsPerSecondMax: 2 });
  for (let count = 1; count <= 30; count++) it.arrive(String(count));
  expect(it.events()).toHaveLength(20);
  await it.clock.advance(499);
  expect(it.events()).toEqual([]);
  await it.clock.advance(1);
  expect(it.events()).toEqual(["21 taken"]);
  await it.clock.advance(1_000);
  expect(it.events()).toEqual(["22 taken", "23 taken"]);
  it.set({ connectionsPerSecondMax: 1_000 });
  expect(it.events()).toHaveLength(7);
  expect(it.admission.waitingCount).toBe(0);
});

test("a door that closes gives back who waits, and takes nobody later", async () => {
  const it = gate();
  it.open();
  it.set({ connectionsPerSecondMax: 1 });
  for (let count = 1; count <= 12; count++) it.arrive(String(count));
  expect(it.events()).toHaveLength(10);
  expect(it.admission.close().map(({ name }) => name)).toEqual(["11", "12"]);
  await it.clock.advance(10_000);
  it.admission.left("h");
  expect(it.events()).toEqual([]);
});
