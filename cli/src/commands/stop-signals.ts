/** npm passes a Ctrl-C on that the terminal has sent to all of its processes already: it comes twice. */
const npmEchoMs = 300;

const signals = ["SIGTERM", "SIGINT"] as const;

/** The first SIGTERM or SIGINT stops cleanly; a second one ends the process at once, after `atOnce`. */
export function onStopSignal(stop: () => void, atOnce: () => void = () => undefined): void {
  const echoMs = process.env["npm_lifecycle_event"] === undefined ? 0 : npmEchoMs;
  let firstMs: number | null = null;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (firstMs === null) {
      firstMs = performance.now();
      stop();
    } else if (performance.now() - firstMs >= echoMs) {
      for (const each of signals) process.removeListener(each, onSignal);
      atOnce();
      process.kill(process.pid, signal);
    }
  };
  for (const signal of signals) process.on(signal, onSignal);
}
