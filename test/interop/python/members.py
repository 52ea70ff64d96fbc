"""The log of the members of a group, and the threads in which they run (../README.md)."""

import json
import os
import sys
import threading


class MemberLog:
    """One write a line, to a file that is open for appending: lines of all members stand in the order in which they came."""

    def __init__(self, path, member):
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._member = member

    def __call__(self, event, **details):
        os.write(self._file, (json.dumps({"member": self._member, "event": event, **details}) + "\n").encode())


def run_members(run):
    """`run(bootstrap, log, topic, group, mode, name, ended)` for each name, in a thread; `ended` is set at the end of the input."""
    bootstrap, log, topic, group, mode, *names = sys.argv[1:]
    ended = threading.Event()

    def one(name):
        member_log = MemberLog(log, name)
        try:
            run(bootstrap, member_log, topic, group, mode, name, ended)
            member_log("closed")
        except Exception as error:  # noqa: BLE001: the driver is told of every failure
            member_log("failed", error=repr(error))
            raise

    threads = [threading.Thread(target=one, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    ended.set()
    for thread in threads:
        thread.join()
