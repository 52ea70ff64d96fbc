"""Sums numbers by key, as a user of kafka-python would write it.

Reads JSON numbers from `input_topic`; whenever a key's sum is above 1,000, sends the key and its sum to `key_sums`.
The sums live in the compacted topic `key_sums_state`, so that a restarted program goes on with them, and each comes
with the offset behind the last number in it, so that a number which is read again is not added again.

    kafka_python_key_sums.py BOOTSTRAP COUNT     ends after COUNT numbers
"""

import json
import sys

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

GROUP = "key-sums"
# A poll ends as soon as records are there. It must not end while the group is being joined: kafka-python 3.0.12 then never
# takes up the assignment that comes after it (it waits for its own join no more, and believes to be a member).
POLL_MS = 45_000


def restored_state(bootstrap):
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False, consumer_timeout_ms=10000
    )
    partitions = [TopicPartition("key_sums_state", number) for number in consumer.partitions_for_topic("key_sums_state")]
    consumer.assign(partitions)
    ends = consumer.end_offsets(partitions)
    state = {}
    while any(consumer.position(partition) < ends[partition] for partition in partitions):
        for messages in consumer.poll(timeout_ms=200).values():
            for message in messages:
                state[message.key.decode()] = json.loads(message.value)
    consumer.close()
    return state


def main(bootstrap, count):
    state = restored_state(bootstrap)
    producer = KafkaProducer(
        bootstrap_servers=bootstrap,
        key_serializer=str.encode,
        value_serializer=lambda value: json.dumps(value).encode(),
    )
    consumer = KafkaConsumer(
        "input_topic",
        bootstrap_servers=bootstrap,
        group_id=GROUP,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        key_deserializer=lambda data: data.decode(),
        value_deserializer=json.loads,
    )
    processed = 0
    while processed < count:
        for messages in consumer.poll(timeout_ms=POLL_MS, max_records=min(100, count - processed)).values():
            for message in messages:
                processed += 1
                known = state.get(message.key, {"sum": 0, "next": 0})
                if message.offset < known["next"]:
                    continue
                known = {"sum": known["sum"] + message.value, "next": message.offset + 1}
                state[message.key] = known
                producer.send("key_sums_state", key=message.key, value=known)
                if known["sum"] > 1000:
                    producer.send("key_sums", key=message.key, value={"key": message.key, "total_sum": known["sum"]})
        producer.flush()
        consumer.commit()
    consumer.close()
    producer.close()


main(sys.argv[1], int(sys.argv[2]))
