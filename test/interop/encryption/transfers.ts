import { json } from "@millrace/client";
import type { Serde } from "@millrace/client";
import { encrypted } from "@millrace/client/serdes/encrypted";
import type { Shredded, Withheld } from "@millrace/client/serdes/encryption/hidden";
import { KeyRing, LocalKeyWrapping } from "@millrace/client/serdes/encryption/keys";
import { FileKeyStorage } from "./file-key-storage.ts";

/** A transfer of a bank: whose it is and of which account is encrypted, how much it was is clear. */
export interface Transfer {
  readonly user: string;
  readonly account: string;
  readonly phone: string;
  readonly amount: number;
}

type Secret = string | Shredded | Withheld;

/** As a reader gets it. */
export interface ReadTransfer {
  readonly user: Secret;
  readonly account: Secret;
  readonly phone: Secret;
  readonly amount: number;
}

export function ringOf(keyFile: string): KeyRing {
  const wrapping = new LocalKeyWrapping({ keys: { k1: Buffer.alloc(32, 1) }, current: "k1" });
  return new KeyRing({ storage: new FileKeyStorage(keyFile), wrapping });
}

/** @param keys null: a reader who may not know whose transfers they are. */
export function transferSerde(keys: KeyRing | null): Serde<ReadTransfer, Transfer> {
  return encrypted(json<Transfer>(), {
    fields: ["user", "account"],
    formatPreserved: ["phone"],
    keys,
    subject: ({ user }) => user,
  });
}
