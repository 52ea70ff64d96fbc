import type { Address } from "@millrace/base/world";
import { KafkaError } from "../errors.ts";

/** "host:port", also "[::1]:9092". */
export function parseAddress(text: string): Address {
  const match = /^(?:\[([^\]]+)\]|([^:\s]+)):(\d{1,5})$/.exec(text.trim());
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || !(port > 0 && port < 65536)) {
    throw new KafkaError("INVALID_CONFIG", `"${text}" is not a broker address (host:port)`);
  }
  return { host, port };
}

export function addressText({ host, port }: Address): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
