import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Relay } from "../../test/interop/relay.ts";

/** Stands between a client and a broker, and takes no more than so much a second of what the client sends. */
export class SlowLink implements AsyncDisposable {
  readonly #relay: Relay;
  readonly #bytesPerSecond: number;

  constructor(ports: { readonly port: number; readonly brokerPort: number }, bytesPerSecond: number) {
    this.#bytesPerSecond = bytesPerSecond;
    this.#relay = new Relay(ports, ({ client, broker, cut }) => {
      broker.pipe(client);
      void this.#pass(client, broker).catch(cut);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#relay[Symbol.asyncDispose]();
  }

  async #pass(client: Socket, broker: Socket): Promise<void> {
    for await (const chunk of client) {
      broker.write(chunk as Buffer);
      await sleep(((chunk as Buffer).length * 1000) / this.#bytesPerSecond);
    }
  }
}
