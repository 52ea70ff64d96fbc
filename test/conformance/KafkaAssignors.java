import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.coordinator.group.api.assignor.ConsumerGroupPartitionAssignor;
import org.apache.kafka.coordinator.group.api.assignor.MemberAssignment;
import org.apache.kafka.coordinator.group.api.assignor.SubscribedTopicDescriber;
import org.apache.kafka.coordinator.group.api.assignor.SubscriptionType;
import org.apache.kafka.coordinator.group.assignor.RangeAssignor;
import org.apache.kafka.coordinator.group.assignor.UniformAssignor;
import org.apache.kafka.coordinator.group.modern.Assignment;
import org.apache.kafka.coordinator.group.modern.GroupSpecImpl;
import org.apache.kafka.coordinator.group.modern.MemberSubscriptionAndAssignmentImpl;

/**
 * Asks Apache Kafka's own assignors. A line is a group, its parts divided by spaces: the assignor; topics as
 * "ID=COUNT,..."; and each member as "MEMBER|INSTANCE|TOPIC,...|TOPIC=P.P,..." with what it has. The answer is
 * "MEMBER|TOPIC=P.P,..." of each, in order of members and topics.
 */
public class KafkaAssignors {
  public static void main(String[] arguments) throws Exception {
    BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
    PrintStream output = new PrintStream(System.out, false);
    for (String line = input.readLine(); line != null; line = input.readLine()) {
      output.println(assign(line.split(" ")));
    }
    output.flush();
  }

  private static String assign(String[] parts) {
    ConsumerGroupPartitionAssignor assignor = parts[0].equals("range") ? new RangeAssignor() : new UniformAssignor();
    Map<Uuid, Integer> counts = new HashMap<>();
    for (String topic : list(parts[1], ",")) {
      String[] halves = topic.split("=");
      counts.put(Uuid.fromString(halves[0]), Integer.parseInt(halves[1]));
    }
    Map<String, MemberSubscriptionAndAssignmentImpl> members = new HashMap<>();
    Map<Uuid, Map<Integer, String>> owners = new HashMap<>();
    Set<Set<Uuid>> subscriptions = new HashSet<>();
    for (String part : Arrays.copyOfRange(parts, 2, parts.length)) {
      String[] words = part.split("\\|", -1);
      Set<Uuid> topics = new HashSet<>();
      for (String topic : list(words[2], ",")) topics.add(Uuid.fromString(topic));
      Map<Uuid, Set<Integer>> current = new HashMap<>();
      for (String owned : list(words[3], ",")) {
        String[] halves = owned.split("=");
        Uuid topic = Uuid.fromString(halves[0]);
        for (String partition : halves[1].split("\\.")) {
          current.computeIfAbsent(topic, absent -> new HashSet<>()).add(Integer.parseInt(partition));
          owners.computeIfAbsent(topic, absent -> new HashMap<>()).put(Integer.parseInt(partition), words[0]);
        }
      }
      subscriptions.add(topics);
      Optional<String> instanceId = words[1].isEmpty() ? Optional.empty() : Optional.of(words[1]);
      Assignment assignment = new Assignment(Collections.unmodifiableMap(current));
      members.put(words[0], new MemberSubscriptionAndAssignmentImpl(Optional.empty(), instanceId, topics, assignment));
    }
    SubscriptionType type = subscriptions.size() == 1 ? SubscriptionType.HOMOGENEOUS : SubscriptionType.HETEROGENEOUS;
    SubscribedTopicDescriber topics = new SubscribedTopicDescriber() {
      @Override
      public int numPartitions(Uuid topicId) {
        return counts.getOrDefault(topicId, -1);
      }

      @Override
      public Set<String> racksForPartition(Uuid topicId, int partition) {
        return Set.of();
      }
    };
    return text(assignor.assign(new GroupSpecImpl(members, type, owners), topics).members());
  }

  private static String text(Map<String, MemberAssignment> assignments) {
    StringBuilder text = new StringBuilder();
    for (Map.Entry<String, MemberAssignment> member : new TreeMap<>(assignments).entrySet()) {
      if (text.length() > 0) text.append(' ');
      text.append(member.getKey()).append('|');
      Map<String, Set<Integer>> byTopic = new TreeMap<>();
      member.getValue().partitions().forEach((topic, partitions) -> byTopic.put(topic.toString(), partitions));
      String separator = "";
      for (Map.Entry<String, Set<Integer>> topic : byTopic.entrySet()) {
        if (topic.getValue().isEmpty()) continue;
        text.append(separator).append(topic.getKey()).append('=');
        text.append(String.join(".", new TreeSet<>(topic.getValue()).stream().map(String::valueOf).toList()));
        separator = ",";
      }
    }
    return text.toString();
  }

  private static String[] list(String text, String separator) {
    return text.isEmpty() ? new String[0] : text.split(separator);
  }
}
