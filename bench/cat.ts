import { closeSync, openSync, readSync } from "node:fs";
import { createServer } from "node:net";

/**
 * `node cat.ts FILE`: what loopback gives without a broker (see limits.ts), from a process of its own. A connection that says
 * "f" gets the file over and over, read from the page cache and written; one that says "e" gets back what it sends.
 */
const blockBytes = 256 * 1024;
const [path = ""] = process.argv.slice(2);

const server = createServer({ noDelay: true }, (socket) => {
  socket.on("error", () => socket.destroy());
  socket.once("data", (first) => {
    if (first.toString("latin1", 0, 1) === "e") {
      socket.on("data", (chunk) => void socket.write(chunk));
      return;
    }
    const file = openSync(path, "r");
    socket.on("close", () => closeSync(file));
    const block = Buffer.alloc(blockBytes);
    let position = 0;
    const next = (error?: Error | null): void => {
      if (socket.destroyed || (error !== undefined && error !== null)) return;
      const count = readSync(file, block, 0, blockBytes, position);
      position = count < blockBytes ? 0 : position + count;
      // Through the event loop, or a fast receiver would keep this process from all others.
      socket.write(block.subarray(0, count), (failure) => void setImmediate(next, failure));
    };
    next();
  });
});
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  if (address !== null && typeof address !== "string") process.stdout.write(`${address.port}\n`);
});
// Ends with its parent.
process.stdin.on("end", () => process.exit()).resume();
