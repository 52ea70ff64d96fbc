"""librdkafka through confluent-kafka."""

import sys
import time

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition, libversion
from confluent_kafka.admin import AdminClient, NewTopic
from serve import RecordWriter, read_records, serve

bootstrap = sys.argv[1]
producers = {}
kept_consumers = {}
transactional = {}


def hello(_request):
    return {
        "version": libversion()[0],
        "compressions": ["none", "gzip", "snappy", "lz4", "zstd"],
        "cannot": [],
    }


def create_topic(request):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    topic = NewTopic(request["topic"], request["partitions"], 1, config=request.get("configs") or {})
    for created in admin.create_topics([topic]).values():
        created.result()
    return {}


def producer(compression):
    if compression not in producers:
        producers[compression] = Producer(
            {
                "bootstrap.servers": bootstrap,
                "compression.type": compression,
                "enable.idempotence": True,
                "linger.ms": 5,
                # As the Java client places keys; librdkafka's own default hashes with CRC-32.
                "partitioner": "murmur2_random",
                "queue.buffering.max.messages": 1000000,
            }
        )
    return producers[compression]


def produce(request):
    client = producer(request["compression"])
    every = request.get("progressEvery") or 0
    records = list(read_records(request["file"]))
    acks = [None] * len(records)
    failures = []
    acknowledged = 0

    def delivered(index):
        def report(error, message):
            nonlocal acknowledged
            if error is not None:
                failures.append(error)
                return
            acks[index] = [message.partition(), message.offset()]
            acknowledged += 1
            if every and acknowledged % every == 0:
                request["report_progress"](acknowledged)

        return report

    for index, record in enumerate(records):
        client.produce(request["topic"], on_delivery=delivered(index), **record)
        client.poll(0)
    client.flush(120)
    if failures or None in acks:
        raise RuntimeError(f"{acks.count(None)} records not acknowledged: {failures[:3]}")
    return {"acks": acks}


def consume(request):
    group = request["group"]
    consumer = kept_consumers.pop(group, None) or subscribed(request)
    if request.get("keep"):
        kept_consumers[group] = consumer
    try:
        take(consumer, request)
    finally:
        if not request.get("keep"):
            consumer.close()
    return {}


def take(consumer, request):
    deadline = time.monotonic() + request["timeoutMs"] / 1000
    output = RecordWriter(request["output"])
    while output.count < request["count"]:
        for message in consumer.consume(min(500, request["count"] - output.count), timeout=0.2):
            error = message.error()
            if error is not None:
                if error.fatal() or error.code() == KafkaError._PARTITION_EOF:
                    raise RuntimeError(error)
                continue
            output.write(
                message.topic(),
                message.partition(),
                message.offset(),
                message.timestamp()[1],
                message.key(),
                message.value(),
                message.headers() or [],
            )
        if time.monotonic() > deadline:
            raise RuntimeError(f"only {output.count} of {request['count']} records came in time")
    output.close()
    offsets = [TopicPartition(topic, partition, offset) for (topic, partition), offset in output.next_offsets.items()]
    for committed in consumer.commit(offsets=offsets, asynchronous=False):
        if committed.error is not None:
            raise RuntimeError(committed.error)


def subscribed(request):
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": request["group"],
            "group.protocol": request.get("protocol") or "classic",
            "isolation.level": request.get("isolation") or "read_committed",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe(request["topics"])
    return consumer


def transact(request):
    if request["producer"] not in transactional:
        client = Producer({"bootstrap.servers": bootstrap, "transactional.id": request["transactionalId"]})
        client.init_transactions(30)
        transactional[request["producer"]] = client
    client = transactional[request["producer"]]
    client.begin_transaction()
    failures = []
    for partition, value in request["records"]:
        client.produce(
            request["topic"],
            partition=partition,
            value=value.encode(),
            on_delivery=lambda error, _message: failures.append(error) if error is not None else None,
        )
    client.flush(30)
    if failures:
        raise RuntimeError(failures)
    if "take" in request:
        take_into(client, request["take"], request["end"])
    else:
        end_with(client, request["end"])
    return {}


def take_into(client, take, end):
    """The member is there when the transaction ends, as in a program that goes on."""
    consumer = subscribed({"group": take["group"], "topics": [take["topic"]]})
    try:
        next_offsets = {}
        left = take["count"]
        while left > 0:
            for message in consumer.consume(left, timeout=0.2):
                if message.error() is not None:
                    raise RuntimeError(message.error())
                next_offsets[message.partition()] = message.offset() + 1
                left -= 1
        offsets = [TopicPartition(take["topic"], partition, offset) for partition, offset in next_offsets.items()]
        client.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), 30)
        end_with(client, end)
    finally:
        consumer.close()


def end_with(client, end):
    if end == "commit":
        client.commit_transaction(30)
    elif end == "abort":
        client.abort_transaction(30)


def end_transaction(request):
    end_with(transactional[request["producer"]], request["end"])
    return {}


serve({"hello": hello, "create-topic": create_topic, "produce": produce, "consume": consume, "transact": transact, "end": end_transaction})
