"""Sums numbers by key, as a user of confluent-kafka would write it: what kafka_python_key_sums.py does, on librdkafka.

    librdkafka_key_sums.py BOOTSTRAP COUNT     ends after COUNT numbers
"""

import json
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition


def failed(error):
    raise RuntimeError(error)


def restored_state(bootstrap):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False})
    state = {}
    for number in consumer.list_topics("key_sums_state", timeout=10).topics["key_sums_state"].partitions:
        low, high = consumer.get_watermark_offsets(TopicPartition("key_sums_state", number), timeout=10)
        consumer.assign([TopicPartition("key_sums_state", number, OFFSET_BEGINNING)])
        offset = low
        while offset < high:
            message = consumer.poll(10) or failed(f"nothing at {offset} of key_sums_state-{number}, which ends at {high}")
            if message.error():
                failed(message.error())
            state[message.key().decode()] = json.loads(message.value())
            offset = message.offset() + 1
    consumer.close()
    return state


def main(bootstrap, count):
    state = restored_state(bootstrap)
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "partitioner": "murmur2_random"})
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "key-sums",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe(["input_topic"])

    def send(topic, key, value):
        def delivered(error, _message):
            if error is not None:
                failed(error)

        producer.produce(topic, key=key, value=json.dumps(value), on_delivery=delivered)

    processed = 0
    while processed < count:
        messages = consumer.consume(min(100, count - processed), timeout=1)
        for message in messages:
            if message.error():
                failed(message.error())
            processed += 1
            key = message.key().decode()
            known = state.get(key, {"sum": 0, "next": 0})
            if message.offset() < known["next"]:
                continue
            known = {"sum": known["sum"] + json.loads(message.value()), "next": message.offset() + 1}
            state[key] = known
            send("key_sums_state", key, known)
            if known["sum"] > 1000:
                send("key_sums", key, {"key": key, "total_sum": known["sum"]})
        producer.flush()
        if messages:
            consumer.commit(asynchronous=False)
    consumer.close()


main(sys.argv[1], int(sys.argv[2]))
