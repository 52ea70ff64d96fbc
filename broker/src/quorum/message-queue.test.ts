import type { Message } from "raft-ts-lite";
import { expect, test } from "vitest";
import { MessageQueue } from "./message-queue.ts";
import { decodeMessage, encodeMessage } from "./raft-frames.ts";

const ends = { from: "a", to: "b", term: 1 };

function heartbeat(round: number): Message {
  return { kind: "heartbeat", ...ends, commitIndex: 0, round };
}

function append(index: number, sizeBytes: number): Message {
  const entry = { kind: "data", index, term: 1, data: Buffer.alloc(sizeBytes) } as const;
  return { kind: "append", ...ends, prevIndex: index - 1, prevTerm: 1, commitIndex: 0, entries: [entry] };
}

/** An append that only probes. */
function probe(index: number): Message {
  return { kind: "append", ...ends, prevIndex: index, prevTerm: 1, commitIndex: 0, entries: [] };
}

function chunk(index: number): Message {
  const configuration = { voters: ["a"] };
  return {
    kind: "snapshot",
    ...ends,
    chunk: { index, term: 1, configuration, offset: 0, data: Buffer.alloc(9), isLast: true },
  };
}

/** In short: h1, +2 (an entry), p3, s4. */
function contents(queue: MessageQueue, bytesMax = 1_000_000): string {
  const frames = queue.take(bytesMax);
  const words = frames.map((frame) => {
    const decoded = decodeMessage(frame);
    if (!decoded.ok) return "?";
    const { value } = decoded;
    if (value.kind === "heartbeat") return `h${value.round}`;
    if (value.kind === "snapshot") return `s${value.chunk.index}`;
    if (value.kind !== "append") return "?";
    return value.entries.length === 0 ? `p${value.prevIndex}` : `+${value.prevIndex + 1}`;
  });
  return words.join(" ");
}

function filled(
  messages: readonly Message[],
  limits: { readonly countMax?: number; readonly bytesMax?: number },
): MessageQueue {
  const queue = new MessageQueue({ countMax: 1_000, bytesMax: 1_000_000, ...limits });
  for (const message of messages) queue.push(message);
  return queue;
}

test("what raft sends again by itself goes first, the oldest before the others", () => {
  const messages = [heartbeat(1), append(2, 5), probe(3), chunk(4), append(5, 5), heartbeat(6), append(7, 5)];
  expect(contents(filled(messages, { countMax: 6 }))).toBe("h1 p3 s4 +5 h6 +7");
  expect(contents(filled(messages, { countMax: 4 }))).toBe("h1 p3 h6 +7");
});

test("with none of these, the oldest goes; the new one is always taken", () => {
  expect(contents(filled([1, 2, 3, 4].map(heartbeat), { countMax: 2 }))).toBe("h3 h4");
  expect(contents(filled([heartbeat(1), heartbeat(2), append(3, 5)], { countMax: 2 }))).toBe("h2 +3");
  expect(contents(filled([heartbeat(1), append(2, 5), append(3, 900)], { bytesMax: 500 }))).toBe("+3");
});

test("bytes are counted", () => {
  const messages = [append(1, 100), append(2, 200), heartbeat(3)];
  const sizes = messages.map((message) => encodeMessage(message).length);
  const queue = filled(messages, {});
  expect([queue.length, queue.sizeBytes]).toEqual([3, sizes.reduce((sum, size) => sum + size, 0)]);
  expect(contents(queue, 120)).toBe("+1");
  expect(queue.sizeBytes).toBe((sizes[1] ?? 0) + (sizes[2] ?? 0));
  expect(contents(queue, 10)).toBe("+2");
  queue.clear();
  expect([queue.isEmpty, queue.sizeBytes, contents(queue)]).toEqual([true, 0, ""]);
});
