import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.Callback;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InterruptException;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Clients that note what they do, for the checker of histories (../../histories/README.md says what a line holds). One
 * process holds several, each in a thread. It ends when its input does, when it has noted its share, or by SIGKILL.
 */
public final class HistoryClients {
    private static final Duration CLOSE = Duration.ofSeconds(2);
    private static final Duration POLL = Duration.ofMillis(100);
    /** After a client was fenced, or has failed for good: the other may work for a while. */
    private static final long REBIRTH_MS = 700;

    private final String bootstrap;
    private final JsonNode config;
    private final FileOutputStream log;
    private final Map<String, Integer> topics = new TreeMap<>();
    private long linesLeft;
    private volatile boolean stopping;

    private HistoryClients(String bootstrap, JsonNode config) throws IOException {
        this.bootstrap = bootstrap;
        this.config = config;
        this.log = new FileOutputStream(config.get("log").asText());
        this.linesLeft = config.get("linesMax").asLong();
        config.get("topics").fields().forEachRemaining(entry -> topics.put(entry.getKey(), entry.getValue().asInt()));
    }

    public static void main(String[] args) throws Exception {
        HistoryClients program = new HistoryClients(args[0], new ObjectMapper().readTree(args[1]));
        List<Thread> threads = new ArrayList<>();
        int seed = program.config.get("seed").asInt();
        for (JsonNode client : program.config.get("clients")) {
            Life life = program.new Life(client, new Random(seed * 31L + threads.size()));
            threads.add(new Thread(life, life.name));
        }
        threads.forEach(Thread::start);
        Thread input = new Thread(program::readInput, "input");
        input.setDaemon(true);
        input.start();
        for (Thread thread : threads) {
            thread.join();
        }
        program.log.close();
        Runtime.getRuntime().halt(0);
    }

    private void readInput() {
        try (BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
            while (lines.readLine() != null) { }
        } catch (IOException gone) {
            // As good as an end.
        }
        stopping = true;
    }

    /** The time is taken under the lock, so that the lines of a log are in the order of time. */
    private synchronized void write(String client, String rest) {
        if (--linesLeft == 0) {
            stopping = true;
        }
        String line = "{\"client\":\"" + client + "\",\"atUs\":" + System.nanoTime() / 1000 + "," + rest + "}\n";
        try {
            log.write(line.getBytes(StandardCharsets.UTF_8));
        } catch (IOException error) {
            // Nobody can check what is not noted.
            Runtime.getRuntime().halt(3);
        }
    }

    private Map<String, Object> connection(String clientId) {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("client.id", clientId);
        settings.put("request.timeout.ms", 3_000);
        settings.put("reconnect.backoff.ms", 50);
        settings.put("reconnect.backoff.max.ms", 300);
        settings.put("retry.backoff.ms", 50);
        settings.put("retry.backoff.max.ms", 300);
        return settings;
    }

    private Producer<String, String> producer(String clientId, String transactionalId) {
        Map<String, Object> settings = connection(clientId);
        settings.put("acks", "all");
        settings.put("enable.idempotence", true);
        settings.put("linger.ms", 2);
        settings.put("delivery.timeout.ms", 15_000);
        settings.put("max.block.ms", 8_000);
        if (transactionalId != null) {
            settings.put("transactional.id", transactionalId);
            settings.put("transaction.timeout.ms", 12_000);
        }
        return new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
    }

    private Consumer<String, String> consumer(String clientId, String isolation, String group, String protocol) {
        Map<String, Object> settings = connection(clientId);
        settings.put("isolation.level", isolation);
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", false);
        settings.put("max.poll.records", 20);
        settings.put("fetch.max.wait.ms", 100);
        settings.put("default.api.timeout.ms", 8_000);
        if (group != null) {
            settings.put("group.id", group);
            settings.put("group.protocol", protocol);
            // In a group of KIP-848 the broker says how long a member may be silent.
            if (protocol.equals("classic")) {
                settings.put("session.timeout.ms", config.get("sessionTimeoutMs").asInt());
                settings.put("heartbeat.interval.ms", config.get("sessionTimeoutMs").asInt() / 5);
            }
        }
        return new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    }

