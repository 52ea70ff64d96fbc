/**
 * Bytes that are not what they claim to be. Whoever reads a connection answers it by closing that connection, since
 * nothing that follows can be trusted; the message says what was wrong and at which byte.
 */
export class MalformedMessage extends Error {
  override readonly name = "MalformedMessage";
  readonly code = "MALFORMED_MESSAGE";
}
