import { failed, ok } from "@millrace/base/result";
import type { Result } from "@millrace/base/result";
import { defaultPrincipalData } from "kafka-protocol-ts/internal/principal";
import { MalformedMessage } from "kafka-protocol-ts/malformed";
import { ByteReader } from "kafka-protocol-ts/reader";
import { ByteWriter } from "kafka-protocol-ts/writer";

export interface Principal {
  readonly type: string;
  readonly name: string;
}

/** Whoever comes where nobody has to say who they are. */
export const anonymous: Principal = { type: "User", name: "ANONYMOUS" };

/** As Kafka's DefaultKafkaPrincipalBuilder: an int16 version, and DefaultPrincipalData in it. */
export function principalBytes({ type, name }: Principal): Buffer {
  const [, version] = defaultPrincipalData.versions;
  const writer = new ByteWriter();
  writer.int16(version);
  defaultPrincipalData.write(writer, { type, name, tokenAuthenticated: false }, version);
  return writer.toBuffer();
}

export function readPrincipal(bytes: Buffer): Result<Principal, "malformed"> {
  try {
    const reader = new ByteReader(bytes);
    const version = reader.int16();
    const [first, last] = defaultPrincipalData.versions;
    if (version < first || version > last) return failed("malformed", `a principal of version ${version}`);
    const { type, name } = defaultPrincipalData.read(reader, version);
    return ok({ type, name });
  } catch (error) {
    if (!(error instanceof MalformedMessage)) throw error;
    return failed("malformed", error.message);
  }
}
