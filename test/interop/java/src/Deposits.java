import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Takes deposits ({@code ACCOUNT: ID AMOUNT}) and gives each to {@code validated-deposits}, with the new balance to
 * {@code account-balances}: both and the offset in one transaction.
 *
 * <p>{@code Deposits BOOTSTRAP HOLD_MS TRANSACTION_TIMEOUT_MS} runs until its standard input ends. It tells where it is, a line each: OPEN, when all is
 * sent, so many milliseconds before COMMITTING, then COMMITTED. FENCED is its end: another process has taken its place.
 */
public final class Deposits {
    private static final String INPUT = "deposits";
    private static final String BALANCES = "account-balances";

    private final Properties settings = new Properties();
    private final KafkaConsumer<String, String> consumer;
    private final KafkaProducer<String, String> producer;
    private final Map<String, Long> balances = new HashMap<>();
    private final long holdMs;

    private Deposits(String bootstrap, long holdMs, int timeoutMs) {
        this.holdMs = holdMs;
        settings.put("bootstrap.servers", bootstrap);
        Properties reading = new Properties();
        reading.putAll(settings);
        reading.put(ConsumerConfig.GROUP_ID_CONFIG, "deposits-app");
        // Whoever starts takes the place of the one before at once.
        reading.put(ConsumerConfig.GROUP_INSTANCE_ID_CONFIG, "processor");
        reading.put(ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false);
        reading.put(ConsumerConfig.ISOLATION_LEVEL_CONFIG, "read_committed");
        reading.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        reading.put(ConsumerConfig.MAX_POLL_RECORDS_CONFIG, 25);
        consumer = new KafkaConsumer<>(reading, new StringDeserializer(), new StringDeserializer());
        Properties writing = new Properties();
        writing.putAll(settings);
        writing.put(ProducerConfig.TRANSACTIONAL_ID_CONFIG, "deposits-processor");
        writing.put(ProducerConfig.TRANSACTION_TIMEOUT_CONFIG, timeoutMs);
        producer = new KafkaProducer<>(writing, new StringSerializer(), new StringSerializer());
    }

    public static void main(String[] args) {
        Thread watch = new Thread(() -> {
            try {
                while (System.in.read() >= 0) { }
            } catch (java.io.IOException error) {
                error.printStackTrace();
            }
            // Whatever is open is aborted: the next process sees to that.
            Runtime.getRuntime().halt(0);
        });
        watch.setDaemon(true);
        watch.start();
        try {
            new Deposits(args[0], Long.parseLong(args[1]), Integer.parseInt(args[2])).run();
        } catch (ProducerFencedException | InvalidProducerEpochException error) {
            System.out.println("FENCED " + error.getClass().getSimpleName());
            System.out.flush();
            Runtime.getRuntime().halt(0);
        }
    }

    private void run() {
        // First: what the one before has open is over then, and its balances are those that count.
        producer.initTransactions();
        consumer.subscribe(List.of(INPUT), new ConsumerRebalanceListener() {
            @Override
            public void onPartitionsRevoked(Collection<TopicPartition> partitions) { }

            @Override
            public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                readBalances();
            }
        });
        while (true) {
            ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(100));
            if (!records.isEmpty()) process(records);
        }
    }

    private void process(ConsumerRecords<String, String> records) {
        producer.beginTransaction();
        try {
            Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
            for (ConsumerRecord<String, String> deposit : records) {
                long balance = balances.merge(deposit.key(), Long.parseLong(deposit.value().split(" ")[1]), Long::sum);
                producer.send(new ProducerRecord<>("validated-deposits", deposit.key(), deposit.value()));
                producer.send(new ProducerRecord<>(BALANCES, deposit.key(), Long.toString(balance)));
                offsets.put(new TopicPartition(deposit.topic(), deposit.partition()),
                    new OffsetAndMetadata(deposit.offset() + 1));
            }
            producer.flush();
            producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
            System.out.println("OPEN");
            LockSupport.parkNanos(holdMs * 1_000_000);
            System.out.println("COMMITTING");
            commit();
            System.out.println("COMMITTED");
        } catch (ProducerFencedException error) {
            throw error;
        } catch (KafkaException error) {
            System.err.println("aborts: " + error);
            producer.abortTransaction();
            goBack();
        }
    }

    /** After a timeout nobody knows whether it is committed: to ask again is harmless. */
    private void commit() {
        while (true) {
            try {
                producer.commitTransaction();
                return;
            } catch (TimeoutException error) {
                System.err.println("asks again: " + error);
            }
        }
    }

    private void goBack() {
        Map<TopicPartition, OffsetAndMetadata> committed = consumer.committed(consumer.assignment());
        for (TopicPartition partition : consumer.assignment()) {
            OffsetAndMetadata offset = committed.get(partition);
            if (offset == null) consumer.seekToBeginning(List.of(partition));
            else consumer.seek(partition, offset);
        }
        readBalances();
    }

    private void readBalances() {
        balances.clear();
        Properties reading = new Properties();
        reading.putAll(settings);
        reading.put(ConsumerConfig.ISOLATION_LEVEL_CONFIG, "read_committed");
        try (KafkaConsumer<String, String> reader =
                 new KafkaConsumer<>(reading, new StringDeserializer(), new StringDeserializer())) {
            List<TopicPartition> partitions = reader.partitionsFor(BALANCES).stream()
                .map((PartitionInfo info) -> new TopicPartition(info.topic(), info.partition())).toList();
            reader.assign(partitions);
            reader.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = reader.endOffsets(partitions);
            while (partitions.stream().anyMatch(partition -> reader.position(partition) < ends.get(partition))) {
                for (ConsumerRecord<String, String> balance : reader.poll(Duration.ofMillis(100)))
                    balances.put(balance.key(), Long.parseLong(balance.value()));
            }
        }
    }
}
