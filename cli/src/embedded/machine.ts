import { DiskError, NetworkError } from "@millrace/base/world";
import type {
  Address,
  Clock,
  Connection,
  ConnectionHandlers,
  ConnectOptions,
  Disk,
  DiskFile,
  DiskLock,
  FileSlice,
  Listener,
  Network,
  Part,
  Random,
  Timer,
  Workers,
  WorkerTask,
  World,
} from "@millrace/base/world";

/** Listeners that are bound before there is somebody to serve them, by port. */
export class BoundPorts {
  readonly #network: Network;
  readonly #kept = new Map<number, { readonly listener: Listener; readonly early: Connection[] }>();
  readonly #takers = new Map<number, (connection: Connection) => void>();

  constructor(network: Network) {
    this.#network = network;
  }

  /** Binds a free port of this machine. Who connects waits until it is taken. */
  async bind(): Promise<number> {
    const early: Connection[] = [];
    const port = { value: 0 };
    const listener = await this.#network.listen({ host: "127.0.0.1", port: 0 }, (connection) => {
      const take = this.#takers.get(port.value);
      if (take === undefined) early.push(connection);
      else take(connection);
    });
    port.value = listener.address.port;
    this.#kept.set(port.value, { listener, early });
    return port.value;
  }

  /** Null: it is not bound by this, or was taken before. */
  take(port: number, onConnection: (connection: Connection) => void): Listener | null {
    const kept = this.#kept.get(port);
    if (kept === undefined) return null;
    this.#kept.delete(port);
    this.#takers.set(port, onConnection);
    for (const connection of kept.early) onConnection(connection);
    return kept.listener;
  }

  async close(): Promise<void> {
    for (const { listener, early } of this.#kept.values()) {
      await listener.close();
      for (const connection of early) connection.destroy();
    }
    this.#kept.clear();
  }
}

/** How long a port that a node had before is tried for, where something holds it for a moment. */
const bindMs = 5_000;
const bindAgainMs = 50;

type State = "runs" | "pauses" | "dead";

/**
 * The world of one node, which can be held still, as a process is by SIGSTOP, and be taken away, as by SIGKILL: then nothing
 * that the node has begun goes on, and what it would still do has no effect.
 */
export class Machine implements World {
  readonly clock: Clock;
  readonly disk: Disk;
  readonly network: Network;
  readonly random: Random;
  readonly workers: Workers;
  readonly inner: World;
  readonly ports: BoundPorts;
  #state: State = "runs";
  /** What came while it stands still, in order. */
  #late: (() => void)[] = [];
  readonly #underWay = new Set<Promise<unknown>>();
  readonly timers: Set<Timer> = new Set();
  readonly files: Set<DiskFile> = new Set();
  readonly locks: Set<DiskLock> = new Set();
  readonly listeners: Set<Listener> = new Set();
  readonly connections: Set<MachineConnection> = new Set();

  constructor(inner: World, ports: BoundPorts) {
    this.inner = inner;
    this.ports = ports;
    this.random = inner.random;
    this.clock = new MachineClock(this);
    this.disk = machineDisk(this);
    this.network = new MachineNetwork(this);
    this.workers = {
      run: <Input, Output>(task: WorkerTask<Input, Output>, input: Input, transfer?: readonly ArrayBuffer[]) =>
        this.wait(() => inner.workers.run(task, input, transfer)),
      close: () => Promise.resolve(),
    };
  }

  get isDead(): boolean {
    return this.#state === "dead";
  }

