import java.util.HexFormat;
import java.util.UUID;
import org.apache.kafka.common.serialization.BooleanSerializer;
import org.apache.kafka.common.serialization.DoubleSerializer;
import org.apache.kafka.common.serialization.IntegerSerializer;
import org.apache.kafka.common.serialization.LongSerializer;
import org.apache.kafka.common.serialization.Serializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.common.serialization.UUIDSerializer;

/** What Java's own serializers write: a line "NAME VALUE HEX" for each of some values. */
public final class PlainSerializers {
    public static void main(String[] args) {
        for (int value : new int[] {0, 1, -1, Integer.MAX_VALUE, Integer.MIN_VALUE}) {
            print("int32", new IntegerSerializer(), value);
        }
        for (long value : new long[] {0, 1, -1, 1L << 40, -(1L << 53) + 1}) {
            print("int64", new LongSerializer(), value);
        }
        for (long value : new long[] {Long.MAX_VALUE, Long.MIN_VALUE}) {
            print("bigint64", new LongSerializer(), value);
        }
        for (double value : new double[] {0, -0.5, 1e300, Math.PI}) {
            print("float64", new DoubleSerializer(), value);
        }
        for (boolean value : new boolean[] {true, false}) {
            print("boolean", new BooleanSerializer(), value);
        }
        print("text", new StringSerializer(), "k\u00e4se-\ud83d\ude00");
        print("uuid", new UUIDSerializer(), UUID.fromString("6b1bd5f8-5b5c-4d1e-8a0b-0123456789ab"));
    }

    private static <T> void print(String name, Serializer<T> serializer, T value) {
        String shown = value instanceof String ? "text" : value.toString();
        System.out.println(name + " " + shown + " " + HexFormat.of().formatHex(serializer.serialize("orders", value)));
    }
}
