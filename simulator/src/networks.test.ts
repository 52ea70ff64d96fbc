import { networkCases } from "@millrace/base/test/network-cases";
import { SimulatedDisk } from "@millrace/simulator/simulated-disk";
import { SimulatedNetwork } from "@millrace/simulator/simulated-network";
import { VirtualClock } from "@millrace/simulator/virtual-clock";
import { afterEach, expect, test } from "vitest";

const clocks: VirtualClock[] = [];
afterEach(() => clocks.splice(0));

networkCases("simulatedNetwork", async () => {
  const clock = new VirtualClock();
  const disk = new SimulatedDisk();
  await disk.makeDirectory("/data");
  const network = new SimulatedNetwork({ clock });
  return { network, disk, directory: "/data", host: "node-1", passTime: () => clock.advance(1000) };
});

test("with a latency, everything takes its time and keeps its order", async () => {
  const clock = new VirtualClock();
  const network = new SimulatedNetwork({ clock, latencyMs: 5 });
  const seen: string[] = [];
  const listener = await network.listen({ host: "a", port: 1 }, (connection) => {
    connection.start({
      onData: (chunk) => void seen.push(`${clock.monotonicMs()} ${chunk.toString()}`),
      onEnd: () => void seen.push(`${clock.monotonicMs()} end`),
      onClose: () => undefined,
    });
  });
  const connecting = network.connect(listener.address, { timeoutMs: 100 });
  await clock.advance(5);
  const connection = await connecting;
  connection.start({ onData: () => undefined, onEnd: () => undefined, onClose: () => undefined });
  connection.send([Buffer.from("one")]);
  await clock.advance(2);
  connection.send([Buffer.from("two")]);
  connection.end();
  await clock.advance(10);
  expect(seen).toEqual(["10 one", "12 two", "12 end"]);
});

test("a network that is cut breaks both ends", async () => {
  const clock = new VirtualClock();
  const network = new SimulatedNetwork({ clock });
  const closed: (string | undefined)[] = [];
  const handlers = {
    onData: () => undefined,
    onEnd: () => undefined,
    onClose: (error: Error | null) => void closed.push(error?.message),
  };
  const listener = await network.listen({ host: "a", port: 1 }, (connection) => connection.start(handlers));
  const connection = await network.connect(listener.address, { timeoutMs: 100 });
  connection.start(handlers);
  network.cut();
  await clock.settle();
  expect(closed).toEqual(["the network was cut", "the network was cut"]);
});
