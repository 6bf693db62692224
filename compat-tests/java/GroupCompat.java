// The Java client in groups of the newer protocols, and Kafka's own tools on them. Prints TAP.

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.tools.consumer.group.ConsumerGroupCommand;

public final class GroupCompat {
    private static final String SERVERS = System.getenv().getOrDefault("KAFKA", "localhost:9092");

    public static void main(String[] args) {
        Tap.test("consumer group shares and takes over", GroupCompat::sharing);
        Tap.test("consumer group subscribes by pattern", GroupCompat::pattern);
        Tap.test("consumer group follows a growing number of topics", GroupCompat::topicsThatCome);
        Tap.test("a rolling upgrade from classic to consumer and back loses and repeats nothing", GroupCompat::upgrade);
        Tap.test("kafka-consumer-groups describes, resets and deletes", GroupCompat::tool);
        Tap.done();
        System.exit(0);
    }

    private static Map<String, Object> kafka(Map<String, Object> more) {
        Map<String, Object> settings = new HashMap<>(more);
        settings.put("bootstrap.servers", SERVERS);
        return settings;
    }

    private static String topic(int partitions) throws Exception {
        String name = "groups-" + UUID.randomUUID().toString().substring(0, 8);
        create(name, partitions);
        return name;
    }

    private static void create(String name, int partitions) throws Exception {
        try (Admin admin = Admin.create(kafka(Map.of()))) {
            admin.createTopics(List.of(new NewTopic(name, partitions, (short) 1))).all().get(20, TimeUnit.SECONDS);
        }
    }

    private static void produce(String topic, int from, int to) {
        try (var producer = new KafkaProducer<>(kafka(Map.of()), new StringSerializer(), new StringSerializer())) {
            for (int i = from; i < to; i++) {
                producer.send(new ProducerRecord<>(topic, i % 3, null, String.valueOf(i)));
            }
        }
    }

    private static KafkaConsumer<String, String> member(String group, Map<String, Object> more) {
        Map<String, Object> settings = kafka(Map.of("group.id", group, "group.protocol", "consumer", "auto.offset.reset", "earliest"));
        settings.putAll(more);
        return new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    }

    /** Polls all in turn until the condition holds, and adds what they got. */
    private static void poll(List<? extends Consumer<String, String>> members, List<Integer> got, BooleanSupplier until) {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(40);
        while (!until.getAsBoolean()) {
            if (System.nanoTime() > deadline) {
                List<Object> assigned = new ArrayList<>();
                members.forEach(member -> assigned.add(member.assignment()));
                throw new AssertionError("got " + got.size() + ", assigned " + assigned);
            }
            for (var member : members) {
                for (ConsumerRecord<String, String> record : member.poll(Duration.ofMillis(20))) {
                    got.add(Integer.valueOf(record.value()));
                }
            }
        }
    }

    private static List<Integer> assigned(List<? extends Consumer<String, String>> members) {
        List<Integer> counts = new ArrayList<>();
        members.forEach(member -> counts.add(member.assignment().size()));
        Collections.sort(counts);
        return counts;
    }

    private static void expectAll(int number, List<Integer> got) {
        List<Integer> expected = new ArrayList<>();
        for (int i = 0; i < number; i++) {
            expected.add(i);
        }
        Collections.sort(got);
        Tap.expect(expected, got);
    }

    private static void sharing() throws Exception {
        String topic = topic(3);
        List<Integer> got = new ArrayList<>();
        try (var second = member(topic, Map.of())) {
            try (var first = member(topic, Map.of())) {
                var both = List.of(first, second);
                both.forEach(member -> member.subscribe(Set.of(topic)));
                poll(both, got, () -> assigned(both).equals(List.of(1, 2)));
                produce(topic, 0, 60);
                poll(both, got, () -> got.size() >= 60);
            }
            produce(topic, 60, 90);
            poll(List.of(second), got, () -> got.size() >= 90);
        }
        expectAll(90, got);
    }

