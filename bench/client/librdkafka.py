"""librdkafka through confluent-kafka: the loads of plan.ts, for the plan in the first argument."""

import json
import os
import struct
import threading
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from librdkafka_parts import bootstrap, failed, meter, plan, pool, topic

# As in plan.ts.
SENDS_MAX = 10_000
FIRST_TIMESTAMP = 1_700_000_000_000
OFFER_EVERY_S = 0.01
OFFERED_RECORDS = 1_000
HANDLER_S = 0.002
CONSUMED_AT_ONCE = 10_000

# Idempotence costs librdkafka nothing that can be seen, and it is what our own client does. CRCs of batches are not looked at,
# its default. Keys go where the other clients put them.
PRODUCER = {
    "acks": "all",
    "enable.idempotence": True,
    "partitioner": "murmur2_random",
    "queue.buffering.max.messages": 1_000_000,
    "queue.buffering.max.kbytes": 262_144,
    "batch.size": 1_000_000,
}
CONSUMER = {
    "enable.auto.commit": False,
    "isolation.level": "read_uncommitted",
    "queued.min.messages": 1_000_000,
    "queued.max.messages.kbytes": 65_536,
}


def producing(produce, config, settings):
    """Twice, and only the second time is measured; each time until everything is acknowledged."""
    producer = Producer({**bootstrap, **PRODUCER, **config})
    producer.produce(topic, pool.next()[1], pool.next()[0])
    producer.flush(60)
    before = produce(producer, time.perf_counter() + plan["warmUpMs"] / 1000)
    meter.begin()
    records = produce(producer, time.perf_counter() + plan["measureMs"] / 1000)
    meter.end()
    return {"records": records, "recordsInAll": before + records + 1, "settings": settings}


def pipelined(producer, until):
    count = 0
    errors = []

    def delivered(error, _message):
        if error is not None:
            errors.append(error)

    while time.perf_counter() < until:
        for _ in range(1_000):
            key, value = pool.next()
            while True:
                try:
                    producer.produce(topic, value, key, on_delivery=delivered)
                    break
                except BufferError:
                    producer.poll(0.01)
        count += 1_000
        producer.poll(0)
    producer.flush(60)
    if errors:
        failed(errors[0])
    return count


def sends(producer, until):
    """A callback a record, and at most so many records that are not answered."""
    state = {"open": 0, "count": 0}

    def delivered(error, _message):
        if error is not None:
            failed(error)
        state["open"] -= 1
        state["count"] += 1

    is_over = False
    while not is_over:
        for _ in range(32):
            while state["open"] >= SENDS_MAX:
                producer.poll(0.01)
            key, value = pool.next()
            producer.produce(topic, value, key, on_delivery=delivered)
            state["open"] += 1
        producer.poll(0)
        is_over = time.perf_counter() >= until
    producer.flush(60)
    return state["count"]


def produce_one(producer):
    answers = []
    key, value = pool.next()
    producer.produce(topic, value, key, on_delivery=lambda error, _message: answers.append(error))
    while not answers:
        producer.poll(1)
    if answers[0] is not None:
        failed(answers[0])


def awaited(producer, until):
    count = 0
    while True:
        sent = time.perf_counter()
        if sent >= until:
            return count
        produce_one(producer)
        meter.latency((time.perf_counter() - sent) * 1000)
        count += 1


def assigned():
    consumer = Consumer({**bootstrap, **CONSUMER, "group.id": f"{topic}-librdkafka"})
    consumer.assign([TopicPartition(topic, index, OFFSET_BEGINNING) for index in range(plan["partitions"])])
    return consumer


def checksum_of(message):
    key = message.key()
    value = message.value()
    headers = message.headers()
    return (
        key[-1]
        + value[0]
        + value[-1]
        + len(key)
        + len(value)
        + message.offset()
        + message.timestamp()[1]
        - FIRST_TIMESTAMP
        + (0 if headers is None else len(headers))
    )


def consuming(take, settings):
    consumer = assigned()
    # It has nothing to warm up, and what it fetches ahead meanwhile would not be counted.
    warm_up, end = 1, plan["records"]
    checksum = 0
    count = 0
    for message in take(consumer):
        if message.error() is not None:
            failed(message.error())
        checksum += checksum_of(message)
        count += 1
        if count == warm_up:
            meter.begin()
        elif count == end:
            meter.end()
            break
    consumer.close()
    return {"records": end - warm_up, "recordsInAll": count, "checksum": checksum, "settings": settings}


def batches(consumer):
    while True:
        yield from consumer.consume(CONSUMED_AT_ONCE, 1)


