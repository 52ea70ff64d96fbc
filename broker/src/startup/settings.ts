import type { CleanerSettings } from "@millrace/storage/cleaner/cleaner";
import type { BrokerConfig } from "../config/broker-keys.ts";
import type { AdmissionLimits } from "../network/admission.ts";
import type { ServerLimits } from "../network/server.ts";

const checkpointIntervalMsMin = 100;

export function serverLimits(config: BrokerConfig): ServerLimits {
  const requestBytesMax = config["queued.max.request.bytes"];
  return {
    frameBytesMax: config["socket.request.max.bytes"],
    inFlightMax: config["millrace.connection.in.flight.requests.max"],
    inFlightBytesMax: config["millrace.connection.in.flight.bytes.max"],
    unsentBytesMax: config["millrace.connection.unsent.bytes.max"],
    waitingMax: config["socket.listen.backlog.size"],
    idleMsMax: config["connections.max.idle.ms"],
    requestBytesMax: requestBytesMax < 0 ? Number.MAX_SAFE_INTEGER : requestBytesMax,
    stallMs: config["millrace.request.stall.ms"],
  };
}

/** One checkpoint notes both; Kafka's 0, without a pause, would do nothing else. */
export function checkpointIntervalMs(config: BrokerConfig): number {
  const ofOffsets = config["log.flush.offset.checkpoint.interval.ms"];
  const ofStarts = config["log.flush.start.offset.checkpoint.interval.ms"];
  return Math.max(checkpointIntervalMsMin, Math.min(ofOffsets, ofStarts));
}

export function cleanerSettings(config: BrokerConfig): CleanerSettings {
  return {
    isEnabled: config["log.cleaner.enable"],
    threads: config["log.cleaner.threads"],
    dedupeBufferBytes: config["log.cleaner.dedupe.buffer.size"],
    loadFactor: config["log.cleaner.io.buffer.load.factor"],
    ioBufferBytes: config["log.cleaner.io.buffer.size"],
    bytesPerSecond: config["log.cleaner.io.max.bytes.per.second"],
    backoffMs: config["log.cleaner.backoff.ms"],
  };
}

export function admissionLimits(config: BrokerConfig): AdmissionLimits {
  return {
    connectionsMax: config["max.connections"],
    connectionsPerHostMax: config["max.connections.per.ip"],
    connectionsPerSecondMax: config["max.connection.creation.rate"],
  };
}

export function logDirectories(config: BrokerConfig): readonly string[] {
  const directories = config["log.dirs"] ?? config["log.dir"];
  return typeof directories === "string" ? [directories] : directories;
}
