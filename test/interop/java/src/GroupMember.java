import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * One member of a group as a process of its own, so that it can be killed: it polls, writes down what it read and commits
 * it, until it is told to leave. The commands are Interop's, a line each.
 */
public final class GroupMember {
    private static final ObjectMapper JSON = new ObjectMapper();

    private final String bootstrap;
    private final TreeSet<String> assigned = new TreeSet<>();
    private final Map<String, Integer> rebalances = new ConcurrentHashMap<>();
    private volatile boolean isLeaving;
    private volatile String failure;
    private Thread poller;

    private GroupMember(String bootstrap) {
        this.bootstrap = bootstrap;
    }

    public static void main(String[] args) throws Exception {
        PrintStream answers = System.out;
        // A library that prints must not break the answers.
        System.setOut(System.err);
        GroupMember member = new GroupMember(args[0]);
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            JsonNode command = JSON.readTree(line);
            ObjectNode answer = JSON.createObjectNode().put("id", command.get("id").asInt());
            try {
                answer.set("ok", member.run(command));
            } catch (Exception error) {
                error.printStackTrace();
                answer.put("error", error.toString());
            }
            answers.println(answer);
            answers.flush();
        }
        member.leave();
    }

    private ObjectNode run(JsonNode command) throws Exception {
        return switch (command.get("command").asText()) {
            case "join" -> join(command);
            case "state" -> state();
            case "leave" -> leave();
            case "describe" -> describe(command.get("group").asText());
            default -> throw new IllegalArgumentException("unknown command " + command);
        };
    }

    private ObjectNode join(JsonNode command) throws Exception {
        Map<String, Object> settings = new HashMap<>(Map.of(
            "bootstrap.servers", bootstrap,
            "auto.offset.reset", "earliest",
            "metadata.max.age.ms", 1_000,
            "enable.auto.commit", false));
        command.get("settings").fields().forEachRemaining(entry -> settings.put(entry.getKey(), entry.getValue().asText()));
        KafkaConsumer<byte[], byte[]> consumer =
            new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        ConsumerRebalanceListener listener = new ConsumerRebalanceListener() {
            @Override
            public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                synchronized (assigned) {
                    partitions.forEach(partition -> assigned.add(partition.toString()));
                }
                rebalances.merge("assigned", 1, Integer::sum);
            }

            @Override
            public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                synchronized (assigned) {
                    partitions.forEach(partition -> assigned.remove(partition.toString()));
                }
            }

            @Override
            public void onPartitionsLost(Collection<TopicPartition> partitions) {
                rebalances.merge("lost", 1, Integer::sum);
                onPartitionsRevoked(partitions);
            }
        };
        if (command.has("pattern")) {
            consumer.subscribe(new SubscriptionPattern(command.get("pattern").asText()), listener);
        } else {
            consumer.subscribe(List.of(command.get("topic").asText()), listener);
        }
        Path output = Path.of(command.get("output").asText());
        poller = new Thread(() -> poll(consumer, output));
        poller.start();
        return JSON.createObjectNode();
    }

    /** What is written down is committed before anything else is read. */
    private void poll(KafkaConsumer<byte[], byte[]> consumer, Path output) {
        try (consumer; BufferedWriter lines = Files.newBufferedWriter(output, StandardOpenOption.CREATE, StandardOpenOption.APPEND)) {
            while (!isLeaving) {
                int count = 0;
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(100))) {
                    lines.write(record.topic() + "-" + record.partition() + " " + record.offset());
                    lines.newLine();
                    count++;
                }
                lines.flush();
                if (count > 0) {
                    consumer.commitSync();
                }
            }
        } catch (Exception error) {
            error.printStackTrace();
            failure = error.toString();
        }
    }

    private ObjectNode state() {
        ObjectNode answer = JSON.createObjectNode().put("failure", failure);
        ArrayNode partitions = answer.putArray("assigned");
        synchronized (assigned) {
            assigned.forEach(partitions::add);
        }
        return answer.put("lost", rebalances.getOrDefault("lost", 0)).put("rebalances", rebalances.getOrDefault("assigned", 0));
    }

    private ObjectNode leave() throws Exception {
        isLeaving = true;
        if (poller != null) {
            poller.join();
        }
        return JSON.createObjectNode().put("failure", failure);
    }

    private ObjectNode describe(String group) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            ConsumerGroupDescription description = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
            ObjectNode answer = JSON.createObjectNode()
                .put("type", description.type().toString())
                .put("state", description.groupState().toString())
                .put("assignor", description.partitionAssignor());
            ArrayNode members = answer.putArray("members");
            description.members().forEach(member -> {
                ArrayNode partitions = members.addObject()
                    .put("clientId", member.clientId())
                    .put("instanceId", member.groupInstanceId().orElse(null))
                    .put("isUpgraded", member.upgraded().orElse(null))
                    .putArray("partitions");
                new TreeSet<>(member.assignment().topicPartitions().stream().map(TopicPartition::toString).toList()).forEach(partitions::add);
            });
            return answer;
        }
    }
}
