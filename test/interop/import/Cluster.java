import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Random;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Fills a cluster with all that lies differently on a disk, or prints what a cluster holds, one line a fact: "fill ADDRESS",
 * "produce ADDRESS TOPIC", "read ADDRESS". Two clusters that print the same lines are the same to a client.
 */
public final class Cluster {
  private static final List<String> COMPRESSIONS = List.of("none", "gzip", "snappy", "lz4", "zstd");
  private static final PrintStream OUTPUT = new PrintStream(System.out, false, StandardCharsets.UTF_8);

  public static void main(String[] arguments) throws Exception {
    String address = arguments[1];
    switch (arguments[0]) {
      case "fill" -> fill(address);
      case "produce" -> produceAll(address, arguments[2], 700);
      case "read" -> read(address);
      default -> throw new IllegalArgumentException(arguments[0]);
    }
    OUTPUT.flush();
  }

  // --- Fill ---------------------------------------------------------------------------------------------------------

  private static void fill(String address) throws Exception {
    try (Admin admin = Admin.create(Map.of("bootstrap.servers", address))) {
      create(admin, "plain", 3, Map.of("segment.bytes", "1048576", "retention.ms", "86400000", "max.message.bytes", "900000"));
      create(admin, "stamped", 1, Map.of("message.timestamp.type", "LogAppendTime"));
      create(admin, "transactional", 1, Map.of());
      create(admin, "cut", 1, Map.of());
      create(admin, "replaced", 1, Map.of());
      create(admin, "replaced.transactional", 1, Map.of());
      create(admin, "again", 2, Map.of("retention.ms", "1234567"));
      admin.deleteTopics(List.of("again")).all().get();
      recreate(admin, "again");
      create(admin, "compacted", 1,
          Map.of("cleanup.policy", "compact", "segment.bytes", "1048576", "min.cleanable.dirty.ratio", "0.01"));
      setClusterDefault(admin, "log.retention.ms", "87000000");
      produceAll(address, "plain", 500);
      produceAll(address, "stamped", 20);
      produceAll(address, "cut", 40);
      admin.deleteRecords(Map.of(new TopicPartition("cut", 0), RecordsToDelete.beforeOffset(77))).all().get();
      transact(address);
      commit(address, "simple");
      commitAsMember(address, "member", "classic");
      commitAsMember(address, "newer-member", "consumer");
      compact(address);
    }
  }

  private static void create(Admin admin, String name, int partitions, Map<String, String> configs) throws Exception {
    admin.createTopics(List.of(new NewTopic(name, partitions, (short) 1).configs(configs))).all().get();
  }

  /** A deleted topic's name is free a moment later. */
  private static void recreate(Admin admin, String name) throws Exception {
    while (admin.listTopics().names().get().contains(name)) Thread.onSpinWait();
    create(admin, name, 1, Map.of());
  }

  private static void setClusterDefault(Admin admin, String name, String value) throws Exception {
    ConfigResource all = new ConfigResource(ConfigResource.Type.BROKER, "");
    AlterConfigOp set = new AlterConfigOp(new ConfigEntry(name, value), AlterConfigOp.OpType.SET);
    admin.incrementalAlterConfigs(Map.of(all, List.of(set))).all().get();
  }