    private List<TopicPartition> partitionsOf(List<String> names) {
        List<TopicPartition> partitions = new ArrayList<>();
        for (String topic : names) {
            for (int partition = 0; partition < topics.get(topic); partition++) {
                partitions.add(new TopicPartition(topic, partition));
            }
        }
        return partitions;
    }

    /** A call that may have had its effect or not. */
    private static final class Unanswered extends Exception {
        Unanswered(Throwable cause) {
            super(cause);
        }
    }

    private interface Action {
        void run() throws Exception;
    }

    /** One client after the other under one role: what fails for good is followed by a new one with a new name. */
    private final class Life implements Runnable {
        private final JsonNode role;
        private final Random random;
        private String name;
        private int births;
        private int calls;
        private int values;
        private int transactions;

        Life(JsonNode role, Random random) {
            this.role = role;
            this.random = random;
            this.name = role.get("name").asText();
        }

        @Override
        public void run() {
            while (!stopping) {
                name = role.get("name").asText() + (births == 0 ? "" : "-" + births);
                births++;
                write(name, "\"type\":\"open\",\"isolation\":\"" + isolation() + "\"");
                boolean isDone = role.get("role").asText().equals("final");
                try {
                    switch (role.get("role").asText()) {
                        case "idempotent" -> idempotent();
                        case "transactional" -> transactional();
                        case "processor" -> processor();
                        case "member" -> member();
                        case "reader" -> reader();
                        case "final" -> last();
                        default -> throw new IllegalArgumentException("unknown role " + role);
                    }
                } catch (Exception error) {
                    isDone = false;
                    System.err.println(name + ": " + error);
                    pause(REBIRTH_MS);
                }
                write(name, "\"type\":\"crash\"");
                if (isDone) {
                    return;
                }
            }
        }

        private String isolation() {
            return role.path("isolation").asText("read_committed");
        }

        private void pause(long ms) {
            try {
                Thread.sleep(ms);
            } catch (InterruptedException interrupted) {
                throw new InterruptException(interrupted);
            }
        }

        // --- Notes -------------------------------------------------------------------------------------------------

        private synchronized int invoke(String rest) {
            int call = calls++;
            write(name, "\"type\":\"invoke\",\"call\":" + call + "," + rest);
            return call;
        }

        private void ok(int call, String rest) {
            write(name, "\"type\":\"ok\",\"call\":" + call + rest);
        }

        private void info(String client, int call, Throwable error) {
            String text = String.valueOf(error).replaceAll("[^ -~]|[\"\\\\]", " ");
            String brief = text.substring(0, Math.min(text.length(), 160));
            write(client, "\"type\":\"info\",\"call\":" + call + ",\"error\":\"" + brief + "\"");
        }

        /** A call without an answer of its own. What it throws says nothing of what it did. */
        private void noted(String rest, Action action) throws Unanswered {
            int call = invoke(rest);
            try {
                action.run();
            } catch (Exception error) {
                info(name, call, error);
                throw new Unanswered(error);
            }
            ok(call, "");
        }

        private String lane(TopicPartition partition) {
            return "\"" + partition.topic() + "\"," + partition.partition();
        }

        private String lanes(Collection<TopicPartition> partitions) {
            List<String> all = new ArrayList<>();
            partitions.forEach(partition -> all.add("[" + lane(partition) + "]"));
            return "[" + String.join(",", all) + "]";
        }

        private String places(Map<TopicPartition, Long> positions) {
            List<String> all = new ArrayList<>();
            positions.forEach((partition, offset) -> all.add("[" + lane(partition) + "," + offset + "]"));
            return "\"positions\":[" + String.join(",", all) + "]";
        }

        // --- Producers ---------------------------------------------------------------------------------------------

