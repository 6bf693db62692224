// KafkaSource -> map -> KafkaSink, with every delivery guarantee, through a failure in the middle of the stream. What a
// reader of committed records sees is compared with what went in. Prints TAP.
//
//     java -cp … Jobs at-least-once|exactly-once

import java.nio.file.Files;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.MapFunction;
import org.apache.flink.api.common.serialization.SimpleStringSchema;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.sink.TransactionNamingStrategy;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.core.execution.JobClient;
import org.apache.flink.core.execution.SavepointFormatType;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;

public final class Jobs {
    /** The record at which the map fails, once. */
    private static final int FAILS_AT = 550;
    private static final int CHUNK = 100;
    private static final int CHUNKS = 10;
    private static final AtomicInteger FAILURES = new AtomicInteger();

    public static void main(String[] arguments) {
        switch (arguments[0]) {
            case "at-least-once" ->
                Door.test("at least once", () -> throughAFailure(DeliveryGuarantee.AT_LEAST_ONCE, TransactionNamingStrategy.INCREMENTING));
            case "exactly-once" -> {
                Door.test("exactly once", () -> throughAFailure(DeliveryGuarantee.EXACTLY_ONCE, TransactionNamingStrategy.INCREMENTING));
                Door.test("exactly once, from a pool of transactional ids",
                    () -> throughAFailure(DeliveryGuarantee.EXACTLY_ONCE, TransactionNamingStrategy.POOLING));
            }
            default -> throw new IllegalArgumentException(arguments[0]);
        }
        Runtime.getRuntime().halt(0);
    }

    private static final class Processed implements MapFunction<String, String> {
        @Override
        public String map(String value) {
            if (Integer.parseInt(value) == FAILS_AT && FAILURES.compareAndSet(0, 1)) {
                throw new IllegalStateException("as the test asked");
            }
            return "processed_" + value;
        }
    }

    private static void throughAFailure(DeliveryGuarantee guarantee, TransactionNamingStrategy naming) throws Exception {
        FAILURES.set(0);
        String from = Door.topic("input_topic", 2), to = Door.topic("output_topic", 2);
        JobClient job = started(from, to, guarantee, naming);
        Set<String> expected = new HashSet<>();
        try (var reader = new Door.Reader(to)) {
            // Each chunk is committed before the next begins, so that the failure comes after some checkpoints.
            for (int chunk = 0; chunk < CHUNKS; chunk++) {
                List<String> values =
                    IntStream.range(chunk * CHUNK, (chunk + 1) * CHUNK).mapToObj(Integer::toString).toList();
                Door.send(from, values);
                values.forEach(value -> expected.add("processed_" + value));
                reader.until(seen -> seen.size() >= expected.size() && new HashSet<>(seen).containsAll(expected));
            }
            // Before it ends: what a job would commit with its last checkpoint may be dropped with its consumer.
            Door.eventually("the job's place is its group's", () -> Door.committed("group-" + from, from) == CHUNK * CHUNKS);
            job.stopWithSavepoint(false, Files.createTempDirectory("savepoint").toUri().toString(), SavepointFormatType.CANONICAL)
                .get();
            reader.toTheEnd();
            if (FAILURES.get() != 1) {
                throw new AssertionError("the map did not fail");
            }
            if (!new HashSet<>(reader.values).equals(expected)) {
                throw new AssertionError("others came than were sent: " + reader.values);
            }
            if (guarantee == DeliveryGuarantee.EXACTLY_ONCE && reader.values.size() != expected.size()) {
                throw new AssertionError(reader.values.size() + " records of " + expected.size());
            }
        }
    }

    private static JobClient started(String from, String to, DeliveryGuarantee guarantee, TransactionNamingStrategy naming)
        throws Exception {
        Configuration configuration = new Configuration();
        configuration.setString("restart-strategy.type", "fixed-delay");
        configuration.setString("restart-strategy.fixed-delay.attempts", "100");
        configuration.setString("restart-strategy.fixed-delay.delay", "100 ms");
        var env = StreamExecutionEnvironment.createLocalEnvironment(2, configuration);
        env.enableCheckpointing(200);
        KafkaSource<String> source = KafkaSource.<String>builder()
            .setBootstrapServers(Door.BROKER)
            .setTopics(from)
            .setGroupId("group-" + from)
            .setStartingOffsets(OffsetsInitializer.earliest())
            .setValueOnlyDeserializer(new SimpleStringSchema())
            .build();
        KafkaSink<String> sink = KafkaSink.<String>builder()
            .setBootstrapServers(Door.BROKER)
            .setRecordSerializer(KafkaRecordSerializationSchema.<String>builder()
                .setTopic(to)
                .setValueSerializationSchema(new SimpleStringSchema())
                .build())
            .setDeliveryGuarantee(guarantee)
            .setTransactionalIdPrefix("processed-" + to)
            .setTransactionNamingStrategy(naming)
            // Its own default of an hour is more than a broker allows.
            .setProperty("transaction.timeout.ms", "60000")
            .build();
        env.fromSource(source, WatermarkStrategy.noWatermarks(), "input").map(new Processed()).sinkTo(sink);
        return env.executeAsync("processed");
    }
}
