import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** The commands {@code transact} and {@code end} of the Java program. */
final class Transactions {
    private final String bootstrap;
    private final Map<String, Producer<byte[], byte[]>> producers = new HashMap<>();

    Transactions(String bootstrap) {
        this.bootstrap = bootstrap;
    }

    ObjectNode transact(JsonNode command) throws Exception {
        String name = command.get("producer").asText();
        Producer<byte[], byte[]> producer = producers.get(name);
        if (producer == null) {
            producer = new KafkaProducer<>(
                Map.of("bootstrap.servers", bootstrap, "transactional.id", command.get("transactionalId").asText()),
                new ByteArraySerializer(),
                new ByteArraySerializer());
            producers.put(name, producer);
            producer.initTransactions();
        }
        producer.beginTransaction();
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (JsonNode record : command.get("records")) {
            byte[] value = record.get(1).asText().getBytes(StandardCharsets.UTF_8);
            sent.add(producer.send(new ProducerRecord<>(command.get("topic").asText(), record.get(0).asInt(), null, value)));
        }
        producer.flush();
        for (Future<RecordMetadata> ack : sent) {
            ack.get();
        }
        if (command.has("take")) {
            take(producer, command.get("take"), command.get("end").asText());
        } else {
            end(producer, command.get("end").asText());
        }
        return new ObjectMapper().createObjectNode();
    }

    /** The member is there when the transaction ends, as in a program that goes on. */
    private void take(Producer<byte[], byte[]> producer, JsonNode command, String end) {
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(
                Map.of(
                    "bootstrap.servers", bootstrap,
                    "group.id", command.get("group").asText(),
                    "isolation.level", "read_committed",
                    "auto.offset.reset", "earliest",
                    "enable.auto.commit", false),
                new ByteArrayDeserializer(),
                new ByteArrayDeserializer())) {
            consumer.subscribe(List.of(command.get("topic").asText()));
            Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();
            for (int left = command.get("count").asInt(); left > 0; ) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    if (left-- > 0) {
                        TopicPartition partition = new TopicPartition(record.topic(), record.partition());
                        next.put(partition, new OffsetAndMetadata(record.offset() + 1));
                    }
                }
            }
            producer.sendOffsetsToTransaction(next, consumer.groupMetadata());
            end(producer, end);
        }
    }

    ObjectNode end(JsonNode command) {
        end(producers.get(command.get("producer").asText()), command.get("end").asText());
        return new ObjectMapper().createObjectNode();
    }

    private static void end(Producer<byte[], byte[]> producer, String end) {
        switch (end) {
            case "commit" -> producer.commitTransaction();
            case "abort" -> producer.abortTransaction();
            default -> { }
        }
    }

    void close() {
        // Not longer: one of them may have left its transaction open, or be fenced.
        producers.values().forEach(producer -> producer.close(Duration.ofSeconds(2)));
    }
}