    private static void pattern() throws Exception {
        String topic = topic(3);
        List<Integer> got = new ArrayList<>();
        try (var reader = member(topic, Map.of())) {
            reader.subscribe(new SubscriptionPattern(topic + ".*"));
            poll(List.of(reader), got, () -> reader.assignment().size() == 3);
            create(topic + "-later", 3);
            produce(topic + "-later", 0, 9);
            poll(List.of(reader), got, () -> got.size() >= 9);
        }
        expectAll(9, got);
    }

    private static void topicsThatCome() throws Exception {
        String topic = "groups-" + UUID.randomUUID().toString().substring(0, 8);
        List<Integer> got = new ArrayList<>();
        try (var reader = member(topic, Map.of("allow.auto.create.topics", "false"))) {
            reader.subscribe(Set.of(topic));
            reader.poll(Duration.ofMillis(500));
            create(topic, 3);
            produce(topic, 0, 9);
            poll(List.of(reader), got, () -> got.size() >= 9);
        }
        expectAll(9, got);
    }

    private static void upgrade() throws Exception {
        String topic = topic(3);
        List<Integer> got = new ArrayList<>();
        Map<String, Object> classic = Map.of("group.protocol", "classic", "session.timeout.ms", 6000, "heartbeat.interval.ms", 300,
            "partition.assignment.strategy", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor");
        try (var old = member(topic, classic)) {
            old.subscribe(Set.of(topic));
            poll(List.of(old), got, () -> old.assignment().size() == 3);
            produce(topic, 0, 30);
            poll(List.of(old), got, () -> got.size() >= 30);
            try (var fresh = member(topic, Map.of())) {
                fresh.subscribe(Set.of(topic));
                var both = List.of(old, fresh);
                poll(both, got, () -> assigned(both).equals(List.of(1, 2)));
                produce(topic, 30, 60);
                poll(both, got, () -> got.size() >= 60);
            }
            poll(List.of(old), got, () -> old.assignment().size() == 3);
            produce(topic, 60, 90);
            poll(List.of(old), got, () -> got.size() >= 90);
        }
        expectAll(90, got);
    }

    /** What kafka-consumer-groups.sh prints, its columns one space apart. */
    private static String groups(String... arguments) {
        return Tap.printed(ConsumerGroupCommand::main, SERVERS, arguments);
    }

    private static void tool() throws Exception {
        String topic = topic(3);
        produce(topic, 0, 9);
        List<Integer> got = new ArrayList<>();
        Set<String> seen = new HashSet<>();
        try (var reader = member(topic, Map.of("client.id", "reader"))) {
            reader.subscribe(Set.of(topic));
            poll(List.of(reader), got, () -> got.size() >= 9);
            reader.commitSync();
            produce(topic, 0, 3);
            Tap.expectLine("^" + topic + " " + topic + " 0 3 4 1 \\S+ /127.0.0.1 reader", groups("--describe", "--group", topic));
            Tap.expectLine("^" + topic + " \\S+ \\(1\\) uniform Stable 1", groups("--describe", "--group", topic, "--state"));
            Tap.expectLine("^" + topic + " \\S+ /127.0.0.1 reader 3", groups("--describe", "--group", topic, "--members"));
            Tap.expectLine("^" + topic + " Consumer Stable", groups("--list", "--type", "--state").replace("\t", " "));
            Tap.expectLine("current state is Stable", groups("--reset-offsets", "--to-earliest", "--group", topic, "--topic", topic, "--execute"));
            seen.addAll(reader.subscription());
        }
        Tap.expect(Set.of(topic), seen);
        Tap.expectLine("^" + topic + " " + topic + " 0 0", groups("--reset-offsets", "--to-earliest", "--group", topic, "--topic", topic, "--execute"));
        Tap.expectLine("^" + topic + " " + topic + " 1 0 4 4", groups("--describe", "--group", topic));
        Tap.expectLine("^" + topic + " 2 Successful", groups("--delete-offsets", "--group", topic, "--topic", topic));
        Tap.expectLine("Deletion of requested consumer groups \\('" + topic + "'\\) was successful.", groups("--delete", "--group", topic));
    }
}
