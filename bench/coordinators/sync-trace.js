// Loaded by the coordinators' bench into the Millrace process (`--import`): on "trace" it begins to note when each sync of a
// file began and ended, on "syncs" it answers them. A sync is fsync, fdatasync, or a write to a file that was opened with
// O_DSYNC, as the journal is. Plain JavaScript for the reason that loop-delay.js gives.
import fs from "node:fs";
import "../loop-delay.js";

let syncs = null;
const syncedByUs = new Set();
const nowMs = () => Number(process.hrtime.bigint()) / 1e6;

/** Calls with a callback at their end. */
function traced(name, isSync) {
  const original = fs[name];
  fs[name] = (...args) => {
    if (syncs === null || !isSync(args[0])) return original(...args);
    const sync = { beganMs: nowMs(), endedMs: 0 };
    const done = args.at(-1);
    const list = syncs;
    return original(...args.slice(0, -1), (...results) => {
      sync.endedMs = nowMs();
      list.push(sync);
      done(...results);
    });
  };
}

const open = fs.open;
fs.open = (path, flags, ...rest) => {
  const done = rest.at(-1);
  return open(path, flags, ...rest.slice(0, -1), (error, fd) => {
    if (error === null && typeof flags === "number" && (flags & fs.constants.O_DSYNC) !== 0) syncedByUs.add(fd);
    done(error, fd);
  });
};
const close = fs.close;
fs.close = (fd, ...rest) => {
  // Its number goes to the next file that is opened.
  syncedByUs.delete(fd);
  return close(fd, ...rest);
};
for (const name of ["fsync", "fdatasync"]) traced(name, () => true);
for (const name of ["write", "writev"]) traced(name, (fd) => syncedByUs.has(fd));

process.on("message", (question) => {
  if (question === "trace") syncs = [];
  if (question !== "syncs") return;
  process.send?.(syncs ?? []);
  syncs = null;
});
process.channel?.unref();