        private TopicPartition anyPartition() {
            List<String> names = new ArrayList<>();
            role.get("topics").forEach(topic -> names.add(topic.asText()));
            List<TopicPartition> partitions = partitionsOf(names);
            return partitions.get(random.nextInt(partitions.size()));
        }

        private void send(Producer<String, String> producer, Integer transaction, Runnable whenAnswered) {
            TopicPartition partition = anyPartition();
            String client = name;
            String value = client + ":" + values++;
            String inside = transaction == null ? "" : ",\"transaction\":" + transaction;
            int call = invoke("\"name\":\"send\",\"topic\":\"" + partition.topic() + "\",\"partition\":"
                + partition.partition() + ",\"value\":\"" + value + "\"" + inside);
            // A send that throws may have called back before.
            AtomicBoolean ended = new AtomicBoolean();
            Callback callback = (metadata, error) -> {
                if (!ended.compareAndSet(false, true)) {
                    return;
                }
                if (error != null) {
                    info(client, call, error);
                } else {
                    write(client, "\"type\":\"ok\",\"call\":" + call + ",\"offset\":" + (metadata.hasOffset() ? metadata.offset() : null));
                }
                whenAnswered.run();
            };
            try {
                producer.send(new ProducerRecord<>(partition.topic(), partition.partition(), null, value), callback);
            } catch (RuntimeException error) {
                callback.onCompletion(null, error);
                throw error;
            }
        }

        private void idempotent() throws Exception {
            Semaphore room = new Semaphore(8);
            try (Closing<Producer<String, String>> open = new Closing<>(producer(name, null), each -> each.close(CLOSE))) {
                while (!stopping) {
                    if (room.tryAcquire(100, TimeUnit.MILLISECONDS)) {
                        send(open.it, null, room::release);
                        pause(random.nextInt(25));
                    }
                }
                open.it.flush();
            }
        }

        private void transactional() throws Exception {
            try (Closing<Producer<String, String>> open = new Closing<>(producer(name, transactionalId()), each -> each.close(CLOSE))) {
                open.it.initTransactions();
                while (!stopping) {
                    int transaction = transactions++;
                    open.it.beginTransaction();
                    for (int left = 1 + random.nextInt(5); left > 0; left--) {
                        send(open.it, transaction, () -> { });
                        pause(random.nextInt(8));
                    }
                    if (random.nextInt(4) == 0) {
                        abort(open.it, transaction);
                    } else {
                        commit(open.it, transaction);
                    }
                    pause(random.nextInt(20));
                }
            }
        }

        private String transactionalId() {
            return role.get("transactionalId").asText();
        }

        /** A commit that timed out is asked for again, as the client's documentation has it; another failure is followed by an abort. */
        private boolean commit(Producer<String, String> producer, int transaction) throws Exception {
            while (true) {
                try {
                    noted("\"name\":\"commit\",\"transaction\":" + transaction, producer::commitTransaction);
                    return true;
                } catch (Unanswered unanswered) {
                    if (unanswered.getCause() instanceof TimeoutException && !stopping) {
                        continue;
                    }
                    if (!(unanswered.getCause() instanceof KafkaException) || unanswered.getCause() instanceof TimeoutException) {
                        throw unanswered;
                    }
                    abort(producer, transaction);
                    return false;
                }
            }
        }

        private void abort(Producer<String, String> producer, int transaction) throws Exception {
            while (true) {
                try {
                    noted("\"name\":\"abort\",\"transaction\":" + transaction, producer::abortTransaction);
                    return;
                } catch (Unanswered unanswered) {
                    if (!(unanswered.getCause() instanceof TimeoutException) || stopping) {
                        throw unanswered;
                    }
                }
            }
        }

        // --- Consumers ---------------------------------------------------------------------------------------------

