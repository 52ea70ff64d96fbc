"""Members of a group: kafka-python."""

from kafka import ConsumerRebalanceListener, KafkaConsumer
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import CommitFailedError, RebalanceInProgressError
from kafka.structs import OffsetAndMetadata
from members import run_members


class Listener(ConsumerRebalanceListener):
    def __init__(self, log):
        self._log = log

    def on_partitions_assigned(self, assigned):
        self._log("assigned", partitions=sorted(p.partition for p in assigned))

    def on_partitions_revoked(self, revoked):
        self._log("revoked", partitions=sorted(p.partition for p in revoked))

    def on_partitions_lost(self, lost):
        self._log("lost", partitions=sorted(p.partition for p in lost))


def run(bootstrap, log, topic, group, mode, name, ended):
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=group,
        client_id=name,
        group_instance_id=name if mode == "static" else None,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=6000,
        heartbeat_interval_ms=500,
        partition_assignment_strategy=[CooperativeStickyAssignor if mode == "cooperative" else RangePartitionAssignor],
    )
    consumer.subscribe([topic], listener=Listener(log))
    while not ended.is_set():
        polled = consumer.poll(timeout_ms=500, max_records=20)
        if not polled:
            continue
        ends = {partition: messages[-1].offset + 1 for partition, messages in polled.items()}
        for partition, messages in polled.items():
            log("records", partition=partition.partition, **{"from": messages[0].offset, "to": ends[partition]})
        told = {str(partition.partition): end for partition, end in ends.items()}
        log("committing", offsets=told)
        try:
            consumer.commit({partition: OffsetAndMetadata(end, "", -1) for partition, end in ends.items()})
            log("committed", offsets=told)
        except (CommitFailedError, RebalanceInProgressError):
            log("uncommitted")
    consumer.close()


run_members(run)
