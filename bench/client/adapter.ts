import type { RecordPool, SampleRecord, Tally } from "./samples.ts";

/** Where a client is to find its topic. */
export interface Place {
  readonly port: number;
  readonly topic: string;
  readonly partitions: number;
}

/** Told each time whether to go on. */
export type Until = () => boolean;

/** One client library, each load in the way in which it does it best. */
export interface BenchClient {
  /** How each load is done, and with which settings. */
  readonly settings: {
    readonly pipelined: string;
    readonly sends: string;
    readonly awaited: string;
    readonly batches: string;
    readonly messages: string;
    /** Null: it has no such way. */
    readonly iterate: string | null;
  };
  startProducer(purpose: "throughput" | "latency"): Promise<void>;
  /** As many records as it takes until it is over; settles when all are acknowledged, with their number. */
  pipelined(pool: RecordPool, isOver: Until): Promise<number>;
  /** A promise that settles when the record is acknowledged. */
  send(record: SampleRecord): Promise<unknown>;
  /** Those that are due at this moment, by its quickest way; calls what comes to an end with them. */
  sendDue(records: readonly SampleRecord[], onAcked: (count: number) => void): void;
  /** One of many that nobody waits for. False: the client says that it takes no more. */
  offer(record: SampleRecord): boolean;
  /** Reads the topic from its beginning until the tally is full. */
  batches(tally: Tally): Promise<void>;
  messages(tally: Tally): Promise<void>;
  iterate(tally: Tally): Promise<void>;
  /** Reads the topic from its beginning, and calls this for each value until the client is closed. Settles at once. */
  follow(onValue: (value: Buffer) => void): Promise<void>;
  /** As `follow`, and waits for what it is given, record by record. */
  handleEach(handler: () => Promise<void>): Promise<void>;
  close(): Promise<void>;
}

/** Starts so many at a time, and the next when one has ended, until it is over and all have ended. Gives how many ended well. */
export function keepInFlight(max: number, isOver: Until, start: () => Promise<unknown>): Promise<number> {
  return new Promise((resolve, reject) => {
    let open = 0;
    let ended = 0;
    const next = (): void => {
      while (open < max && !isOver()) {
        open++;
        start().then(onEnded, reject);
      }
      if (open === 0) resolve(ended);
    };
    const onEnded = (): void => {
      open--;
      ended++;
      next();
    };
    next();
  });
}
