import java.nio.ByteBuffer;
import java.util.HexFormat;
import java.util.List;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.BrokerHeartbeatRequestData;
import org.apache.kafka.common.message.FetchRequestData;
import org.apache.kafka.common.message.FetchRequestData.FetchPartition;
import org.apache.kafka.common.message.FetchRequestData.FetchTopic;
import org.apache.kafka.common.message.FetchRequestData.ForgottenTopic;
import org.apache.kafka.common.message.FetchRequestData.ReplicaState;
import org.apache.kafka.common.message.FetchSnapshotRequestData;
import org.apache.kafka.common.message.FetchSnapshotRequestData.PartitionSnapshot;
import org.apache.kafka.common.message.FetchSnapshotRequestData.SnapshotId;
import org.apache.kafka.common.message.FetchSnapshotRequestData.TopicSnapshot;
import org.apache.kafka.common.requests.AbstractRequest;
import org.apache.kafka.common.requests.BrokerHeartbeatRequest;
import org.apache.kafka.common.requests.FetchRequest;
import org.apache.kafka.common.requests.FetchSnapshotRequest;
import org.apache.kafka.common.requests.RequestHeader;

/**
 * Requests that no client at hand sends, written by the classes with which Kafka itself sends them: header and body in
 * hexadecimal, a line each, with something in every field that the version has. For ../../capture.ts.
 */
public final class Encodings {
    private static final Uuid FIRST_ID = Uuid.fromString("AAECAwQFBgcICQoLDA0ODw");
    private static final Uuid SECOND_ID = Uuid.fromString("EBESExQVFhcYGRobHB0eHw");

    public static void main(String[] args) {
        print(new FetchRequest.SimpleBuilder(fetch()), 14);
        print(new FetchSnapshotRequest.Builder(fetchSnapshot()), 0);
        print(new BrokerHeartbeatRequest.Builder(brokerHeartbeat()), 0);
        print(new BrokerHeartbeatRequest.Builder(brokerHeartbeat().setOfflineLogDirs(List.of(FIRST_ID, SECOND_ID))), 1);
    }

    private static FetchRequestData fetch() {
        FetchPartition first = new FetchPartition().setPartition(1).setCurrentLeaderEpoch(2).setFetchOffset(3)
            .setLastFetchedEpoch(4).setLogStartOffset(5).setPartitionMaxBytes(6);
        FetchPartition second = first.duplicate().setPartition(7).setFetchOffset(1L << 40);
        return new FetchRequestData().setClusterId("cluster").setMaxWaitMs(9).setMinBytes(10)
            .setReplicaState(new ReplicaState().setReplicaId(8)) // The builder moves it to where the version has it.
            .setMaxBytes(11).setIsolationLevel((byte) 1).setSessionId(12).setSessionEpoch(13).setRackId("rack")
            .setTopics(List.of(
                new FetchTopic().setTopicId(FIRST_ID).setPartitions(List.of(first, second)),
                new FetchTopic().setTopicId(SECOND_ID).setPartitions(List.of(second.duplicate()))))
            .setForgottenTopicsData(List.of(
                new ForgottenTopic().setTopicId(SECOND_ID).setPartitions(List.of(14, 15))));
    }

    private static FetchSnapshotRequestData fetchSnapshot() {
        PartitionSnapshot first = new PartitionSnapshot().setPartition(1).setCurrentLeaderEpoch(2)
            .setSnapshotId(new SnapshotId().setEndOffset(3).setEpoch(4)).setPosition(5);
        PartitionSnapshot second = first.duplicate().setPartition(6).setPosition(1L << 40);
        return new FetchSnapshotRequestData().setClusterId("cluster").setReplicaId(7).setMaxBytes(8)
            .setTopics(List.of(
                new TopicSnapshot().setName("first").setPartitions(List.of(first, second)),
                new TopicSnapshot().setName("second").setPartitions(List.of(second.duplicate()))));
    }

    private static BrokerHeartbeatRequestData brokerHeartbeat() {
        return new BrokerHeartbeatRequestData().setBrokerId(1).setBrokerEpoch(1L << 40).setCurrentMetadataOffset(2)
            .setWantFence(true).setWantShutDown(true);
    }

    private static void print(AbstractRequest.Builder<?> builder, int version) {
        AbstractRequest request = builder.build((short) version);
        RequestHeader header = new RequestHeader(request.apiKey(), request.version(), "kafka-clients", 7);
        ByteBuffer bytes = request.serializeWithHeader(header);
        System.out.println(HexFormat.of().formatHex(bytes.array(), bytes.position(), bytes.limit()));
    }
}
