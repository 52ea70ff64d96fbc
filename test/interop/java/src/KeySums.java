import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
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
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Sums numbers by key, as a user of the Java clients would write it: what kafka_python_key_sums.py does.
 *
 * <p>{@code KeySums BOOTSTRAP COUNT} ends after COUNT numbers.
 */
public final class KeySums {
    private static final ObjectMapper JSON = new ObjectMapper();

    /** Of one key, with the offset behind the last number in it: a number that is read again is not added again. */
    private record Sum(long sum, long next) { }

    private KeySums() { }

    public static void main(String[] args) throws Exception {
        String bootstrap = args[0];
        int count = Integer.parseInt(args[1]);
        Map<String, Sum> state = restoredState(bootstrap);
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(
                Map.of("bootstrap.servers", bootstrap), new StringSerializer(), new StringSerializer());
            KafkaConsumer<String, String> consumer = consumer(Map.of(
                "bootstrap.servers", bootstrap,
                "group.id", "key-sums",
                "auto.offset.reset", "earliest",
                "enable.auto.commit", false))) {
            consumer.subscribe(List.of("input_topic"));
            int processed = 0;
            while (processed < count) {
                List<Future<RecordMetadata>> sent = new ArrayList<>();
                Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
                for (ConsumerRecord<String, String> number : consumer.poll(Duration.ofSeconds(1))) {
                    if (processed == count) {
                        break;
                    }
                    processed++;
                    TopicPartition partition = new TopicPartition(number.topic(), number.partition());
                    offsets.put(partition, new OffsetAndMetadata(number.offset() + 1));
                    String key = number.key();
                    Sum known = state.getOrDefault(key, new Sum(0, 0));
                    if (number.offset() < known.next()) {
                        continue;
                    }
                    Sum sum = new Sum(known.sum() + Long.parseLong(number.value()), number.offset() + 1);
                    state.put(key, sum);
                    String kept = JSON.createObjectNode().put("sum", sum.sum()).put("next", sum.next()).toString();
                    sent.add(producer.send(new ProducerRecord<>("key_sums_state", key, kept)));
                    if (sum.sum() > 1000) {
                        String told = JSON.createObjectNode().put("key", key).put("total_sum", sum.sum()).toString();
                        sent.add(producer.send(new ProducerRecord<>("key_sums", key, told)));
                    }
                }
                producer.flush();
                for (Future<RecordMetadata> answer : sent) {
                    answer.get();
                }
                consumer.commitSync(offsets);
            }
        }
    }

    private static Map<String, Sum> restoredState(String bootstrap) throws Exception {
        Map<String, Sum> state = new HashMap<>();
        try (KafkaConsumer<String, String> consumer = consumer(Map.of("bootstrap.servers", bootstrap))) {
            List<TopicPartition> partitions = consumer.partitionsFor("key_sums_state").stream()
                .map(info -> new TopicPartition(info.topic(), info.partition()))
                .toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            while (partitions.stream().anyMatch(partition -> consumer.position(partition) < ends.get(partition))) {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofSeconds(1))) {
                    JsonNode kept = JSON.readTree(record.value());
                    state.put(record.key(), new Sum(kept.get("sum").asLong(), kept.get("next").asLong()));
                }
            }
        }
        return state;
    }

    private static KafkaConsumer<String, String> consumer(Map<String, Object> configs) {
        return new KafkaConsumer<>(configs, new StringDeserializer(), new StringDeserializer());
    }
}