        private ConsumerRecords<String, String> poll(Consumer<String, String> consumer, Integer transaction) throws Exception {
            int call = invoke("\"name\":\"poll\"" + (transaction == null ? "" : ",\"transaction\":" + transaction));
            ConsumerRecords<String, String> records;
            try {
                records = consumer.poll(POLL);
            } catch (Exception error) {
                info(name, call, error);
                throw error;
            }
            StringBuilder text = new StringBuilder();
            for (ConsumerRecord<String, String> record : records) {
                text.append(text.isEmpty() ? "" : ",").append("[\"").append(record.topic()).append("\",").append(record.partition())
                    .append(',').append(record.offset()).append(",\"").append(record.value()).append("\"]");
            }
            ok(call, ",\"records\":[" + text + "]");
            return records;
        }

        private final class Ownership implements ConsumerRebalanceListener {
            private final Consumer<String, String> consumer;

            Ownership(Consumer<String, String> consumer) {
                this.consumer = consumer;
            }

            private void note(String type, Collection<TopicPartition> partitions) {
                write(name, "\"type\":\"" + type + "\",\"group\":\"" + group() + "\",\"partitions\":" + lanes(partitions));
            }

            @Override
            public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                note("assigned", partitions);
                if (partitions.isEmpty()) {
                    return;
                }
                int call = invoke("\"name\":\"position\",\"group\":\"" + group() + "\"");
                Map<TopicPartition, Long> positions = new HashMap<>();
                try {
                    partitions.forEach(partition -> positions.put(partition, consumer.position(partition)));
                } catch (RuntimeException error) {
                    info(name, call, error);
                    throw error;
                }
                ok(call, "," + places(positions));
            }

            @Override
            public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                note("revoked", partitions);
            }

