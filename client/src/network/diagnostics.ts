import { channel } from "node:diagnostics_channel";
import type { KafkaError } from "../errors.ts";

/**
 * What is told to whoever subscribes with `node:diagnostics_channel`. Nothing is computed for a channel without a subscriber. A
 * channel is for all clients of the process: `clientId` tells them apart.
 *
 *     diagnostics_channel.subscribe(channels.request, ({ api, broker, latencyMs }) => …);
 */
export const channels = {
  /** A request was answered, or never will be: RequestEnded. */
  request: "millrace:client:request",
  /** A broker asked for a pause: Throttled. */
  throttle: "millrace:client:throttle",
  /** A broker can be asked: ConnectionOpened. */
  connectionOpened: "millrace:client:connection:opened",
  /** A connection that was opened has ended: ConnectionClosed. */
  connectionClosed: "millrace:client:connection:closed",
  /** No connection came about: ConnectionFailed. */
  connectionFailed: "millrace:client:connection:failed",
  /** A connection said again who we are, before its session ended: Reauthenticated. */
  reauthentication: "millrace:client:reauthentication",
  /** The cluster was asked for its brokers, and for topics: MetadataAsked. */
  metadata: "millrace:client:metadata",
} as const;

/** What each event says. */
export interface ClientEvent {
  /** "host:port" */
  readonly broker: string;
  readonly clientId: string;
}

export interface RequestEnded extends ClientEvent {
  /** "Fetch" */
  readonly api: string;
  readonly version: number;
  /** From the moment it left. */
  readonly latencyMs: number;
  readonly requestBytes: number;
  /** 0 where there was no answer. */
  readonly answerBytes: number;
  /** Why there was no answer. What an answer says of errors is inside of it, and not here. */
  readonly error: KafkaError | null;
}

export interface Throttled extends ClientEvent {
  readonly api: string;
  readonly throttleTimeMs: number;
}

export interface ConnectionOpened extends ClientEvent {
  /** For everything until the first request could leave. */
  readonly durationMs: number;
  readonly isTls: boolean;
}

export interface ConnectionClosed extends ClientEvent {
  readonly lifetimeMs: number;
  /** CLOSED where the client has ended it. */
  readonly error: KafkaError;
}

export interface ConnectionFailed extends ClientEvent {
  readonly durationMs: number;
  readonly error: KafkaError;
}

export interface Reauthenticated extends ClientEvent {
  readonly mechanism: string;
  /** Requests that came meanwhile have waited so long at most. */
  readonly durationMs: number;
  /** Null where the broker has believed us again. */
  readonly error: KafkaError | null;
}

export interface MetadataAsked extends ClientEvent {
  /** Null: all. None: for the brokers only. */
  readonly topics: readonly string[] | null;
  readonly durationMs: number;
  readonly brokersCount: number;
}

/** The events by their channels. */
export interface ClientEvents {
  readonly request: RequestEnded;
  readonly throttle: Throttled;
  readonly connectionOpened: ConnectionOpened;
  readonly connectionClosed: ConnectionClosed;
  readonly connectionFailed: ConnectionFailed;
  readonly reauthentication: Reauthenticated;
  readonly metadata: MetadataAsked;
}

/**
 * Hears of the requests of one client, as they happen; the channels are for all clients of the process.
 *
 * What it throws ends the connection: it must not.
 */
export interface RequestObserver {
  sent(request: RequestSent): void;
  ended(request: RequestEnded & RequestSent): void;
}

export interface RequestSent extends ClientEvent {
  readonly api: string;
  readonly version: number;
  readonly correlationId: number;
}

function teller<Name extends keyof ClientEvents>(name: Name): (event: ClientEvents[Name]) => void {
  const told = channel(channels[name]);
  return (event) => {
    if (told.hasSubscribers) told.publish(event);
  };
}

export const requestEnded: (event: RequestEnded) => void = teller("request");
export const requestThrottled: (event: Throttled) => void = teller("throttle");
export const connectionOpened: (event: ConnectionOpened) => void = teller("connectionOpened");
export const connectionClosed: (event: ConnectionClosed) => void = teller("connectionClosed");
export const connectionFailed: (event: ConnectionFailed) => void = teller("connectionFailed");
export const authenticated: (event: Reauthenticated) => void = teller("reauthentication");
export const metadataAsked: (event: MetadataAsked) => void = teller("metadata");
