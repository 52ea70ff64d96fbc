"""kafka-python, unmodified."""

import sys
import time

import kafka
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.structs import OffsetAndMetadata
from serve import RecordWriter, read_records, serve

bootstrap = sys.argv[1]
producers = {}
kept_consumers = {}
transactional = {}


def hello(_request):
    return {
        "version": kafka.__version__,
        "compressions": ["none", "gzip", "snappy", "lz4", "zstd"],
        # `send` refuses both by a check of its own.
        "cannot": ["null-header-value", "null-key-and-value"],
    }


def create_topic(request):
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    topic = NewTopic(request["topic"], request["partitions"], 1, topic_configs=request.get("configs") or {})
    admin.create_topics([topic])
    admin.close()
    return {}


def producer(compression):
    if compression not in producers:
        producers[compression] = KafkaProducer(
            bootstrap_servers=bootstrap,
            compression_type=None if compression == "none" else compression,
            acks="all",
            enable_idempotence=True,
            linger_ms=5,
            delivery_timeout_ms=120000,
        )
    return producers[compression]


def produce(request):
    client = producer(request["compression"])
    sent = [
        client.send(
            request["topic"],
            key=record["key"],
            value=record["value"],
            headers=record["headers"],
            timestamp_ms=record["timestamp"],
        )
        for record in read_records(request["file"])
    ]
    client.flush()
    acks = [future.get(60) for future in sent]
    return {"acks": [[ack.partition, ack.offset] for ack in acks]}


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
        # Not shorter: a poll that ends while the group is being joined leaves kafka-python 3.0.12 without its assignment.
        left_ms = max(1, int((deadline - time.monotonic()) * 1000))
        polled = consumer.poll(timeout_ms=left_ms, max_records=request["count"] - output.count)
        for messages in polled.values():
            for message in messages:
                output.write(
                    message.topic,
                    message.partition,
                    message.offset,
                    message.timestamp,
                    message.key,
                    message.value,
                    message.headers,
                )
        if time.monotonic() > deadline:
            raise RuntimeError(f"only {output.count} of {request['count']} records came in time")
    output.close()
    consumer.commit(
        {
            TopicPartition(topic, partition): OffsetAndMetadata(offset, "", -1)
            for (topic, partition), offset in output.next_offsets.items()
        }
    )


def subscribed(request):
    return KafkaConsumer(
        *request["topics"],
        bootstrap_servers=bootstrap,
        group_id=request["group"],
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level=request.get("isolation") or "read_uncommitted",
    )


def transact(request):
    if request["producer"] not in transactional:
        client = KafkaProducer(bootstrap_servers=bootstrap, transactional_id=request["transactionalId"])
        client.init_transactions()
        transactional[request["producer"]] = client
    client = transactional[request["producer"]]
    client.begin_transaction()
    sent = [
        client.send(request["topic"], partition=partition, value=value.encode())
        for partition, value in request["records"]
    ]
    client.flush()
    for future in sent:
        future.get(30)
    if "take" in request:
        take_into(client, request["take"], request["end"])
    else:
        end_with(client, request["end"])
    return {}


def take_into(client, take, end):
    """The member is there when the transaction ends, as in a program that goes on."""
    consumer = subscribed({"group": take["group"], "topics": [take["topic"]], "isolation": "read_committed"})
    try:
        next_offsets = {}
        left = take["count"]
        while left > 0:
            for partition, messages in consumer.poll(timeout_ms=45000, max_records=left).items():
                next_offsets[partition] = OffsetAndMetadata(messages[-1].offset + 1, "", -1)
                left -= len(messages)
        client.send_offsets_to_transaction(next_offsets, consumer.group_metadata())
        end_with(client, end)
    finally:
        consumer.close()


def end_with(client, end):
    if end == "commit":
        client.commit_transaction()
    elif end == "abort":
        client.abort_transaction()


def end_transaction(request):
    end_with(transactional[request["producer"]], request["end"])
    return {}


serve({"hello": hello, "create-topic": create_topic, "produce": produce, "consume": consume, "transact": transact, "end": end_transaction})
