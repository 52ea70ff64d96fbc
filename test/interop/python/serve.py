"""What the Python programs share: a command a line in, an answer a line out (../README.md)."""

import base64
import json
import sys
import traceback


def serve(commands):
    """Runs `commands[name](request)` for each line; what the function returns is the answer."""
    # A library that prints must not break the answers.
    answers, sys.stdout = sys.stdout, sys.stderr

    def answer(line):
        answers.write(json.dumps(line) + "\n")
        answers.flush()

    for text in sys.stdin:
        request = json.loads(text)
        request["report_progress"] = lambda count: answer({"id": request["id"], "progress": count})
        try:
            answer({"id": request["id"], "ok": commands[request["command"]](request)})
        except Exception as error:  # noqa: BLE001: the driver is told of every failure
            traceback.print_exc()
            answer({"id": request["id"], "error": repr(error)})


def read_records(path):
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            yield {
                "key": to_bytes(record["key"]),
                "value": to_bytes(record["value"]),
                "headers": [(name, to_bytes(value)) for name, value in record["headers"]],
                "timestamp": record["timestamp"],
            }


class RecordWriter:
    """Writes what was consumed, and remembers where the next member has to go on."""

    def __init__(self, path):
        self._lines = open(path, "w", encoding="utf-8")
        self.count = 0
        self.next_offsets = {}

    def write(self, topic, partition, offset, timestamp, key, value, headers):
        line = {
            "topic": topic,
            "partition": partition,
            "offset": offset,
            "timestamp": timestamp,
            "key": to_base64(key),
            "value": to_base64(value),
            "headers": [[name, to_base64(header)] for name, header in headers],
        }
        self._lines.write(json.dumps(line) + "\n")
        self.next_offsets[(topic, partition)] = offset + 1
        self.count += 1

    def close(self):
        self._lines.close()


def to_bytes(text):
    return None if text is None else base64.b64decode(text)


def to_base64(data):
    return None if data is None else base64.b64encode(data).decode("ascii")
