/** The settings of one client-metrics subscription (KIP-714). */
export const clientMetricsKeys = {
  "interval.ms": {
    kind: "int",
    default: 300_000,
    doc: "How often a client that matches pushes its metrics, 100 ms to an hour.",
  },
  match: {
    kind: "list",
    default: [],
    form: "client-match",
    doc: "Which clients are meant: key=pattern pairs that must all match.",
  },
  metrics: {
    kind: "list",
    default: [],
    doc: "Metrics that are pushed, by the beginning of their names; * means all.",
  },
} as const;
