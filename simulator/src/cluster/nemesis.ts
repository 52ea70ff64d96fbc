import type { Prng } from "@millrace/base/prng";
import type { VirtualClock } from "../virtual-clock.ts";
import type { ClusterNetwork } from "./cluster-network.ts";
import type { Drawn, FaultName } from "./drawn.ts";
import { dataDirectory } from "./node.ts";
import type { Crash, Node } from "./node.ts";
import type { Story } from "./story.ts";

export interface NemesisOptions {
  readonly drawn: Drawn;
  readonly clock: VirtualClock;
  readonly network: ClusterNetwork;
  readonly nodes: readonly Node[];
  readonly quorumLeader: () => string | null;
  readonly clientNames: () => readonly string[];
  readonly prng: Prng;
  readonly story: Story;
}

/** Does what the seed has drawn to nodes, disks and the network, until it is told to heal all. */
export class Nemesis {
  /** How often each fault came. */
  readonly counts: Map<FaultName, number> = new Map();
  readonly #options: NemesisOptions;
  readonly #waking = new Set<Node>();
  #isActive = false;
  /** The next acknowledgement is waited for. */
  #isAwaiting = false;

  constructor(options: NemesisOptions) {
    this.#options = options;
  }

  begin(): void {
    this.#isActive = true;
    this.#later();
    this.#watch();
  }

  /** All is as it should be from now on; nodes that are down are started. */
  heal(): void {
    const { network, nodes, story } = this.#options;
    this.#isActive = false;
    story.tell("all is healed");
    network.heal();
    network.delays.mostMs = 1;
    for (const node of nodes) {
      if (node.disk !== null) {
        node.disk.slowness = 1;
        node.disk.faults.clear();
      }
      node.goOn();
    }
    for (const node of nodes) if (node.state === "down" || node.state === "stopped") node.start();
  }

  /** Who has ended is started again after a while, as by a service manager, healed or not. */
  #watch(): void {
    if (!this.isWatching) return;
    const { nodes, clock, prng } = this.#options;
    for (const node of nodes) {
      if ((node.state !== "down" && node.state !== "stopped") || this.#waking.has(node)) continue;
      this.#waking.add(node);
      clock.schedule(prng.pick([1, 50, 500, 3_000]), () => this.#wake(node));
    }
    clock.schedule(100, () => this.#watch());
  }

  #wake(node: Node): void {
    this.#waking.delete(node);
    if (this.isWatching && (node.state === "down" || node.state === "stopped")) node.start();
  }

  /** Until the run stops its nodes by itself. */
  isWatching = true;

  #later(): void {
    const { clock, prng, drawn } = this.#options;
    clock.schedule(2 * drawn.faultPauseMs * prng.fraction(), () => {
      if (!this.#isActive) return;
      this.#step();
      this.#later();
    });
  }

  #step(): void {
    const { drawn, prng } = this.#options;
    if (drawn.faults.length === 0) return;
    const name = prng.pick(drawn.faults);
    if (this.#happen(name)) this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
  }

  #happen(name: FaultName): boolean {
    const { nodes, prng, clock, network, story } = this.#options;
    const running = nodes.filter((node) => node.isRunning && !node.isPaused);
    if (running.length === 0) return false;
    const node = prng.pick(running);
    const { disk } = node;
    switch (name) {
      case "crash of a process":
        node.crash("process");
        return true;
      case "loss of power":
        node.crash("power");
        return true;
      case "loss of power of all":
        if (!prng.chance(0.4)) return false;
        // What is acknowledged at that moment is least safe where the disk is behind.
        if (disk !== null) disk.slowness = prng.pick([1, 50, 300]);
        clock.schedule(prng.between(10, 200), () => {
          story.tell("the power is lost everywhere");
          for (const each of nodes) each.crash("power");
        });
        return true;
      case "loss of power after an acknowledgement":
        return this.#awaitAcknowledgement(node);
      case "storm of elections":
        if (!prng.chance(0.5)) return false;
        this.#stormElections();
        return true;
      case "restart":
        if (node.state !== "up") return false;
        void node.stop();
        return true;
      case "pause": {
        node.pause();
        const { id } = node;
        clock.schedule(prng.pick([50, 500, 3_000, 8_000]), () => nodes.find((each) => each.id === id)?.goOn());
        return true;
      }
      case "slow disk": {
        if (disk === null) return false;
        disk.slowness = prng.pick([5, 50, 300]);
        clock.schedule(prng.between(100, 3_000), () => (disk.slowness = 1));
        return true;
      }
      case "failed sync":
        if (disk === null || !prng.chance(0.5)) return false;
        node.isDiskFailing = true;
        story.tell(`${node.name}: the next sync fails`);
        disk.faults.failNextSync();
        return true;
      case "failed write":
        if (disk === null || !prng.chance(0.5)) return false;
        node.isDiskFailing = true;
        story.tell(`${node.name}: the next write fails`);
        disk.faults.failNextWrite();
        return true;
      case "full disk": {
        if (disk === null) return false;
        node.isDiskFailing = true;
        disk.faults.spaceBytes = prng.between(0, 20_000);
        story.tell(`${node.name}: ${disk.faults.spaceBytes} bytes are left`);
        clock.schedule(prng.between(500, 5_000), () => (disk.faults.spaceBytes = Infinity));
        return true;
      }
      case "bit rot": {
        if (!prng.chance(0.2)) return false;
        const rotten = node.platter.rot(dataDirectory, prng, isSegment);
        if (rotten === null) return false;
        story.tell(`${node.name}: bit ${rotten.bit} of ${rotten.path} turns over`);
        this.#spoil(node);
        return true;
      }
      case "misdirected write":
        if (disk === null || !prng.chance(0.2)) return false;
        story.tell(`${node.name}: the next write to a segment goes astray`);
        disk.misdirectNext(isSegment);
        this.#spoil(node);
        return true;
      case "cut": {
        const isAll = prng.chance(0.2);
        story.tell(`connections ${isAll ? "all" : `of ${node.name}`} break`);
        network.cut((a, b) => isAll || ((a === node.name || b === node.name) && prng.chance(0.7)));
        return true;
      }
      case "partition":
      case "one-way partition":
        this.#partition(name === "partition");
        return true;
      case "slow network": {
        network.delays.mostMs = prng.pick([5, 50, 400]);
        network.delays.lossRate = prng.pick([0, 0.01, 0.1]);
        story.tell(`messages take up to ${network.delays.mostMs} ms, ${network.delays.lossRate} are lost at first`);
        clock.schedule(prng.between(200, 4_000), () => {
          network.delays.mostMs = 1;
          network.delays.lossRate = 0;
        });
        return true;
      }
    }
  }

