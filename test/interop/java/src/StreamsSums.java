import java.util.Properties;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * Kafka Streams: counts and sums numbers by their last digit, over a repartition topic and a changelog.
 *
 * <p>{@code StreamsSums BOOTSTRAP APPLICATION GUARANTEE STATE_DIRECTORY INPUT OUTPUT} runs until its standard input
 * ends. It tells its states and tasks, a line each. Each number leads to one record {@code COUNT SUM} under its digit.
 */
public final class StreamsSums {
    private StreamsSums() { }

    public static void main(String[] args) throws Exception {
        Properties settings = new Properties();
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, args[1]);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, args[2]);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, args[3]);
        settings.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        settings.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        // Most of the time a transaction is open, and what it has written lies in the broker.
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 500);
        settings.put("producer.linger.ms", 0);
        // Each number leads to a record of its own.
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
        settings.put("main.consumer.session.timeout.ms", 6_000);
        settings.put("main.consumer.heartbeat.interval.ms", 500);
        settings.put("consumer.auto.offset.reset", "earliest");

        KafkaStreams streams = new KafkaStreams(topology(args[4], args[5]).build(), settings);
        streams.setStateListener((now, before) -> System.out.println(now));
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            return StreamThreadExceptionResponse.REPLACE_THREAD;
        });
        streams.start();
        Thread watch = new Thread(() -> tellTasks(streams));
        watch.setDaemon(true);
        watch.start();
        while (System.in.read() >= 0) { }
        streams.close();
    }

    /** The names of the tasks that are active here, a line whenever they change: {@code 0_*} divide up, {@code 1_*} sum. */
    private static void tellTasks(KafkaStreams streams) {
        Set<String> told = Set.of();
        while (streams.state() != KafkaStreams.State.PENDING_SHUTDOWN) {
            Set<String> active = new TreeSet<>();
            streams.metadataForLocalThreads().forEach(thread ->
                thread.activeTasks().forEach(task -> active.add(task.taskId().toString())));
            if (!active.equals(told)) {
                System.out.println("TASKS " + String.join(" ", active));
                told = active;
            }
            LockSupport.parkNanos(50_000_000);
        }
    }

    private static StreamsBuilder topology(String input, String output) {
        StreamsBuilder builder = new StreamsBuilder();
        KStream<String, String> numbers = builder.stream(input, Consumed.with(Serdes.String(), Serdes.String()));
        Materialized<String, String, KeyValueStore<Bytes, byte[]>> sums =
            Materialized.as(Stores.inMemoryKeyValueStore("sums"));
        numbers
            .selectKey((key, number) -> number.substring(number.length() - 1))
            .groupByKey(Grouped.as("by-digit"))
            .aggregate(() -> "0 0", (digit, number, sum) -> added(sum, number), sums)
            .toStream()
            .to(output, Produced.with(Serdes.String(), Serdes.String()));
        return builder;
    }

    private static String added(String sum, String number) {
        String[] parts = sum.split(" ");
        return (Long.parseLong(parts[0]) + 1) + " " + (Long.parseLong(parts[1]) + Long.parseLong(number));
    }
}
