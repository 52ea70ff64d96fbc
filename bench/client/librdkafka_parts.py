"""What every load of librdkafka.py has: its plan, from the first argument, a meter and records to send."""

import json
import os
import random
import resource
import sys
import time

plan = json.loads(sys.argv[1])
topic = plan["topic"]
bootstrap = {"bootstrap.servers": f"127.0.0.1:{plan['port']}"}

# As in plan.ts.
KEY_BYTES = 12


class Meter:
    """What the process takes in its measured time."""

    def __init__(self):
        self.latencies_ms = []
        self.is_measuring = False

    def begin(self):
        self.is_measuring = True
        self.started = time.perf_counter()
        self.cpu_at_start = time.process_time()

    def end(self):
        self.cpu_seconds = time.process_time() - self.cpu_at_start
        self.seconds = time.perf_counter() - self.started
        self.is_measuring = False

    def latency(self, ms):
        if self.is_measuring:
            self.latencies_ms.append(ms)

    def result(self):
        ordered = sorted(self.latencies_ms)

        def at(fraction):
            return ordered[int(len(ordered) * fraction)] if ordered else 0

        return {
            "seconds": self.seconds,
            "cpuSeconds": self.cpu_seconds,
            "latencyMsMedian": at(0.5),
            "latencyMsP99": at(0.99),
            "rssMegabytesMax": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }


class Pool:
    """Records to send: keys that spread them over partitions, values of bytes that no codec makes smaller."""

    def __init__(self):
        bytes_of = random.Random(4711)
        self.records = [
            (f"key-{index}".ljust(KEY_BYTES, "-").encode(), bytes_of.randbytes(plan["recordBytes"]))
            for index in range(4096)
        ]
        self.at = 0

    def next(self):
        self.at = (self.at + 1) & 4095
        return self.records[self.at]


meter = Meter()
pool = Pool()


def failed(error):
    print(f"librdkafka: {error}", file=sys.stderr, flush=True)
    # At once, in whichever thread it comes.
    os._exit(1)
