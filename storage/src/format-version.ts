import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import { formatProperties, parseProperties } from "./properties.ts";

/** Grows when a broker of today could not read what the next one writes. docs/format.md says what each version is. */
export const FORMAT_VERSION = 2;

/** `millrace.format`: how this directory is to be read. */
export interface Format {
  readonly version: number;
  /** The largest bound of unsynced bytes under which something may have been written: what recovery judges a torn tail by. */
  readonly unsyncedBytesMax: number;
}

export function encodeFormat({ version, unsyncedBytesMax }: Format): string {
  return formatProperties({ "format.version": version, "unsynced.bytes.max": unsyncedBytesMax });
}

export function decodeFormat(text: string): Result<Format, "bad-format"> {
  const properties = parseProperties(text);
  const version = Number(properties.get("format.version"));
  const unsyncedBytesMax = Number(properties.get("unsynced.bytes.max"));
  const isWhole = Number.isInteger(version) && version > 0;
  if (!isWhole) return failed("bad-format", "millrace.format has no readable format.version");
  // A newer version may have other fields: only its number is believed.
  if (version > FORMAT_VERSION) return ok({ version, unsyncedBytesMax: 0 });
  if (!(unsyncedBytesMax > 0)) return failed("bad-format", "millrace.format has no readable unsynced.bytes.max");
  return ok({ version, unsyncedBytesMax });
}
