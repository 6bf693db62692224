// Kafka Streams: the word count of its tutorial, and the same exactly once, with their default settings. Prints TAP.

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.LongDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;

public final class Streams {
    private static final String BROKER = System.getenv().getOrDefault("KAFKA", "localhost:9092");

    public static void main(String[] args) {
        Tap.test("streams word count", () -> wordCount("at_least_once"));
        Tap.test("streams word count exactly once", () -> wordCount("exactly_once_v2"));
        Tap.test("streams goes on after a restart of the application", Streams::restarted);
        Tap.test("streams windows and a join of two streams", Streams::joined);
        Tap.done();
        System.exit(0);
    }

    private static String made(String what, int partitions) throws Exception {
        String name = what + "-" + UUID.randomUUID();
        try (Admin admin = Admin.create(Map.<String, Object>of("bootstrap.servers", BROKER))) {
            admin.createTopics(List.of(new NewTopic(name, partitions, (short) 1))).all().get(20, TimeUnit.SECONDS);
        }
        return name;
    }

    private static Properties settings(String application, String guarantee) throws Exception {
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, application);
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, BROKER);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, guarantee);
        settings.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        settings.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
        settings.put("auto.offset.reset", "earliest");
        Path state = Files.createTempDirectory("streams");
        state.toFile().deleteOnExit();
        settings.put(StreamsConfig.STATE_DIR_CONFIG, state.toString());
        return settings;
    }

    private static void send(String topic, String... values) throws Exception {
        Map<String, Object> options = Map.of("bootstrap.servers", BROKER);
        try (var producer = new KafkaProducer<>(options, new StringSerializer(), new StringSerializer())) {
            for (String value : values) {
                producer.send(new ProducerRecord<>(topic, value, value)).get(20, TimeUnit.SECONDS);
            }
        }
    }

    /** The last value of each key, once they are what is expected. */
    private static void awaitTable(String topic, Map<String, Long> expected) {
        Map<String, Object> options = Map.of(
            "bootstrap.servers", BROKER, "group.id", UUID.randomUUID().toString(),
            "auto.offset.reset", "earliest", "isolation.level", "read_committed");
        Map<String, Long> table = new HashMap<>();
        try (var consumer = new KafkaConsumer<>(options, new StringDeserializer(), new LongDeserializer())) {
            consumer.subscribe(List.of(topic));
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
            while (!table.equals(expected)) {
                if (System.nanoTime() > deadline) {
                    throw new AssertionError("expected " + expected + ", found " + table);
                }
                consumer.poll(Duration.ofMillis(100)).forEach(record -> table.put(record.key(), record.value()));
            }
        }
    }

    private static Topology counting(String from, String to) {
        StreamsBuilder builder = new StreamsBuilder();
        builder.<String, String>stream(from)
            .flatMapValues(line -> Arrays.asList(line.toLowerCase().split("\\W+")))
            .groupBy((key, word) -> word)
            .count()
            .toStream()
            .to(to, Produced.with(Serdes.String(), Serdes.Long()));
        return builder.build();
    }

    private static void wordCount(String guarantee) throws Exception {
        String from = made("lines", 2), to = made("counts", 1);
        send(from, "all streams lead to kafka", "hello kafka streams");
        try (KafkaStreams streams = new KafkaStreams(counting(from, to), settings("wc-" + UUID.randomUUID(), guarantee))) {
            streams.start();
            awaitTable(to, Map.of("all", 1L, "streams", 2L, "lead", 1L, "to", 1L, "kafka", 2L, "hello", 1L));
        }
    }

    /** The state comes back from its changelog topic, and the input is not read twice. */
    private static void restarted() throws Exception {
        String from = made("lines", 1), to = made("counts", 1), application = "wc-" + UUID.randomUUID();
        send(from, "a b a");
        try (KafkaStreams streams = new KafkaStreams(counting(from, to), settings(application, "exactly_once_v2"))) {
            streams.start();
            awaitTable(to, Map.of("a", 2L, "b", 1L));
        }
        send(from, "a c");
        // A state directory of its own: nothing is left but the topics.
        try (KafkaStreams streams = new KafkaStreams(counting(from, to), settings(application, "exactly_once_v2"))) {
            streams.start();
            awaitTable(to, Map.of("a", 3L, "b", 1L, "c", 1L));
        }
    }

    private static void joined() throws Exception {
        String left = made("left", 1), right = made("right", 1), to = made("joined", 1);
        StreamsBuilder builder = new StreamsBuilder();
        KStream<String, String> one = builder.stream(left), other = builder.stream(right);
        one.join(other, (a, b) -> a + b, JoinWindows.ofTimeDifferenceWithNoGrace(Duration.ofMinutes(5)))
            .groupByKey()
            .windowedBy(TimeWindows.ofSizeWithNoGrace(Duration.ofDays(1)))
            .count()
            .toStream((window, count) -> window.key())
            .to(to, Produced.with(Serdes.String(), Serdes.Long()));
        send(left, "x", "y");
        send(right, "x", "z", "x");
        try (KafkaStreams streams = new KafkaStreams(builder.build(), settings("join-" + UUID.randomUUID(), "at_least_once"))) {
            streams.start();
            awaitTable(to, Map.of("x", 2L));
        }
    }
}
