"""Members of a group: librdkafka through confluent-kafka."""

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from members import run_members


def run(bootstrap, log, topic, group, mode, name, ended):
    settings = {
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "client.id": name,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "group.protocol": "consumer" if mode == "consumer" else "classic",
    }
    if mode != "consumer":
        settings["session.timeout.ms"] = 6000
        settings["heartbeat.interval.ms"] = 500
        settings["partition.assignment.strategy"] = "cooperative-sticky" if mode == "cooperative" else "range"
    if mode == "static":
        settings["group.instance.id"] = name
    consumer = Consumer(settings)

    def tell(event):
        return lambda _consumer, partitions: log(event, partitions=sorted(p.partition for p in partitions))

    consumer.subscribe([topic], on_assign=tell("assigned"), on_revoke=tell("revoked"), on_lost=tell("lost"))
    while not ended.is_set():
        offsets = {}
        for message in consumer.consume(20, timeout=0.2):
            if message.error() is not None:
                # What a broker that has gone for a moment leads to.
                if message.error().fatal():
                    raise KafkaException(message.error())
                continue
            first, _ = offsets.get(message.partition(), (message.offset(), None))
            offsets[message.partition()] = (first, message.offset() + 1)
        if not offsets:
            continue
        for partition, (start, end) in offsets.items():
            log("records", partition=partition, **{"from": start, "to": end})
        ends = {str(partition): end for partition, (_, end) in offsets.items()}
        log("committing", offsets=ends)
        try:
            consumer.commit(
                offsets=[TopicPartition(topic, partition, end) for partition, (_, end) in offsets.items()],
                asynchronous=False,
            )
            log("committed", offsets=ends)
        except KafkaException as error:
            if error.args[0].code() not in lost_ownership:
                raise
            log("uncommitted")
    consumer.close()


lost_ownership = {
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.STALE_MEMBER_EPOCH,
    KafkaError._ASSIGNMENT_LOST,
}

run_members(run)