            @Override
            public void onPartitionsLost(Collection<TopicPartition> partitions) {
                note("lost", partitions);
            }
        }

        private String group() {
            return role.get("group").asText();
        }

        /** The offsets after the records, of the partitions that have any. */
        private Map<TopicPartition, OffsetAndMetadata> after(ConsumerRecords<String, String> records) {
            Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();
            for (ConsumerRecord<String, String> record : records) {
                next.put(new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
            }
            return next;
        }

        private String commitOf(Map<TopicPartition, OffsetAndMetadata> offsets, String inside) {
            Map<TopicPartition, Long> positions = new HashMap<>();
            offsets.forEach((partition, offset) -> positions.put(partition, offset.offset()));
            return "\"name\":\"commit-offsets\",\"group\":\"" + group() + "\"," + places(positions) + inside;
        }

        private void member() throws Exception {
            try (Closing<Consumer<String, String>> open = new Closing<>(consumer(name, isolation(), group(), role.path("protocol").asText("classic")), each -> each.close(CLOSE))) {
                open.it.subscribe(List.of(role.get("from").asText()), new Ownership(open.it));
                while (!stopping) {
                    Map<TopicPartition, OffsetAndMetadata> offsets = after(poll(open.it, null));
                    if (offsets.isEmpty()) {
                        continue;
                    }
                    try {
                        noted(commitOf(offsets, ""), () -> open.it.commitSync(offsets));
                    } catch (Unanswered unanswered) {
                        // Its position stays ahead of what was committed: whoever gets the partition next begins earlier.
                        System.err.println(name + ": " + unanswered.getCause());
                    }
                    pause(random.nextInt(20));
                }
            }
        }

        private void processor() throws Exception {
            try (Closing<Producer<String, String>> sending = new Closing<>(producer(name, transactionalId()), each -> each.close(CLOSE));
                 Closing<Consumer<String, String>> polling = new Closing<>(consumer(name, isolation(), group(), role.path("protocol").asText("classic")), each -> each.close(CLOSE))) {
                Producer<String, String> producer = sending.it;
                Consumer<String, String> consumer = polling.it;
                producer.initTransactions();
                consumer.subscribe(List.of(role.get("from").asText()), new Ownership(consumer));
                while (!stopping) {
                    int transaction = transactions++;
                    ConsumerRecords<String, String> records = poll(consumer, transaction);
                    if (records.isEmpty()) {
                        continue;
                    }
                    if (!process(producer, consumer, records, transaction)) {
                        goBack(consumer);
                    }
                }
            }
        }

        /** One record is sent for each that was taken. */
        private boolean process(
            Producer<String, String> producer, Consumer<String, String> consumer, ConsumerRecords<String, String> records, int transaction) throws Exception {
            producer.beginTransaction();
            for (int left = records.count(); left > 0; left--) {
                send(producer, transaction, () -> { });
            }
            Map<TopicPartition, OffsetAndMetadata> offsets = after(records);
            try {
                noted(commitOf(offsets, ",\"transaction\":" + transaction), () -> producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata()));
            } catch (Unanswered unanswered) {
                abort(producer, transaction);
                return false;
            }
            pause(random.nextInt(10));
            if (random.nextInt(8) == 0) {
                abort(producer, transaction);
                return false;
            }
            return commit(producer, transaction);
        }

        private void goBack(Consumer<String, String> consumer) {
            Map<TopicPartition, OffsetAndMetadata> committed = consumer.committed(consumer.assignment());
            Map<TopicPartition, Long> positions = new HashMap<>();
            for (TopicPartition partition : consumer.assignment()) {
                OffsetAndMetadata offset = committed.get(partition);
                positions.put(partition, offset == null ? 0 : offset.offset());
            }
            positions.forEach(consumer::seek);
            write(name, "\"type\":\"seek\"," + places(positions));
        }

        private Map<TopicPartition, Long> assignAll(Consumer<String, String> consumer) {
            Map<TopicPartition, Long> beginning = new HashMap<>();
            partitionsOf(List.copyOf(topics.keySet())).forEach(partition -> beginning.put(partition, 0L));
            consumer.assign(beginning.keySet());
            beginning.forEach(consumer::seek);
            write(name, "\"type\":\"seek\"," + places(beginning));
            return beginning;
        }

        private void reader() throws Exception {
            try (Closing<Consumer<String, String>> open = new Closing<>(consumer(name, isolation(), null, null), each -> each.close(CLOSE))) {
                assignAll(open.it);
                while (!stopping) {
                    poll(open.it, null);
                }
            }
        }

        /**
         * Ends what dead producers left open, and reads every partition to where it ended before. It waits for the end of
         * open transactions, which whoever started this bounds.
         */
        private void last() throws Exception {
            for (JsonNode id : role.get("transactionalIds")) {
                try (Closing<Producer<String, String>> open = new Closing<>(producer(name, id.asText()), each -> each.close(CLOSE))) {
                    while (true) {
                        try {
                            open.it.initTransactions();
                            break;
                        } catch (TimeoutException again) {
                            System.err.println(name + ": " + again);
                        }
                    }
                }
            }
            try (Closing<Consumer<String, String>> everything = new Closing<>(consumer(name, "read_uncommitted", null, null), each -> each.close(CLOSE));
                 Closing<Consumer<String, String>> open = new Closing<>(consumer(name, isolation(), null, null), each -> each.close(CLOSE))) {
                Map<TopicPartition, Long> left = new HashMap<>(everything.it.endOffsets(partitionsOf(List.copyOf(topics.keySet()))));
                assignAll(open.it);
                while (!left.isEmpty()) {
                    poll(open.it, null);
                    left.entrySet().removeIf(entry -> open.it.position(entry.getKey()) >= entry.getValue());
                }
            }
        }
    }

    /** A client that is closed within a bound, whatever has become of it. */
    private static final class Closing<T> implements AutoCloseable {
        final T it;
        private final java.util.function.Consumer<T> close;

        Closing(T it, java.util.function.Consumer<T> close) {
            this.it = it;
            this.close = close;
        }

        @Override
        public void close() {
            try {
                close.accept(it);
            } catch (RuntimeException error) {
                System.err.println("close: " + error);
            }
        }
    }
}
