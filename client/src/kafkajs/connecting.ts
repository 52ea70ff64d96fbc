import type { TlsClientOptions } from "@millrace/base/world";
import type { SaslOptions } from "../network/sasl.ts";
import type { KafkaConfig, SASLOptions } from "./config-types.ts";
import { KafkaJSNonRetriableError } from "./errors.ts";
import type { Warnings } from "./warnings.ts";

const usedTlsOptions: readonly string[] = [
  "ca",
  "cert",
  "key",
  "passphrase",
  "servername",
  "rejectUnauthorized",
  "minVersion",
];

/** TLS as the client takes it; null: in the clear. */
export function tlsOf(ssl: KafkaConfig["ssl"], warnings: Warnings): TlsClientOptions | null {
  if (ssl === undefined || ssl === false || ssl === null) return null;
  if (ssl === true) return {};
  warnings.unknownOptions("ssl", ssl, usedTlsOptions);
  const { servername, ...others } = ssl as Readonly<Record<string, unknown>>;
  const taken = Object.entries(others).filter(([name, value]) => usedTlsOptions.includes(name) && value !== undefined);
  return {
    ...(Object.fromEntries(taken) as TlsClientOptions),
    ...(typeof servername === "string" ? { serverName: servername } : {}),
  };
}

/**
 * The credentials as the client takes them; null: none.
 *
 * @throws KafkaJSNonRetriableError for a mechanism that is not served.
 */
export function saslOf(sasl: KafkaConfig["sasl"]): SaslOptions | null {
  if (sasl === undefined || sasl === null) return null;
  const mechanism = sasl.mechanism.toLowerCase();
  const { username, password, oauthBearerProvider } = sasl as Partial<
    Record<"username" | "password", string> & Extract<SASLOptions, { mechanism: "oauthbearer" }>
  >;
  switch (mechanism) {
    case "plain":
      return { mechanism: "PLAIN", username: username ?? "", password: password ?? "" };
    case "scram-sha-256":
      return { mechanism: "SCRAM-SHA-256", username: username ?? "", password: password ?? "" };
    case "scram-sha-512":
      return { mechanism: "SCRAM-SHA-512", username: username ?? "", password: password ?? "" };
    case "oauthbearer":
      if (oauthBearerProvider === undefined)
        throw new KafkaJSNonRetriableError("sasl.oauthBearerProvider: oauthbearer needs a function that gives a token");
      return {
        mechanism: "OAUTHBEARER",
        token: async () => {
          const { value, extensions } = await oauthBearerProvider();
          return extensions === undefined ? { value } : { value, extensions };
        },
      };
  }
  throw new KafkaJSNonRetriableError(
    `sasl.mechanism: "${sasl.mechanism}" is not served; there are plain, scram-sha-256, scram-sha-512 and oauthbearer, which also serves Amazon's brokers with a token of their signer`,
  );
}
