import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.util.HexFormat;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;

/**
 * Asks Apache Kafka's own code. "NAME VERSION HEX" is a message to be read and written again: the answer is the hex of
 * what Kafka wrote, or a word and the reason why it did not. "errors" is answered with the table of errors on one line.
 */
public class KafkaAnswers {
  private static final String[] CLASS_NAMES = {
    "org.apache.kafka.common.message.%sData",
    "org.apache.kafka.common.message.%s",
    "org.apache.kafka.common.metadata.%s",
    "org.apache.kafka.coordinator.group.generated.%s",
    "org.apache.kafka.coordinator.transaction.generated.%s",
    "org.apache.kafka.coordinator.share.generated.%s",
  };

  public static void main(String[] arguments) throws Exception {
    BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
    PrintStream output = new PrintStream(System.out, false);
    for (String line = input.readLine(); line != null; line = input.readLine()) {
      output.println(line.equals("errors") ? errors() : echo(line.split(" ", -1)));
    }
    output.flush();
  }

  private static String errors() {
    StringBuilder table = new StringBuilder();
    for (Errors error : Errors.values()) {
      boolean isRetriable = error.exception() instanceof RetriableException;
      table.append(error.code()).append(' ').append(error.name()).append(' ').append(isRetriable).append(',');
    }
    return table.toString();
  }

  private static String echo(String[] words) {
    return echo(words[0], Short.parseShort(words[1]), HexFormat.of().parseHex(words[2]));
  }

  private static String echo(String name, short version, byte[] bytes) {
    try {
      Message message = newMessage(name);
      ByteBuffer source = ByteBuffer.wrap(bytes);
      message.read(new ByteBufferAccessor(source), version);
      if (source.hasRemaining()) return "unread: " + source.remaining() + " bytes of " + message;
      ObjectSerializationCache cache = new ObjectSerializationCache();
      ByteBuffer target = ByteBuffer.allocate(message.size(cache, version));
      message.write(new ByteBufferAccessor(target), cache, version);
      return HexFormat.of().formatHex(target.array());
    } catch (Exception failure) {
      return "failed: " + failure;
    }
  }

  private static Message newMessage(String name) throws ReflectiveOperationException {
    for (String pattern : CLASS_NAMES) {
      try {
        return (Message) Class.forName(String.format(pattern, name)).getDeclaredConstructor().newInstance();
      } catch (ClassNotFoundException absent) {
        // Perhaps under the next name.
      }
    }
    throw new ClassNotFoundException(name);
  }
}
