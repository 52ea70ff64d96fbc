import { channel } from "node:diagnostics_channel";
import type { KafkaError } from "../errors.ts";

/**
 * What is told to whoever subscribes with `node:diagnostics_channel`. Nothing is computed for a channel without a subscriber.
 *
 *     diagnostics_channel.subscribe("millrace:client:request", ({ api, broker, latencyMs }) => …);
 */
export const channels = {
  /** A request was answered, or never will be. */
  request: "millrace:client:request",
  /** A broker asked for a pause. */
  throttle: "millrace:client:throttle",
  connectionOpened: "millrace:client:connection:opened",
  connectionClosed: "millrace:client:connection:closed",
} as const;

export interface RequestEnded {
  /** "host:port" */
  readonly broker: string;
  /** "Fetch" */
  readonly api: string;
  readonly version: number;
  /** From the moment it left. */
  readonly latencyMs: number;
  /** 0 where there was no answer. */
  readonly answerBytes: number;
  readonly error: KafkaError | null;
}

export interface Throttled {
  readonly broker: string;
  readonly api: string;
  readonly throttleTimeMs: number;
}

const request = channel(channels.request);
const throttle = channel(channels.throttle);
const opened = channel(channels.connectionOpened);
const closed = channel(channels.connectionClosed);

export function requestEnded(event: RequestEnded): void {
  if (request.hasSubscribers) request.publish(event);
}

export function requestThrottled(event: Throttled): void {
  if (throttle.hasSubscribers) throttle.publish(event);
}

export function connectionOpened(event: { readonly broker: string }): void {
  if (opened.hasSubscribers) opened.publish(event);
}

export function connectionClosed(event: { readonly broker: string; readonly error: KafkaError }): void {
  if (closed.hasSubscribers) closed.publish(event);
}
