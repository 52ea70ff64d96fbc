/** Addresses as they are in an Envelope: 4 bytes, or 16, as Java's InetAddress has them. */

const unknownAddress: Buffer = Buffer.alloc(4);
const ipv4InIpv6 = "::ffff:";

/** Of a name, which is no address, 0.0.0.0: whoever reads it expects one. */
export function addressBytes(host: string): Buffer {
  const [withoutZone = ""] = host.toLowerCase().split("%");
  const text = withoutZone.startsWith(ipv4InIpv6) ? withoutZone.slice(ipv4InIpv6.length) : withoutZone;
  return ipv4Bytes(text) ?? ipv6Bytes(withoutZone) ?? unknownAddress;
}

/** With all its zeros, as Java writes it. Null: these are no address. */
export function hostOf(bytes: Uint8Array): string | null {
  if (bytes.length === 4) return bytes.join(".");
  if (bytes.length !== 16) return null;
  const groups = Array.from({ length: 8 }, (_, at) => ((bytes[2 * at] ?? 0) << 8) | (bytes[2 * at + 1] ?? 0));
  const isIpv4 = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
  if (isIpv4) return bytes.subarray(12).join(".");
  return groups.map((group) => group.toString(16)).join(":");
}

function ipv4Bytes(text: string): Buffer | null {
  if (!/^\d{1,3}(?:\.\d{1,3}){3}$/.test(text)) return null;
  const numbers = text.split(".").map(Number);
  return numbers.every((number) => number <= 255) ? Buffer.from(numbers) : null;
}

function ipv6Bytes(text: string): Buffer | null {
  const halves = text.split("::");
  if (!text.includes(":") || halves.length > 2) return null;
  const [before = [], after = []] = halves.map(groupsOf);
  const missing = 8 - before.length - after.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return null;
  const groups = [...before, ...Array.from({ length: missing }, () => "0"), ...after];
  if (!groups.every((group) => /^[0-9a-f]{1,4}$/.test(group))) return null;
  return Buffer.from(groups.map((group) => group.padStart(4, "0")).join(""), "hex");
}

/** The last 32 bits may be written as those of IPv4. */
function groupsOf(half: string): string[] {
  if (half === "") return [];
  const groups = half.split(":");
  const last = groups.at(-1) ?? "";
  const ipv4 = ipv4Bytes(last);
  if (ipv4 === null) return groups;
  return [...groups.slice(0, -1), ipv4.toString("hex", 0, 2), ipv4.toString("hex", 2, 4)];
}
