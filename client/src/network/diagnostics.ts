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
  /** The option `clientId` of the cluster, which tells clients of one process apart. */
  readonly clientId: string;
}

/** A request was answered, or never will be. */
export interface RequestEnded extends ClientEvent {
  /** "Fetch" */
  readonly api: string;
  /** Of the API, as both sides speak it. */
  readonly version: number;
  /** From the moment it left. */
  readonly latencyMs: number;
  /** With its header, without its length. */
  readonly requestBytes: number;
  /** 0 where there was no answer. */
  readonly answerBytes: number;
  /** Why there was no answer. What an answer says of errors is inside of it, and not here. */
  readonly error: KafkaError | null;
}

/** A broker asked for a pause (quotas). */
export interface Throttled extends ClientEvent {
  /** Whose answer asked for it. */
  readonly api: string;
  /** So long the broker gets nothing. */
  readonly throttleTimeMs: number;
}

/** A broker can be asked. */
export interface ConnectionOpened extends ClientEvent {
  /** For everything until the first request could leave. */
  readonly durationMs: number;
  /** Whether it is encrypted. */
  readonly isTls: boolean;
}

/** A connection that was opened has ended. */
export interface ConnectionClosed extends ClientEvent {
  /** Since it could be used. */
  readonly lifetimeMs: number;
  /** CLOSED where the client has ended it. */
  readonly error: KafkaError;
}

/** No connection came about. */
export interface ConnectionFailed extends ClientEvent {
  /** Until that was clear. */
  readonly durationMs: number;
  /** Why. */
  readonly error: KafkaError;
}

/** A connection said again who we are (KIP-368). */
export interface Reauthenticated extends ClientEvent {
  /** "SCRAM-SHA-512", "OAUTHBEARER" ... */
  readonly mechanism: string;
  /** Requests that came meanwhile have waited so long at most. */
  readonly durationMs: number;
  /** Null where the broker has believed us again. */
  readonly error: KafkaError | null;
}

/** The cluster was asked for its brokers and topics. */
export interface MetadataAsked extends ClientEvent {
  /** Null: all. None: for the brokers only. */
  readonly topics: readonly string[] | null;
  /** From the question to the answer. */
  readonly durationMs: number;
  /** How many brokers the answer has. */
  readonly brokersCount: number;
}

/** The events by their channels. */
export interface ClientEvents {
  /** On `channels.request`. */
  readonly request: RequestEnded;
  /** On `channels.throttle`. */
  readonly throttle: Throttled;
  /** On `channels.connectionOpened`. */
  readonly connectionOpened: ConnectionOpened;
  /** On `channels.connectionClosed`. */
  readonly connectionClosed: ConnectionClosed;
  /** On `channels.connectionFailed`. */
  readonly connectionFailed: ConnectionFailed;
  /** On `channels.reauthentication`. */
  readonly reauthentication: Reauthenticated;
  /** On `channels.metadata`. */
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