  /**
   * All disks but one are slow, so that what a node has and what its disk has are far apart; then somebody is told that a record is safe,
   * and at that moment the power is lost everywhere. The node with the good disk is the last to come back: that it has the record helps
   * nobody, and who leads meanwhile must have it on a disk, too.
   */
  #awaitAcknowledgement(good: Node): boolean {
    const { nodes, prng, clock, story } = this.#options;
    if (this.#isAwaiting || nodes.some(({ state }) => state !== "up")) return false;
    this.#isAwaiting = true;
    const slowness = prng.pick([100, 1_000, 1_000]);
    const slow = nodes.flatMap((node) => (node === good || node.disk === null ? [] : [node.disk]));
    for (const disk of slow) disk.slowness = slowness;
    story.tell(`all disks but that of ${good.name} are slow`);
    const end = (): void => {
      story.onAcknowledged = ignore;
      patience.cancel();
      for (const disk of slow) disk.slowness = 1;
    };
    const patience = clock.schedule(4_000, () => {
      end();
      this.#isAwaiting = false;
    });
    const [delayMs, awayMs] = [prng.pick([0, 0, 5, 50]), prng.pick([5_000, 8_000])];
    const sinceMs = clock.monotonicMs();
    const kind: Crash = prng.chance(0.7) ? "power at its worst" : "power";
    story.onAcknowledged = (askedAtMs) => {
      if (askedAtMs < sinceMs) return;
      end();
      clock.schedule(delayMs, () => {
        if (!this.#isActive) return;
        story.tell(`the power is lost everywhere, ${good.name} is away for ${awayMs} ms`);
        this.#waking.add(good);
        for (const node of nodes) node.crash(kind);
        clock.schedule(awayMs, () => {
          this.#isAwaiting = false;
          this.#wake(good);
        });
      });
    };
    return true;
  }

  /** Who leads the quorum dies, and those who vote forget, again and again, what they have not written down. */
  #stormElections(): void {
    const { nodes, prng, clock, network } = this.#options;
    nodes.find(({ name }) => name === this.#options.quorumLeader())?.crash("process");
    network.delays.mostMs = prng.pick([1, 50, 300]);
    clock.schedule(3_000, () => (network.delays.mostMs = 1));
    for (const node of nodes) {
      for (let left = prng.between(0, 4); left > 0; left--) {
        clock.schedule(prng.between(300, 2_500), () => {
          if (!this.#isActive || !node.isRunning || node.isPaused) return;
          node.crash(prng.pick(["process", "power"]));
          clock.schedule(1, () => {
            if (this.isWatching && node.state === "down") node.start();
          });
        });
      }
    }
  }

  #spoil(node: Node): void {
    node.isSpoilt = true;
    this.#options.story.isSpoilt = true;
  }

  /** One side, of nodes and clients, does not reach the other. */
  #partition(isSymmetric: boolean): void {
    const { nodes, clientNames, prng, network, story, clock } = this.#options;
    const names = [...nodes.map(({ name }) => name), ...clientNames()];
    const side = new Set(names.filter(() => prng.chance(0.4)));
    const others = names.filter((name) => !side.has(name));
    story.tell(`${isSymmetric ? "" : "one way: "}${[...side].join(" ")} do not reach ${others.join(" ")}`);
    for (const from of side) {
      for (const to of others) {
        network.block(from, to);
        if (isSymmetric) network.block(to, from);
      }
    }
    clock.schedule(prng.pick([100, 1_000, 5_000]), () => {
      if (prng.chance(0.5)) network.cut((a, b) => side.has(a) !== side.has(b));
      network.unblock();
      story.tell("the partition is over");
    });
  }
}

function ignore(): void {}

function isSegment(path: string): boolean {
  return path.endsWith(".log") && !path.includes("/metadata/");
}
