"""Clients of librdkafka that note what they do, as ../java/src/HistoryClients.java does: the roles with transactions."""

import json
import os
import random
import sys
import threading
import time
import traceback

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

REBIRTH_S = 0.7
CALL_S = 8
FLUSH_S = 2
PURGED = (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT)
bootstrap = sys.argv[1]
config = json.loads(sys.argv[2])
stopping = threading.Event()


class Log:
    """The time is taken under the lock, so that the lines are in the order of time."""

    def __init__(self, path, lines_max):
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self.lock = threading.Lock()
        self.lines_left = lines_max

    def write(self, client, **event):
        with self.lock:
            line = {"client": client, "atUs": time.monotonic_ns() // 1000, **event}
            os.write(self.file, (json.dumps(line) + "\n").encode())
            self.lines_left -= 1
            if self.lines_left <= 0:
                stopping.set()


log = Log(config["log"], config["linesMax"])


class Unanswered(Exception):
    def __init__(self, error):
        super().__init__(error)
        self.error = error


def connection(client):
    return {
        "bootstrap.servers": bootstrap,
        "client.id": client,
        "socket.timeout.ms": 3000,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 300,
    }


class Spent(Exception):
    """
    Records that were sent, timed out and then purged by an abort have used their sequence numbers, but librdkafka 2.15
    gives the same ones to its next records: the cluster takes those for the old ones and acknowledges what it does not
    have. Apache Kafka does so, too. A new producer has a new epoch.
    """


class Life:
    """One client after the other under one role: what fails for good is followed by a new one with a new name."""

    def __init__(self, role, seed):
        self.role = role
        self.random = random.Random(seed)
        self.name = role["name"]
        self.calls = 0
        self.values = 0
        self.transactions = 0
        self.lock = threading.Lock()
        self.moved = False
        self.purged = False

    def run(self):
        births = 0
        roles = {"transactional": self.transactional, "processor": self.processor}
        while not stopping.is_set():
            self.name = self.role["name"] + (f"-{births}" if births else "")
            births += 1
            log.write(self.name, type="open", isolation="read_committed")
            try:
                roles[self.role["role"]]()
            except (Spent, Unanswered) as error:
                print(f"{self.name}: {error}", file=sys.stderr)
                time.sleep(REBIRTH_S)
            except Exception:  # noqa: BLE001: whatever it was, another client takes the role
                traceback.print_exc()
                time.sleep(REBIRTH_S)
            log.write(self.name, type="crash")

    # --- Notes -------------------------------------------------------------------------------------------------------

    def invoke(self, **call):
        with self.lock:
            number = self.calls
            self.calls += 1
        log.write(self.name, type="invoke", call=number, **call)
        return number

    def ok(self, call, **result):
        log.write(self.name, type="ok", call=call, **result)

    def info(self, call, error):
        log.write(self.name, type="info", call=call, error=str(error)[:160])

    def noted(self, action, **call):
        """A call without an answer of its own. What it raises says nothing of what it did."""
        number = self.invoke(**call)
        try:
            action()
        except KafkaException as error:
            self.info(number, error)
            raise Unanswered(error.args[0]) from error
        self.ok(number)

    # --- Producers ---------------------------------------------------------------------------------------------------

    def producer(self):
        client = Producer(
            {
                **connection(self.name),
                "transactional.id": self.role["transactionalId"],
                "transaction.timeout.ms": 12000,
                "delivery.timeout.ms": 10000,
                "linger.ms": 2,
            }
        )
        self.purged = False
        until = time.monotonic() + 4 * CALL_S
        while True:
            try:
                client.init_transactions(CALL_S)
                return client
            except KafkaException as error:
                if not error.args[0].retriable() or stopping.is_set() or time.monotonic() > until:
                    raise

    def send(self, client, transaction):
        topic = self.random.choice(self.role["topics"])
        partition = self.random.randrange(config["topics"][topic])
        value = f"{self.name}:{self.values}"
        self.values += 1
        call = self.invoke(name="send", topic=topic, partition=partition, value=value, transaction=transaction)

        def delivered(error, message):
            if error is None:
                self.ok(call, offset=message.offset() if message.offset() >= 0 else None)
            else:
                self.purged = self.purged or error.code() in PURGED
                self.info(call, error)

        try:
            client.produce(topic, value=value.encode(), partition=partition, on_delivery=delivered)
        except KafkaException as error:
            self.info(call, error)
            raise Unanswered(error.args[0]) from error
        client.poll(0)

    def end(self, client, transaction, name):
        """What timed out is asked for again; a commit that cannot be is followed by an abort. Whether it was committed."""
        if name == "abort":
            client.flush(FLUSH_S)
        while True:
            action = client.commit_transaction if name == "commit" else client.abort_transaction
            try:
                self.noted(lambda: action(CALL_S), name=name, transaction=transaction)
            except Unanswered as unanswered:
                if unanswered.error.retriable() and not stopping.is_set():
                    continue
                if name == "commit" and unanswered.error.txn_requires_abort():
                    name = "abort"
                    continue
                raise
            if self.purged:
                raise Spent("records were purged")
            return name == "commit"

    def transactional(self):
        client = self.producer()
        while not stopping.is_set():
            transaction = self.transactions
            self.transactions += 1
            client.begin_transaction()
            for _ in range(self.random.randint(1, 5)):
                self.send(client, transaction)
                time.sleep(self.random.random() * 0.008)
            self.end(client, transaction, "abort" if self.random.random() < 0.25 else "commit")
            time.sleep(self.random.random() * 0.02)

    # --- Consumers ---------------------------------------------------------------------------------------------------

    def note_owned(self, kind, partitions):
        lanes = [[each.topic, each.partition] for each in partitions]
        log.write(self.name, type=kind, group=self.role["group"], partitions=lanes)

    def stand(self, consumer, partitions):
        """Where the group has committed, or at the start."""
        committed = consumer.committed(partitions, CALL_S)
        for each in committed:
            if each.error is not None:
                raise KafkaException(each.error)
        standing = [TopicPartition(each.topic, each.partition, max(each.offset, 0)) for each in committed]
        consumer.assign(standing)
        return [[each.topic, each.partition, each.offset] for each in standing]

    def assigned(self, consumer, partitions):
        self.moved = True
        self.note_owned("assigned", partitions)
        if not partitions:
            consumer.assign([])
            return
        call = self.invoke(name="position", group=self.role["group"])
        try:
            positions = self.stand(consumer, partitions)
        except KafkaException as error:
            self.info(call, error)
            raise
        self.ok(call, positions=positions)

    def taken(self, kind):
        def note(_consumer, partitions):
            self.moved = True
            self.note_owned(kind, partitions)

        return note

    def poll(self, consumer, transaction, timeout):
        call = self.invoke(name="poll", transaction=transaction)
        message = consumer.poll(timeout)
        if message is None:
            self.ok(call, records=[])
        elif message.error() is not None:
            self.info(call, message.error())
            # A broker that is away for a while is no reason to begin anew; its place is lost track of all the same.
            message = None
        else:
            place = [message.topic(), message.partition(), message.offset()]
            self.ok(call, records=[[*place, message.value().decode()]])
        return message

    def gather(self, consumer, transaction):
        """Some records. When partitions move, what came before is taken anew by whoever has them then."""
        records = []
        timeout = 0.1
        while len(records) < 20:
            self.moved = False
            record = self.poll(consumer, transaction, timeout)
            # A poll tells of the move first, and what it returns came after that.
            if self.moved:
                records = []
            if record is None:
                break
            records.append(record)
            timeout = 0
        return records

    def processor(self):
        consumer = Consumer(
            {
                **connection(self.name),
                "group.id": self.role["group"],
                "session.timeout.ms": config["sessionTimeoutMs"],
                "heartbeat.interval.ms": config["sessionTimeoutMs"] // 5,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 100,
            }
        )
        try:
            client = self.producer()
            consumer.subscribe(
                [self.role["from"]],
                on_assign=self.assigned,
                on_revoke=self.taken("revoked"),
                on_lost=self.taken("lost"),
            )
            while not stopping.is_set():
                transaction = self.transactions
                self.transactions += 1
                records = self.gather(consumer, transaction)
                if records and not self.process(client, consumer, records, transaction) and consumer.assignment():
                    positions = self.stand(consumer, consumer.assignment())
                    log.write(self.name, type="seek", positions=positions)
        finally:
            consumer.close()

    def process(self, client, consumer, records, transaction):
        client.begin_transaction()
        for _ in records:
            self.send(client, transaction)
        after = {(each.topic(), each.partition()): each.offset() + 1 for each in records}
        offsets = [TopicPartition(topic, partition, offset) for (topic, partition), offset in after.items()]
        try:
            self.noted(
                lambda: client.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), CALL_S),
                name="commit-offsets",
                group=self.role["group"],
                positions=[[each.topic, each.partition, each.offset] for each in offsets],
                transaction=transaction,
            )
        except Unanswered as unanswered:
            if not unanswered.error.txn_requires_abort() and not unanswered.error.retriable():
                raise
            self.end(client, transaction, "abort")
            return False
        return self.end(client, transaction, "abort" if self.random.random() < 0.12 else "commit")


lives = [Life(role, config["seed"] * 31 + index) for index, role in enumerate(config["clients"])]
threads = [threading.Thread(target=life.run, name=life.name) for life in lives]
for thread in threads:
    thread.start()


def read_input():
    sys.stdin.read()
    stopping.set()


threading.Thread(target=read_input, daemon=True).start()
for thread in threads:
    thread.join()
# The destructors of librdkafka's clients would wait for what is still on its way.
os._exit(0)
