// Flink's first tutorial with Kafka as it was written for years: FlinkKafkaConsumer, a map, FlinkKafkaProducer. These
// classes exist up to Flink 1.20 only. Prints TAP.

import java.util.List;
import java.util.Properties;
import java.util.stream.IntStream;
import org.apache.flink.api.common.serialization.SimpleStringSchema;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.core.execution.JobClient;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.connectors.kafka.FlinkKafkaConsumer;
import org.apache.flink.streaming.connectors.kafka.FlinkKafkaProducer;

@SuppressWarnings("deprecation")
public final class Processed {
    public static void main(String[] arguments) {
        Door.test("the old consumer and producer, without checkpoints", () -> processed(0));
        Door.test("the old consumer and producer, with checkpoints", () -> processed(200));
        Runtime.getRuntime().halt(0);
    }

    private static void processed(long checkpointMs) throws Exception {
        String from = Door.topic("input_topic", 1);
        // Nobody makes this one: the producer's first look at it does.
        String to = from.replace("input", "output");
        String group = "flink-group-" + from;
        Properties properties = new Properties();
        properties.setProperty("bootstrap.servers", Door.BROKER);
        properties.setProperty("group.id", group);
        properties.setProperty("auto.offset.reset", "earliest");
        properties.setProperty("auto.commit.interval.ms", "200");

        var env = StreamExecutionEnvironment.createLocalEnvironment(1, new Configuration());
        if (checkpointMs > 0) {
            env.enableCheckpointing(checkpointMs);
        }
        DataStream<String> input = env.addSource(new FlinkKafkaConsumer<>(from, new SimpleStringSchema(), properties));
        input.map(value -> "processed_" + value)
            .addSink(new FlinkKafkaProducer<>(to, new SimpleStringSchema(), properties));

        Door.send(from, numbers(0, 100));
        JobClient job = env.executeAsync("Kafka Flink Example");
        // So that the reader does not make the topic before the job does.
        Door.eventually("the job writes", () -> Door.committed(group, from) >= 100);
        try (var reader = new Door.Reader(to)) {
            Door.send(from, numbers(100, 200));
            reader.until(values -> values.size() >= 200);
            Door.eventually("the job commits its place", () -> Door.committed(group, from) == 200);
            job.cancel().get();
            reader.toTheEnd();
            List<String> expected = numbers(0, 200).stream().map(value -> "processed_" + value).toList();
            if (!reader.values.equals(expected)) {
                throw new AssertionError(reader.values);
            }
        }
    }

    private static List<String> numbers(int from, int until) {
        return IntStream.range(from, until).mapToObj(Integer::toString).toList();
    }
}