  /** So many records in each compression, by an idempotent producer: keys, headers and values that are null or empty among them. */
  private static void produceAll(String address, String topic, int countEach) throws Exception {
    Random random = new Random(topic.hashCode());
    long timestamp = System.currentTimeMillis() - 3_600_000;
    for (String compression : COMPRESSIONS) {
      List<Future<?>> sent = new ArrayList<>();
      try (KafkaProducer<byte[], byte[]> producer = producer(address, Map.of("compression.type", compression, "linger.ms", 5))) {
        for (int index = 0; index < countEach; index++) {
          byte[] key = index % 7 == 0 ? null : ("key-" + random.nextInt(50)).getBytes(StandardCharsets.UTF_8);
          byte[] value = index % 11 == 0 ? null : new byte[random.nextInt(3_000)];
          if (value != null) random.nextBytes(value);
          List<Header> headers = new ArrayList<>();
          if (index % 3 == 0) headers.add(new RecordHeader("compression", compression.getBytes(StandardCharsets.UTF_8)));
          if (index % 6 == 0) headers.add(new RecordHeader("nothing", null));
          timestamp += random.nextInt(40) - 10;
          sent.add(producer.send(new ProducerRecord<>(topic, null, timestamp, key, value, headers)));
        }
      }
      for (Future<?> each : sent) each.get();
    }
  }

  private static void transact(String address) throws Exception {
    Map<TopicPartition, OffsetAndMetadata> early = Map.of(new TopicPartition("plain", 0), new OffsetAndMetadata(3, "kept"));
    Map<TopicPartition, OffsetAndMetadata> late = Map.of(new TopicPartition("plain", 0), new OffsetAndMetadata(9, "aborted"));
    try (
        KafkaProducer<byte[], byte[]> producer = producer(address, Map.of("transactional.id", "tester"));
        KafkaConsumer<byte[], byte[]> consumer = consumer(address, Map.of("group.id", "in-transaction"))
    ) {
      producer.initTransactions();
      for (int round = 0; round < 6; round++) {
        boolean isCommit = round % 2 == 0;
        producer.beginTransaction();
        for (int index = 0; index < 5; index++) {
          byte[] text = ("round " + round + " record " + index).getBytes(StandardCharsets.UTF_8);
          producer.send(new ProducerRecord<>("transactional", text, text)).get();
        }
        producer.sendOffsetsToTransaction(isCommit ? early : late, consumer.groupMetadata());
        if (isCommit) producer.commitTransaction();
        else producer.abortTransaction();
      }
    }
  }

  private static void commit(String address, String group) {
    try (KafkaConsumer<byte[], byte[]> consumer = consumer(address, Map.of("group.id", group))) {
      for (int partition = 0; partition < 3; partition++) {
        TopicPartition at = new TopicPartition("plain", partition);
        consumer.assign(List.of(at));
        consumer.commitSync(Map.of(at, new OffsetAndMetadata(10 + partition, "note " + partition)));
      }
    }
  }

  private static void commitAsMember(String address, String group, String protocol) {
    try (KafkaConsumer<byte[], byte[]> consumer = consumer(address, Map.of("group.id", group, "group.protocol", protocol))) {
      consumer.subscribe(List.of("transactional"));
      int taken = 0;
      while (taken == 0) taken = consumer.poll(Duration.ofMillis(100)).count();
      consumer.commitSync();
    }
  }

  /** Until the cleaner has been there: the first offset is gone then, though the log begins with it. */
  private static void compact(String address) throws Exception {
    byte[] value = new byte[10_000];
    try (KafkaProducer<byte[], byte[]> producer = producer(address, Map.of())) {
      for (int index = 0; index < 250; index++) {
        byte[] key = ("key-" + index % 10).getBytes(StandardCharsets.UTF_8);
        new Random(index).nextBytes(value);
        producer.send(new ProducerRecord<>("compacted", key, value.clone()));
      }
    }
    TopicPartition at = new TopicPartition("compacted", 0);
    long deadline = System.currentTimeMillis() + 60_000;
    try (KafkaConsumer<byte[], byte[]> consumer = consumer(address, Map.of())) {
      while (readPartition(consumer, at).get(0).offset() == 0) {
        if (System.currentTimeMillis() > deadline) throw new IllegalStateException("the cleaner has not come");
      }
    }
  }

