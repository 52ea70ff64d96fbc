import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * Kafka Streams, exactly once: keeps how many of each item are there, and orders it when too few are left.
 *
 * <p>{@code Inventory BOOTSTRAP STATE_DIRECTORY THRESHOLD} runs until its standard input ends, and tells its states. Each movement of an item
 * (how many come or go) leads to one record {@code MOVEMENT TOTAL} in {@code totals}, and to one in {@code purchases} when the total falls
 * below the threshold.
 */
public final class Inventory {
    private Inventory() { }

    public static void main(String[] args) throws Exception {
        Properties settings = new Properties();
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, "inventory");
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, args[1]);
        settings.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        settings.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 300);
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0);
        settings.put("producer.linger.ms", 0);
        settings.put("main.consumer.session.timeout.ms", 6_000);
        settings.put("main.consumer.heartbeat.interval.ms", 500);
        settings.put("consumer.auto.offset.reset", "earliest");
        KafkaStreams streams = new KafkaStreams(topology(Long.parseLong(args[2])).build(), settings);
        streams.setStateListener((now, before) -> System.out.println(now));
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            return StreamThreadExceptionResponse.REPLACE_THREAD;
        });
        streams.start();
        while (System.in.read() >= 0) { }
        streams.close();
    }

    private static StreamsBuilder topology(long threshold) {
        StreamsBuilder builder = new StreamsBuilder();
        Materialized<String, String, KeyValueStore<Bytes, byte[]>> store =
            Materialized.as(Stores.inMemoryKeyValueStore("items"));
        // Of an item: how many movements there were, how many of it are there, and how many were before.
        KStream<String, String> totals = builder.<String, String>stream("movements")
            .groupByKey()
            .aggregate(() -> "0 0 0", (item, movement, state) -> moved(state, Long.parseLong(movement)), store)
            .toStream();
        totals.mapValues(Inventory::withoutBefore).to("totals");
        totals.filter((item, state) -> falls(state, threshold)).mapValues(Inventory::withoutBefore).to("purchases");
        return builder;
    }

    private static String moved(String state, long by) {
        String[] parts = state.split(" ");
        long total = Long.parseLong(parts[1]);
        return (Long.parseLong(parts[0]) + 1) + " " + (total + by) + " " + total;
    }

    private static boolean falls(String state, long threshold) {
        String[] parts = state.split(" ");
        return Long.parseLong(parts[1]) < threshold && Long.parseLong(parts[2]) >= threshold;
    }

    private static String withoutBefore(String state) {
        return state.substring(0, state.lastIndexOf(' '));
    }
}
