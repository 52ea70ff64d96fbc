import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.FileOutputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Members of a group, each in a thread, which log what happens to them (../../README.md): {@code Member BOOTSTRAP LOG
 * TOPIC GROUP MODE NAME...}. They leave when the standard input ends.
 */
public final class Member implements Runnable, ConsumerRebalanceListener {
    private static final ObjectMapper JSON = new ObjectMapper();

    private final FileOutputStream log;
    private final String name;
    private final KafkaConsumer<byte[], byte[]> consumer;

    private Member(String[] args, String name) throws Exception {
        this.log = new FileOutputStream(args[1], true);
        this.name = name;
        Map<String, Object> settings = new HashMap<>(Map.of(
            "bootstrap.servers", args[0],
            "group.id", args[3],
            "client.id", name,
            "auto.offset.reset", "earliest",
            "enable.auto.commit", false,
            "max.poll.records", 20));
        String mode = args[4];
        settings.put("group.protocol", mode.equals("consumer") ? "consumer" : "classic");
        if (!mode.equals("consumer")) {
            settings.put("session.timeout.ms", 6_000);
            settings.put("heartbeat.interval.ms", 500);
            if (!mode.equals("default")) {
                String assignor = mode.equals("cooperative") ? "CooperativeStickyAssignor" : "RangeAssignor";
                settings.put("partition.assignment.strategy", "org.apache.kafka.clients.consumer." + assignor);
            }
        }
        if (mode.equals("static")) {
            settings.put("group.instance.id", name);
        }
        consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        consumer.subscribe(List.of(args[2]), this);
    }

    public static void main(String[] args) throws Exception {
        List<Member> members = new ArrayList<>();
        List<Thread> threads = new ArrayList<>();
        for (String name : List.of(args).subList(5, args.length)) {
            Member member = new Member(args, name);
            Thread thread = new Thread(member, name);
            thread.start();
            members.add(member);
            threads.add(thread);
        }
        while (System.in.read() >= 0) { }
        for (Member member : members) {
            member.consumer.wakeup();
        }
        for (Thread thread : threads) {
            thread.join();
        }
    }

    @Override
    public void run() {
        try {
            while (true) {
                ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(500));
                Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();
                for (TopicPartition partition : records.partitions()) {
                    List<ConsumerRecord<byte[], byte[]>> list = records.records(partition);
                    long end = list.get(list.size() - 1).offset() + 1;
                    log(event("records").put("partition", partition.partition()).put("from", list.get(0).offset()).put("to", end));
                    next.put(partition, new OffsetAndMetadata(end));
                }
                if (!next.isEmpty()) {
                    commit(next);
                }
            }
        } catch (WakeupException end) {
            consumer.close();
            log(event("closed"));
        } catch (RuntimeException error) {
            error.printStackTrace();
            log(event("failed").put("error", error.toString()));
        }
    }

    private void commit(Map<TopicPartition, OffsetAndMetadata> next) {
        ObjectNode offsets = JSON.createObjectNode();
        next.forEach((partition, offset) -> offsets.put("" + partition.partition(), offset.offset()));
        log(event("committing").set("offsets", offsets));
        try {
            consumer.commitSync(next);
            log(event("committed").set("offsets", offsets));
        } catch (CommitFailedException | RebalanceInProgressException error) {
            log(event("uncommitted"));
        }
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        log(event("assigned").set("partitions", numbers(partitions)));
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        log(event("revoked").set("partitions", numbers(partitions)));
    }

    @Override
    public void onPartitionsLost(Collection<TopicPartition> partitions) {
        log(event("lost").set("partitions", numbers(partitions)));
    }

    private static ArrayNode numbers(Collection<TopicPartition> partitions) {
        Set<Integer> sorted = new TreeSet<>();
        partitions.forEach(partition -> sorted.add(partition.partition()));
        ArrayNode list = JSON.createArrayNode();
        sorted.forEach(list::add);
        return list;
    }

    private ObjectNode event(String event) {
        return JSON.createObjectNode().put("member", name).put("event", event);
    }

    /** One write to a file that is open for appending: lines of all members stand in the order in which they came. */
    private void log(Object line) {
        try {
            log.write((line + "\n").getBytes(StandardCharsets.UTF_8));
        } catch (java.io.IOException error) {
            throw new java.io.UncheckedIOException(error);
        }
    }
}
