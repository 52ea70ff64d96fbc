import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.utils.AppInfoParser;
import org.apache.kafka.common.utils.Exit;

/** The Java clients and console tools, as a program that reads a command a line and answers a line (../README.md). */
public final class Interop {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final PrintStream ANSWERS = System.out;

    private final String bootstrap;
    private final Map<String, Producer<byte[], byte[]>> producers = new HashMap<>();
    private final Map<String, Consumer<byte[], byte[]>> keptConsumers = new HashMap<>();

    private final Transactions transactions;

    private Interop(String bootstrap) {
        this.bootstrap = bootstrap;
        this.transactions = new Transactions(bootstrap);
    }

    public static void main(String[] args) throws Exception {
        // A library that prints must not break the answers.
        System.setOut(System.err);
        Interop program = new Interop(args[0]);
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            JsonNode command = JSON.readTree(line);
            ObjectNode answer = JSON.createObjectNode().put("id", command.get("id").asInt());
            try {
                answer.set("ok", program.run(command));
            } catch (Exception error) {
                error.printStackTrace();
                answer.put("error", error.toString());
            }
            answer(answer);
        }
        program.producers.values().forEach(Producer::close);
        program.keptConsumers.values().forEach(Consumer::close);
        program.transactions.close();
    }

    private static synchronized void answer(ObjectNode line) {
        ANSWERS.println(line);
        ANSWERS.flush();
    }

    private ObjectNode run(JsonNode command) throws Exception {
        return switch (command.get("command").asText()) {
            case "hello" -> hello();
            case "create-topic" -> createTopic(command);
            case "produce" -> produce(command);
            case "consume" -> consume(command);
            case "dump" -> dump(command);
            case "transact" -> transactions.transact(command);
            case "end" -> transactions.end(command);
            case "tool" -> tool(command);
            default -> throw new IllegalArgumentException("unknown command " + command);
        };
    }

    private ObjectNode hello() {
        ObjectNode answer = JSON.createObjectNode().put("version", AppInfoParser.getVersion());
        ArrayNode compressions = answer.putArray("compressions");
        List.of("none", "gzip", "snappy", "lz4", "zstd").forEach(compressions::add);
        answer.putArray("cannot");
        return answer;
    }

    private ObjectNode createTopic(JsonNode command) throws Exception {
        Map<String, String> configs = new HashMap<>();
        command.path("configs").fields().forEachRemaining(entry -> configs.put(entry.getKey(), entry.getValue().asText()));
        NewTopic topic = new NewTopic(command.get("topic").asText(), command.get("partitions").asInt(), (short) 1);
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            admin.createTopics(List.of(topic.configs(configs))).all().get();
        }
        return JSON.createObjectNode();
    }

    private ObjectNode produce(JsonNode command) throws Exception {
        int id = command.get("id").asInt();
        int progressEvery = command.path("progressEvery").asInt(Integer.MAX_VALUE);
        String topic = command.get("topic").asText();
        Producer<byte[], byte[]> producer = producers.computeIfAbsent(command.get("compression").asText(), this::producer);
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        int[] acknowledged = {0};
        try (BufferedReader lines = Files.newBufferedReader(Path.of(command.get("file").asText()))) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                sent.add(producer.send(record(topic, JSON.readTree(line)), (metadata, error) -> {
                    if (error == null && ++acknowledged[0] % progressEvery == 0) {
                        answer(JSON.createObjectNode().put("id", id).put("progress", acknowledged[0]));
                    }
                }));
            }
        }
        producer.flush();
        ObjectNode answer = JSON.createObjectNode();
        ArrayNode acks = answer.putArray("acks");
        for (Future<RecordMetadata> ack : sent) {
            acks.addArray().add(ack.get().partition()).add(ack.get().offset());
        }
        return answer;
    }

    private Producer<byte[], byte[]> producer(String compression) {
        return new KafkaProducer<>(
            Map.of("bootstrap.servers", bootstrap, "compression.type", compression, "delivery.timeout.ms", 120_000),
            new ByteArraySerializer(),
            new ByteArraySerializer());
    }

    private static ProducerRecord<byte[], byte[]> record(String topic, JsonNode line) {
        List<Header> headers = new ArrayList<>();
        for (JsonNode header : line.get("headers")) {
            headers.add(new RecordHeader(header.get(0).asText(), bytes(header.get(1))));
        }
        return new ProducerRecord<>(
            topic, null, line.get("timestamp").asLong(), bytes(line.get("key")), bytes(line.get("value")), headers);
    }

    private ObjectNode consume(JsonNode command) throws Exception {
        String group = command.get("group").asText();
        Consumer<byte[], byte[]> kept = keptConsumers.get(group);
        Consumer<byte[], byte[]> consumer = kept == null ? consumer(command) : kept;
        if (command.path("keep").asBoolean()) {
            keptConsumers.put(group, consumer);
        }
        try {
            take(consumer, command);
        } finally {
            if (!command.path("keep").asBoolean()) {
                keptConsumers.remove(group);
                consumer.close();
            }
        }
        return JSON.createObjectNode();
    }

    private static void take(Consumer<byte[], byte[]> consumer, JsonNode command) throws Exception {
        int wanted = command.get("count").asInt();
        long deadline = System.currentTimeMillis() + command.get("timeoutMs").asLong();
        Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();
        int taken = 0;
        try (BufferedWriter output = Files.newBufferedWriter(Path.of(command.get("output").asText()))) {
            while (taken < wanted) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    TopicPartition partition = new TopicPartition(record.topic(), record.partition());
                    if (taken == wanted) {
                        // Polled but not taken: whoever goes on must get it.
                        OffsetAndMetadata position = next.getOrDefault(partition, new OffsetAndMetadata(record.offset()));
                        consumer.seek(partition, position.offset());
                        next.put(partition, position);
                        continue;
                    }
                    output.write(line(record).toString());
                    output.newLine();
                    next.put(partition, new OffsetAndMetadata(record.offset() + 1));
                    taken++;
                }
                if (System.currentTimeMillis() > deadline) {
                    throw new IllegalStateException("only " + taken + " of " + wanted + " records came in time");
                }
            }
        }
        consumer.commitSync(next);
    }

    private Consumer<byte[], byte[]> consumer(JsonNode command) {
        Consumer<byte[], byte[]> consumer = new KafkaConsumer<>(
            Map.of(
                "bootstrap.servers", bootstrap,
                "group.id", command.get("group").asText(),
                "group.protocol", command.path("protocol").asText("classic"),
                "isolation.level", command.path("isolation").asText("read_uncommitted"),
                "auto.offset.reset", "earliest",
                "enable.auto.commit", false),
            new ByteArrayDeserializer(),
            new ByteArrayDeserializer());
        List<String> topics = new ArrayList<>();
        command.get("topics").forEach(topic -> topics.add(topic.asText()));
        consumer.subscribe(topics);
        return consumer;
    }

    /** All of a topic, in no group: up to where it ends now for the given isolation level. */
    private ObjectNode dump(JsonNode command) throws Exception {
        String topic = command.get("topic").asText();
        try (Consumer<byte[], byte[]> consumer = new KafkaConsumer<>(
                Map.of("bootstrap.servers", bootstrap, "isolation.level", command.get("isolation").asText()),
                new ByteArrayDeserializer(),
                new ByteArrayDeserializer());
            BufferedWriter output = Files.newBufferedWriter(Path.of(command.get("output").asText()))) {
            List<TopicPartition> partitions = consumer.partitionsFor(topic).stream()
                .map(info -> new TopicPartition(topic, info.partition()))
                .toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            long deadline = System.currentTimeMillis() + command.get("timeoutMs").asLong();
            while (partitions.stream().anyMatch(partition -> consumer.position(partition) < ends.get(partition))) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    if (record.offset() < ends.get(new TopicPartition(topic, record.partition()))) {
                        output.write(line(record).toString());
                        output.newLine();
                    }
                }
                if (System.currentTimeMillis() > deadline) {
                    throw new IllegalStateException("the ends " + ends + " were not reached in time");
                }
            }
        }
        return JSON.createObjectNode();
    }

    private static ObjectNode line(ConsumerRecord<byte[], byte[]> record) {
        ObjectNode line = JSON.createObjectNode()
            .put("topic", record.topic())
            .put("partition", record.partition())
            .put("offset", record.offset())
            .put("timestamp", record.timestamp())
            .put("key", base64(record.key()))
            .put("value", base64(record.value()));
        ArrayNode headers = line.putArray("headers");
        for (Header header : record.headers()) {
            headers.addArray().add(header.key()).add(base64(header.value()));
        }
        return line;
    }

    /**
     * Runs a console tool's own main with arguments and a standard input, as its script in bin/ would, but in this JVM:
     * starting one for each call would take most of the tests' time.
     */
    private ObjectNode tool(JsonNode command) throws Exception {
        List<String> args = new ArrayList<>();
        command.get("args").forEach(argument -> args.add(argument.asText()));
        Method main = Class.forName(command.get("main").asText()).getMethod("main", String[].class);
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        ByteArrayOutputStream err = new ByteArrayOutputStream();
        InputStream stdin = System.in;
        PrintStream stdout = System.out;
        PrintStream stderr = System.err;
        System.setIn(new ByteArrayInputStream(command.path("stdin").asText("").getBytes(StandardCharsets.UTF_8)));
        System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(err, true, StandardCharsets.UTF_8));
        CompletableFuture<Integer> status = new CompletableFuture<>();
        // A tool's exit does not return and is caught by nobody: its thread stays where it is.
        Exit.setExitProcedure((code, message) -> {
            status.complete(code);
            while (true) {
                LockSupport.park();
            }
        });
        Exit.setShutdownHookAdder((name, hook) -> { });
        Thread thread = new Thread(() -> {
            try {
                main.invoke(null, (Object) args.toArray(new String[0]));
                status.complete(0);
            } catch (InvocationTargetException thrown) {
                status.completeExceptionally(thrown.getCause());
            } catch (IllegalAccessException error) {
                status.completeExceptionally(error);
            }
        });
        thread.setDaemon(true);
        thread.start();
        int code;
        try {
            code = status.get(60, TimeUnit.SECONDS);
        } finally {
            System.setIn(stdin);
            System.setOut(stdout);
            System.setErr(stderr);
        }
        return JSON.createObjectNode()
            .put("status", code)
            .put("stdout", out.toString(StandardCharsets.UTF_8))
            .put("stderr", err.toString(StandardCharsets.UTF_8));
    }

    private static byte[] bytes(JsonNode base64) {
        return base64.isNull() ? null : Base64.getDecoder().decode(base64.asText());
    }

    private static String base64(byte[] bytes) {
        return bytes == null ? null : Base64.getEncoder().encodeToString(bytes);
    }
}