  pause(): void {
    if (this.#state !== "runs") return;
    this.#state = "pauses";
    for (const connection of this.connections) connection.holdStill(true);
  }

  resume(): void {
    if (this.#state !== "pauses") return;
    this.#state = "runs";
    for (const call of this.#late.splice(0)) this.deliver(call);
    for (const connection of this.connections) connection.holdStill(false);
  }

  /** Settles when nothing of it touches the disk any more. */
  async kill(): Promise<void> {
    if (this.#state === "dead") return;
    this.#state = "dead";
    this.#late = [];
    for (const timer of this.timers) timer.cancel();
    for (const connection of this.connections) connection.tearDown();
    await Promise.all([...this.listeners].map((listener) => listener.close()));
    await Promise.allSettled(this.#underWay);
    await Promise.allSettled([...this.files].map((file) => file.close()));
    for (const lock of this.locks) await lock.release();
  }

  /** Something happens to the node: now, when it goes on, or never. */
  deliver(call: () => void): void {
    if (this.#state === "runs") call();
    else if (this.#state === "pauses") this.#late.push(call);
  }

  /** An answer that reaches the node as anything does. A death waits for what was begun, unless that is without effect on the disk. */
  wait<T>(begin: () => Promise<T>, { isAwaited = true }: { readonly isAwaited?: boolean } = {}): Promise<T> {
    if (this.isDead) return new Promise(() => undefined);
    const began = begin();
    if (isAwaited) this.#underWay.add(began);
    return new Promise((resolve, reject) => {
      const end = (settle: () => void): void => {
        this.#underWay.delete(began);
        this.deliver(settle);
      };
      began.then(
        (value) => end(() => resolve(value)),
        (error: unknown) => end(() => reject(error instanceof Error ? error : new Error(String(error)))),
      );
    });
  }
}

class MachineClock implements Clock {
  readonly #machine: Machine;
  constructor(machine: Machine) {
    this.#machine = machine;
  }
  now(): ReturnType<Clock["now"]> {
    return this.#machine.inner.clock.now();
  }
  monotonicMs(): number {
    return this.#machine.inner.clock.monotonicMs();
  }
  schedule(delayMs: number, callback: () => void, options?: { readonly isAwaited?: boolean }): Timer {
    const machine = this.#machine;
    let isOver = machine.isDead;
    if (isOver) return { cancel: () => undefined };
    const fire = (): void => {
      if (isOver) return;
      isOver = true;
      callback();
    };
    const inner = machine.inner.clock.schedule(
      delayMs,
      () => {
        machine.timers.delete(timer);
        machine.deliver(fire);
      },
      options,
    );
    const timer: Timer = {
      cancel: () => {
        isOver = true;
        machine.timers.delete(timer);
        inner.cancel();
      },
    };
    machine.timers.add(timer);
    return timer;
  }
  afterTurn(callback: () => void): void {
    this.#machine.inner.clock.afterTurn(() => this.#machine.deliver(callback));
  }
}

// --- Disk -------------------------------------------------------------------------------------------------------------

function machineDisk(machine: Machine): Disk {
  const { disk } = machine.inner;
  return {
    open: (path, mode) =>
      machine.wait(async () => {
        const file = new MachineFile(machine, await disk.open(path, mode));
        machine.files.add(file.inner);
        return file;
      }),
    makeDirectory: (path) => machine.wait(() => disk.makeDirectory(path)),
    list: (path) => machine.wait(() => disk.list(path)),
    stat: (path) => machine.wait(() => disk.stat(path)),
    readFile: (path) => machine.wait(() => disk.readFile(path)),
    writeFile: (path, bytes) => machine.wait(() => disk.writeFile(path, bytes)),
    copyFile: (from, to) => machine.wait(() => disk.copyFile(from, to)),
    rename: (from, to) => machine.wait(() => disk.rename(from, to)),
    removeFile: (path) => machine.wait(() => disk.removeFile(path)),
    removeDirectory: (path) => machine.wait(() => disk.removeDirectory(path)),
    syncDirectory: (path) => machine.wait(() => disk.syncDirectory(path)),
    syncFiles: (files) => machine.wait(() => disk.syncFiles(files.map(innerFile))),
    lock: (path) =>
      machine.wait(async () => {
        const lock = await disk.lock(path);
        if (lock === null) return null;
        machine.locks.add(lock);
        return {
          release: () => {
            machine.locks.delete(lock);
            return lock.release();
          },
        };
      }),
    space: (path) => machine.wait(() => disk.space(path)),
    ...(disk.openFilesMax === undefined ? {} : { openFilesMax: disk.openFilesMax }),
    ...(disk.dirtyBytesMax === undefined ? {} : { dirtyBytesMax: disk.dirtyBytesMax }),
  };
}

function innerFile(file: DiskFile): DiskFile {
  return file instanceof MachineFile ? file.inner : file;
}

class MachineFile implements DiskFile {
  readonly path: string;
  readonly inner: DiskFile;
  readonly #machine: Machine;

  constructor(machine: Machine, inner: DiskFile) {
    this.#machine = machine;
    this.inner = inner;
    this.path = inner.path;
  }

  sizeBytes(): Promise<number> {
    return this.#machine.wait(() => this.inner.sizeBytes());
  }
  write(buffers: readonly Uint8Array[], position: number): Promise<void> {
    return this.#machine.wait(() => this.inner.write(buffers, position));
  }
  read(into: Uint8Array, position: number): Promise<number> {
    return this.#machine.wait(() => this.inner.read(into, position));
  }
  readNow(into: Uint8Array, position: number): number {
    if (this.#machine.isDead) throw new DiskError("EIO", this.path, "read");
    return this.inner.readNow(into, position);
  }
  isInMemory(position: number, sizeBytes: number): boolean {
    return this.#machine.isDead || (this.inner.isInMemory?.(position, sizeBytes) ?? true);
  }
  warm(position: number, sizeBytes: number): Promise<void> {
    return this.#machine.wait(async () => this.inner.warm?.(position, sizeBytes));
  }
  writeNow(bytes: Uint8Array, position: number, zeroBytes?: number): void {
    if (!this.#machine.isDead) this.inner.writeNow(bytes, position, zeroBytes);
  }
  reserve(sizeBytes: number, spareBytes?: number): Promise<void> {
    return this.#machine.wait(async () => this.inner.reserve?.(sizeBytes, spareBytes));
  }
  truncate(sizeBytes: number): Promise<void> {
    return this.#machine.wait(() => this.inner.truncate(sizeBytes));
  }
  startWriteback(position: number, sizeBytes: number): void {
    if (!this.#machine.isDead) this.inner.startWriteback(position, sizeBytes);
  }
  sync(): Promise<void> {
    return this.#machine.wait(() => this.inner.sync());
  }
  close(): Promise<void> {
    return this.#machine.wait(async () => {
      await this.inner.close();
      this.#machine.files.delete(this.inner);
    });
  }
}

// --- Network ----------------------------------------------------------------------------------------------------------

class MachineNetwork implements Network {
  readonly #machine: Machine;
  constructor(machine: Machine) {
    this.#machine = machine;
  }

  listen(address: Address, onConnection: (connection: Connection) => void): Promise<Listener> {
    const machine = this.#machine;
    const accept = (inner: Connection): void => {
      if (machine.isDead) return inner.destroy();
      const connection = new MachineConnection(machine, inner);
      machine.deliver(() => onConnection(connection));
    };
    return machine.wait(async () => {
      const inner = machine.ports.take(address.port, accept) ?? (await bindPatiently(machine, address, accept));
      machine.listeners.add(inner);
      return {
        address: inner.address,
        close: () => {
          machine.listeners.delete(inner);
          return machine.wait(() => inner.close());
        },
      };
    });
  }

  connect(address: Address, options: ConnectOptions): Promise<Connection> {
    const machine = this.#machine;
    const connected = async (): Promise<Connection> => {
      const inner = await machine.inner.network.connect(address, options);
      const connection = new MachineConnection(machine, inner);
      if (machine.isDead) connection.tearDown();
      return connection;
    };
    return machine.wait(connected, { isAwaited: false });
  }
}

async function bindPatiently(
  machine: Machine,
  address: Address,
  accept: (connection: Connection) => void,
): Promise<Listener> {
  const { clock, network } = machine.inner;
  const untilMs = clock.monotonicMs() + bindMs;
  for (;;) {
    try {
      return await network.listen(address, accept);
    } catch (error) {
      const isTaken = error instanceof NetworkError && error.code === "EADDRINUSE" && address.port !== 0;
      if (!isTaken || clock.monotonicMs() >= untilMs || machine.isDead) throw error;
    }
    await new Promise<void>((resolve) => clock.schedule(bindAgainMs, resolve, { isAwaited: true }));
  }
}

class MachineConnection implements Connection {
  readonly remote: Address;
  readonly local: Address;
  readonly #machine: Machine;
  readonly #inner: Connection;
  /** By the node, not by what holds the node still. */
  #isPaused = false;
  #isStill = false;

  constructor(machine: Machine, inner: Connection) {
    this.#machine = machine;
    this.#inner = inner;
    this.remote = inner.remote;
    this.local = inner.local;
    machine.connections.add(this);
  }

  start(handlers: ConnectionHandlers): void {
    const machine = this.#machine;
    if (machine.isDead) return;
    this.#inner.start({
      onData: (chunk) => {
        if (!this.#isStill) return machine.deliver(() => handlers.onData(chunk));
        const copy = Buffer.from(chunk);
        machine.deliver(() => handlers.onData(copy));
      },
      onEnd: () => machine.deliver(() => handlers.onEnd()),
      onClose: (error) => {
        machine.connections.delete(this);
        machine.deliver(() => handlers.onClose(error));
      },
    });
  }

  pause(): void {
    this.#isPaused = true;
    this.#inner.pause();
  }
  resume(): void {
    this.#isPaused = false;
    if (!this.#isStill) this.#inner.resume();
  }
  get queuedBytes(): number {
    return this.#inner.queuedBytes;
  }
  send(parts: readonly Part[], onSent?: () => void): void {
    const ours = parts.map((part) => (part instanceof Uint8Array ? part : innerSlice(part)));
    this.#inner.send(ours, onSent === undefined ? undefined : () => this.#machine.deliver(onSent));
  }
  end(): void {
    if (!this.#machine.isDead) this.#inner.end();
  }
  destroy(reason?: Error): void {
    this.#inner.destroy(reason);
  }
  abort(reason?: Error): void {
    this.#inner.abort(reason);
  }

  /** The node stands still, or goes on: what comes meanwhile waits in the system's buffers. */
  holdStill(isStill: boolean): void {
    this.#isStill = isStill;
    if (isStill) this.#inner.pause();
    else if (!this.#isPaused) this.#inner.resume();
  }

  tearDown(): void {
    this.#machine.connections.delete(this);
    this.#inner.destroy();
  }
}

function innerSlice(slice: FileSlice): FileSlice {
  const { file, position, sizeBytes, isCatchUp = false } = slice;
  return { file: innerFile(file), position, sizeBytes, isCatchUp, release: () => slice.release() };
}