def messages(consumer):
    while True:
        message = consumer.poll(1)
        if message is not None:
            yield message


def end_to_end():
    producer = Producer({**bootstrap, **PRODUCER, "linger.ms": 0})
    consumer = assigned()
    state = {"arrived": 0, "acked": 0, "open": True}

    def follow():
        while state["open"]:
            message = consumer.poll(0.05)
            if message is None:
                continue
            if message.error() is not None:
                failed(message.error())
            (due,) = struct.unpack_from(">d", message.value())
            state["arrived"] += 1
            if due > 0:
                meter.latency((time.perf_counter() - due) * 1000)

    def acked(error, _message):
        if error is not None:
            failed(error)
        state["acked"] += 1

    follower = threading.Thread(target=follow)
    follower.start()
    sent = 0

    def send(due):
        key, value = pool.next()
        producer.produce(topic, struct.pack(">d", due) + value[8:], key, on_delivery=acked)

    while state["arrived"] == 0:
        send(0.0)
        sent += 1
        producer.poll(0.05)

    def pace(seconds):
        nonlocal sent
        started = time.perf_counter()
        due = 0
        while True:
            elapsed = min(seconds, time.perf_counter() - started)
            while due < elapsed * plan["recordsPerSecond"]:
                send(started + due / plan["recordsPerSecond"])
                due += 1
                sent += 1
            producer.poll(0)
            if elapsed >= seconds:
                break
            time.sleep(0.001)
        while state["acked"] < sent or state["arrived"] < sent:
            producer.poll(0.001)

    pace(plan["warmUpMs"] / 1000)
    meter.begin()
    pace(plan["measureMs"] / 1000)
    meter.end()
    state["open"] = False
    follower.join()
    consumer.close()
    return {
        "records": len(meter.latencies_ms),
        "recordsInAll": sent,
        "settings": "linger.ms 0, idempotent; poll in a thread of its own",
    }


def offering():
    # As it comes.
    producer = Producer({**bootstrap, "acks": "all"})
    produce_one(producer)
    meter.begin()
    until = time.perf_counter() + plan["measureMs"] / 1000
    records = refused = 0
    while time.perf_counter() < until:
        for _ in range(OFFERED_RECORDS):
            key, value = pool.next()
            records += 1
            try:
                producer.produce(topic, bytes(bytearray(value)), key)
            except BufferError:
                refused += 1
        producer.poll(0)
        time.sleep(OFFER_EVERY_S)
    meter.end()
    return {"records": records, "recordsInAll": records, "refused": refused, "settings": "defaults"}


def handling_slowly():
    consumer = Consumer({**bootstrap, "enable.auto.commit": False, "group.id": f"{topic}-librdkafka"})
    consumer.assign([TopicPartition(topic, index, OFFSET_BEGINNING) for index in range(plan["partitions"])])
    records = 0
    while records < 1:
        records += 0 if consumer.poll(1) is None else 1
    meter.begin()
    until = time.perf_counter() + plan["measureMs"] / 1000
    while time.perf_counter() < until:
        consumer.poll(1)
        time.sleep(HANDLER_S)
        records += 1
    meter.end()
    return {"records": records, "recordsInAll": records, "settings": "poll, defaults"}


THROUGHPUT = "produce, linger.ms 5, batch.size 1 MB, idempotent"
loads = {
    # Reports of failures alone are the quickest way of this client.
    "produce-pipelined": lambda: producing(
        pipelined, {"linger.ms": 5, "delivery.report.only.error": True}, f"{THROUGHPUT}, reports of failures alone"
    ),
    "produce-send": lambda: producing(sends, {"linger.ms": 5}, f"{THROUGHPUT}, a callback a record"),
    "produce-awaited": lambda: producing(awaited, {"linger.ms": 0}, "produce and poll, linger.ms 0, idempotent"),
    "consume-batch": lambda: consuming(batches, f"consume({CONSUMED_AT_ONCE}), assigned by hand"),
    "consume-message": lambda: consuming(messages, "poll, assigned by hand"),
    "end-to-end": end_to_end,
    "memory-produce": offering,
    "memory-consume": handling_slowly,
}

outcome = loads[plan["kind"]]()
nothing = {
    "heapMegabytesMax": 0,
    "growthMegabytesMax": 0,
    "loopDelayMsP99": 0,
    "loopDelayMsMax": 0,
    "checksum": 0,
    "refused": 0,
    "inUseMegabytes": [],
}
print(json.dumps({**nothing, **meter.result(), **outcome}), flush=True)
if plan["kind"].startswith("memory-"):
    # What a slow broker has not taken is not waited for.
    os._exit(0)
