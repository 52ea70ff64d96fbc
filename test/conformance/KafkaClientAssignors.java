import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.Assignment;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.GroupSubscription;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.Subscription;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.clients.consumer.StickyAssignor;
import org.apache.kafka.clients.consumer.internals.ConsumerProtocol;
import org.apache.kafka.common.Cluster;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;

/**
 * Asks the assignors of Apache Kafka's Java client. A line is a group, its parts divided by spaces: the assignor; topics as
 * "TOPIC=RACKS.RACKS,..." with the racks of each partition's replicas, "a+b", or "-"; and each member as
 * "MEMBER|INSTANCE|RACK|TOPIC,...|TOPIC=P.P,...|GENERATION" with what it had. The answer is "MEMBER|TOPIC=P.P,..." of each.
 * With "bytes" for the assignor it is what each member would write: its subscription for "cooperative-sticky", its user data
 * for "sticky", and the bytes of an assignment of what it had, in hexadecimal.
 */
public class KafkaClientAssignors {
  public static void main(String[] arguments) throws Exception {
    BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
    PrintStream output = new PrintStream(System.out, false);
    for (String line = input.readLine(); line != null; line = input.readLine()) {
      output.println(answer(line.split(" ")));
    }
    output.flush();
  }

  private static String answer(String[] parts) {
    boolean isBytes = parts[0].equals("bytes");
    Map<String, Subscription> subscriptions = new HashMap<>();
    StringBuilder bytes = new StringBuilder();
    for (String part : Arrays.copyOfRange(parts, 2, parts.length)) {
      String[] words = part.split("\\|", -1);
      List<String> topics = Arrays.asList(list(words[3], ","));
      List<TopicPartition> owned = new ArrayList<>();
      for (String topic : list(words[4], ",")) {
        String[] halves = topic.split("=");
        for (String partition : halves[1].split("\\.")) owned.add(new TopicPartition(halves[0], Integer.parseInt(partition)));
      }
      int generation = Integer.parseInt(words[5]);
      Optional<String> rack = words[2].isEmpty() ? Optional.empty() : Optional.of(words[2]);
      String assignor = isBytes ? "cooperative-sticky" : parts[0];
      boolean isSticky = assignor.equals("sticky");
      ByteBuffer userData = userData(assignor, topics, owned, generation);
      Subscription subscription = new Subscription(topics, userData, isSticky ? List.of() : owned, generation, rack);
      if (isBytes) {
        bytes.append(hex(ConsumerProtocol.serializeSubscription(subscription))).append(' ');
        bytes.append(hex(userData("sticky", topics, owned, generation))).append(' ');
        bytes.append(hex(ConsumerProtocol.serializeAssignment(new Assignment(owned)))).append(' ');
      }
      if (!words[1].isEmpty()) subscription.setGroupInstanceId(Optional.of(words[1]));
      subscriptions.put(words[0], subscription);
    }
    if (isBytes) return bytes.toString().trim();
    return text(assignor(parts[0]).assign(cluster(parts[1]), new GroupSubscription(subscriptions)).groupAssignment());
  }

  private static ConsumerPartitionAssignor assignor(String name) {
    return switch (name) {
      case "range" -> new RangeAssignor();
      case "roundrobin" -> new RoundRobinAssignor();
      case "sticky" -> new StickyAssignor();
      default -> new CooperativeStickyAssignor();
    };
  }

  /** What the assignor of a member says that was given this in this generation. */
  private static ByteBuffer userData(String name, List<String> topics, List<TopicPartition> owned, int generation) {
    ConsumerPartitionAssignor assignor = assignor(name);
    ConsumerGroupMetadata group = new ConsumerGroupMetadata("g", generation, "m", Optional.empty());
    if (generation >= 0) assignor.onAssignment(new Assignment(owned), group);
    return assignor.subscriptionUserData(new HashSet<>(topics));
  }

  private static Cluster cluster(String text) {
    Map<String, Node> nodes = new HashMap<>();
    List<PartitionInfo> partitions = new ArrayList<>();
    for (String topic : list(text, ",")) {
      String[] halves = topic.split("=");
      String[] racks = halves[1].split("\\.");
      for (int partition = 0; partition < racks.length; partition++) {
        Node[] replicas = Arrays.stream(racks[partition].split("\\+"))
            .map(rack -> nodes.computeIfAbsent(rack, one -> new Node(nodes.size(), "h", 1, one.equals("-") ? null : one)))
            .toArray(Node[]::new);
        partitions.add(new PartitionInfo(halves[0], partition, replicas[0], replicas, replicas));
      }
    }
    return new Cluster("c", nodes.values(), partitions, Set.of(), Set.of());
  }

  private static String text(Map<String, Assignment> assignments) {
    StringBuilder text = new StringBuilder();
    for (Map.Entry<String, Assignment> member : new TreeMap<>(assignments).entrySet()) {
      if (text.length() > 0) text.append(' ');
      text.append(member.getKey()).append('|');
      Map<String, List<String>> byTopic = new TreeMap<>();
      List<TopicPartition> partitions = new ArrayList<>(member.getValue().partitions());
      partitions.sort(Comparator.comparing(TopicPartition::topic).thenComparing(TopicPartition::partition));
      for (TopicPartition each : partitions) {
        byTopic.computeIfAbsent(each.topic(), absent -> new ArrayList<>()).add(String.valueOf(each.partition()));
      }
      String separator = "";
      for (Map.Entry<String, List<String>> topic : byTopic.entrySet()) {
        text.append(separator).append(topic.getKey()).append('=').append(String.join(".", topic.getValue()));
        separator = ",";
      }
    }
    return text.toString();
  }

  private static String hex(ByteBuffer buffer) {
    if (buffer == null) return "null";
    byte[] bytes = new byte[buffer.remaining()];
    buffer.duplicate().get(bytes);
    return bytes.length == 0 ? "empty" : HexFormat.of().formatHex(bytes);
  }

  private static String[] list(String text, String separator) {
    return text.isEmpty() ? new String[0] : text.split(separator);
  }
}