  private static KafkaProducer<byte[], byte[]> producer(String address, Map<String, Object> more) {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", address);
    properties.putAll(more);
    return new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer());
  }

  private static KafkaConsumer<byte[], byte[]> consumer(String address, Map<String, Object> more) {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", address);
    properties.put("enable.auto.commit", false);
    properties.put("auto.offset.reset", "earliest");
    // A fetch that waits for more holds up the one for the next partition.
    properties.put("fetch.max.wait.ms", 5);
    properties.putAll(more);
    return new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
  }

  // --- Read ---------------------------------------------------------------------------------------------------------

  private static void read(String address) throws Exception {
    try (Admin admin = Admin.create(Map.of("bootstrap.servers", address))) {
      OUTPUT.println("cluster " + admin.describeCluster().clusterId().get());
      Collection<TopicDescription> topics = admin.describeTopics(admin.listTopics().names().get()).allTopicNames().get().values();
      Map<String, TopicDescription> byName = new TreeMap<>();
      for (TopicDescription topic : topics) byName.put(topic.name(), topic);
      Map<String, KafkaConsumer<byte[], byte[]>> consumers = new TreeMap<>();
      for (String isolation : List.of("read_committed", "read_uncommitted")) {
        consumers.put(isolation, consumer(address, Map.of("isolation.level", isolation)));
      }
      for (TopicDescription topic : byName.values()) {
        String name = topic.name();
        OUTPUT.println("topic " + name + " " + topic.topicId() + " " + topic.partitions().size() + " " + configs(admin, name));
        for (int partition = 0; partition < topic.partitions().size(); partition++) {
          TopicPartition at = new TopicPartition(name, partition);
          for (String isolation : List.of("read_uncommitted", "read_committed")) {
            for (ConsumerRecord<byte[], byte[]> record : readPartition(consumers.get(isolation), at)) {
              OUTPUT.println(isolation + " " + line(record));
            }
          }
        }
      }
      consumers.values().forEach(KafkaConsumer::close);
      for (String group : List.of("simple", "member", "newer-member", "in-transaction")) {
        Map<String, String> offsets = new TreeMap<>();
        admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().forEach((at, offset) ->
            offsets.put(at.toString(), offset.offset() + " '" + offset.metadata() + "' " + offset.leaderEpoch()));
        OUTPUT.println("group " + group + " " + offsets);
      }
    }
  }

  private static TreeSet<String> configs(Admin admin, String topic) throws ExecutionException, InterruptedException {
    ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
    TreeSet<String> found = new TreeSet<>();
    for (ConfigEntry entry : admin.describeConfigs(List.of(resource)).all().get().get(resource).entries()) {
      boolean isSet = entry.source() == ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG
          || entry.source() == ConfigEntry.ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG;
      if (isSet) found.add(entry.name() + "=" + entry.value());
    }
    return found;
  }

  /** All of a partition, from its start to its end. */
  private static List<ConsumerRecord<byte[], byte[]>> readPartition(KafkaConsumer<byte[], byte[]> consumer, TopicPartition at) {
    List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
    long start = consumer.beginningOffsets(List.of(at)).get(at);
    long end = consumer.endOffsets(List.of(at)).get(at);
    OUTPUT.println(at + " from " + start + " to " + end);
    consumer.assign(List.of(at));
    consumer.seek(at, start);
    while (consumer.position(at) < end) {
      for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(500))) records.add(record);
    }
    return records;
  }

  private static String line(ConsumerRecord<byte[], byte[]> record) {
    StringBuilder line = new StringBuilder();
    line.append(record.topic()).append('-').append(record.partition()).append(' ').append(record.offset());
    line.append(' ').append(record.timestampType()).append(' ').append(record.timestamp());
    line.append(' ').append(record.leaderEpoch()).append(' ').append(base64(record.key())).append(' ').append(base64(record.value()));
    for (Header header : record.headers()) line.append(' ').append(header.key()).append('=').append(base64(header.value()));
    return line.toString();
  }

  private static String base64(byte[] bytes) {
    return bytes == null ? "null" : Base64.getEncoder().encodeToString(bytes);
  }
}
