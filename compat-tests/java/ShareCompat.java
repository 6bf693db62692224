// The Java client in share groups, and Kafka's own tool on them. Prints TAP.

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.UUID;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ListShareGroupOffsetsSpec;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.tools.consumer.group.ShareGroupCommand;

public final class ShareCompat {
    private static final String SERVERS = System.getenv().getOrDefault("KAFKA", "localhost:9092");

    public static void main(String[] args) {
        Tap.test("share group reads everything once, implicitly acknowledged", ShareCompat::implicit);
        Tap.test("two share consumers divide one partition", ShareCompat::two);
        Tap.test("accepted, released and rejected one by one", ShareCompat::explicit);
        Tap.test("what a closed consumer had is another's", ShareCompat::closed);
        Tap.test("a record released too often is given up", ShareCompat::tooOften);
        Tap.test("kafka-share-groups describes, resets and deletes", ShareCompat::tool);
        Tap.done();
        System.exit(0);
    }

    private static Map<String, Object> kafka(Map<String, Object> more) {
        Map<String, Object> settings = new HashMap<>(more);
        settings.put("bootstrap.servers", SERVERS);
        return settings;
    }

    private static String topic(int partitions) throws Exception {
        String name = "share-" + UUID.randomUUID().toString().substring(0, 8);
        try (Admin admin = Admin.create(kafka(Map.of()))) {
            admin.createTopics(List.of(new NewTopic(name, partitions, (short) 1))).all().get(20, TimeUnit.SECONDS);
        }
        return name;
    }

    /// One record a batch, so that a consumer's share is what it asks for.
    private static void produce(String topic, int partitions, int from, int to) throws Exception {
        try (var producer = new KafkaProducer<>(kafka(Map.of("linger.ms", 0)), new StringSerializer(), new StringSerializer())) {
            for (int i = from; i < to; i++) {
                producer.send(new ProducerRecord<>(topic, i % partitions, null, String.valueOf(i))).get(20, TimeUnit.SECONDS);
            }
        }
    }

    private static KafkaShareConsumer<String, String> member(String group, Map<String, Object> more) {
        Map<String, Object> settings = kafka(Map.of("group.id", group));
        settings.putAll(more);
        var consumer = new KafkaShareConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
        consumer.subscribe(Set.of(group));
        return consumer;
    }

    private interface Take {
        void take(ConsumerRecord<String, String> record);
    }

    private static void poll(List<KafkaShareConsumer<String, String>> members, Take take, BooleanSupplier until) {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
        while (!until.getAsBoolean()) {
            if (System.nanoTime() > deadline) {
                throw new AssertionError("it did not come about");
            }
            for (var member : members) {
                member.poll(Duration.ofMillis(50)).forEach(take::take);
            }
        }
    }

    /// A share group begins at the end of the log: unless that can be changed, what is produced before it has begun is
    /// not its.
    private static void begin(String group, int partitions, List<KafkaShareConsumer<String, String>> members) throws Exception {
        try (Admin admin = Admin.create(kafka(Map.of()))) {
            var earliest = new AlterConfigOp(new ConfigEntry("share.auto.offset.reset", "earliest"), AlterConfigOp.OpType.SET);
            var resource = new ConfigResource(ConfigResource.Type.GROUP, group);
            try {
                admin.incrementalAlterConfigs(Map.of(resource, List.of(earliest))).all().get(20, TimeUnit.SECONDS);
                return;
            } catch (ExecutionException unsupported) {
                // Then it is told where it is.
            }
            poll(members, record -> {}, () -> {
                try {
                    var known = admin.listShareGroupOffsets(Map.of(group, new ListShareGroupOffsetsSpec()))
                        .partitionsToOffsetInfo(group).get(20, TimeUnit.SECONDS);
                    return known.values().stream().filter(offset -> offset != null).count() == partitions;
                } catch (Exception notYet) {
                    return false;
                }
            });
        }
    }

    private static void expectAll(int number, List<Integer> got) {
        List<Integer> expected = new ArrayList<>();
        for (int i = 0; i < number; i++) {
            expected.add(i);
        }
        Collections.sort(got);
        Tap.expect(expected, got);
    }

    private static void implicit() throws Exception {
        String topic = topic(3);
        List<Integer> got = new ArrayList<>();
        try (var reader = member(topic, Map.of())) {
            begin(topic, 3, List.of(reader));
            produce(topic, 3, 0, 60);
            poll(List.of(reader), record -> got.add(Integer.valueOf(record.value())), () -> got.size() >= 60);
            reader.commitSync();
        }
        try (var reader = member(topic, Map.of())) {
            produce(topic, 3, 60, 63);
            poll(List.of(reader), record -> got.add(Integer.valueOf(record.value())), () -> got.size() >= 63);
        }
        expectAll(63, got);
    }

    private static void two() throws Exception {
        String topic = topic(1);
        List<Integer> got = new ArrayList<>();
        Set<Integer> shares = new HashSet<>();
        Map<String, Object> few = Map.of("max.poll.records", 5, "share.acquire.mode", "record_limit");
        try (var first = member(topic, few); var second = member(topic, few)) {
            begin(topic, 1, List.of(first));
            produce(topic, 1, 0, 60);
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
            while (got.size() < 60 && System.nanoTime() < deadline) {
                int at = 0;
                for (var member : List.of(first, second)) {
                    at++;
                    for (ConsumerRecord<String, String> record : member.poll(Duration.ofMillis(200))) {
                        got.add(Integer.valueOf(record.value()));
                        shares.add(at);
                    }
                }
            }
        }
        expectAll(60, got);
        Tap.expect(Set.of(1, 2), shares);
    }

    private static void explicit() throws Exception {
        String topic = topic(1);
        Map<String, List<Integer>> counts = new TreeMap<>();
        try (var reader = member(topic, Map.of("share.acknowledgement.mode", "explicit"))) {
            begin(topic, 1, List.of(reader));
            produce(topic, 1, 0, 3);
            poll(List.of(reader), record -> {
                counts.computeIfAbsent(record.value(), value -> new ArrayList<>()).add((int) record.deliveryCount().get());
                boolean again = record.value().equals("1") && record.deliveryCount().get() < 3;
                var type = record.value().equals("2") ? AcknowledgeType.REJECT : again ? AcknowledgeType.RELEASE : AcknowledgeType.ACCEPT;
                reader.acknowledge(record, type);
            }, () -> counts.getOrDefault("1", List.of()).size() == 3);
            reader.commitSync(Duration.ofSeconds(10)).values().forEach(failure -> Tap.expect(true, failure.isEmpty()));
        }
        Tap.expect(Map.of("0", List.of(1), "1", List.of(1, 2, 3), "2", List.of(1)), counts);
    }

    private static void closed() throws Exception {
        String topic = topic(1);
        List<Integer> had = new ArrayList<>();
        List<Integer> got = new ArrayList<>();
        var reader = member(topic, Map.of("share.acknowledgement.mode", "explicit"));
        begin(topic, 1, List.of(reader));
        produce(topic, 1, 0, 5);
        poll(List.of(reader), record -> {
            had.add(Integer.valueOf(record.value()));
            reader.acknowledge(record, AcknowledgeType.RELEASE);
        }, () -> had.size() >= 5);
        reader.close();
        try (var other = member(topic, Map.of())) {
            poll(List.of(other), record -> got.add(Integer.valueOf(record.value())), () -> got.size() >= 5);
        }
        expectAll(5, got);
    }

    private static void tooOften() throws Exception {
        String topic = topic(1);
        List<String> got = new ArrayList<>();
        try (var reader = member(topic, Map.of("share.acknowledgement.mode", "explicit"))) {
            begin(topic, 1, List.of(reader));
            produce(topic, 1, 0, 1);
            poll(List.of(reader), record -> {
                got.add(record.value() + "/" + record.deliveryCount().get());
                reader.acknowledge(record, AcknowledgeType.RELEASE);
            }, () -> got.size() >= 5);
            produce(topic, 1, 7, 8);
            poll(List.of(reader), record -> {
                got.add(record.value() + "/" + record.deliveryCount().get());
                reader.acknowledge(record, AcknowledgeType.ACCEPT);
            }, () -> got.size() >= 6);
        }
        Tap.expect(List.of("0/1", "0/2", "0/3", "0/4", "0/5", "7/1"), got);
    }

    /// What kafka-share-groups.sh prints, its columns one space apart.
    private static String groups(String... arguments) {
        return Tap.printed(ShareGroupCommand::main, SERVERS, arguments);
    }

    private static void tool() throws Exception {
        String topic = topic(1);
        List<Integer> got = new ArrayList<>();
        try (var reader = member(topic, Map.of("client.id", "reader"))) {
            begin(topic, 1, List.of(reader));
            produce(topic, 1, 0, 5);
            poll(List.of(reader), record -> got.add(Integer.valueOf(record.value())), () -> got.size() >= 5);
            reader.commitSync();
            produce(topic, 1, 5, 7);
            Tap.expectLine("^" + topic + " " + topic + " 0 \\S+ \\d+ 2", groups("--describe", "--group", topic, "--verbose"));
            Tap.expectLine("^" + topic + " \\S+ Stable 1", groups("--describe", "--group", topic, "--state").replaceAll("\\(1\\) ", ""));
            Tap.expectLine("^" + topic + " \\S+ /127.0.0.1 reader", groups("--describe", "--group", topic, "--members"));
            Tap.expectLine("^" + topic + " Stable", groups("--list", "--state"));
        }
        Tap.expectLine("^" + topic + " " + topic + " 0 0", groups("--reset-offsets", "--to-earliest", "--group", topic, "--topic", topic, "--execute"));
        got.clear();
        try (var reader = member(topic, Map.of())) {
            poll(List.of(reader), record -> got.add(Integer.valueOf(record.value())), () -> got.size() >= 7);
        }
        expectAll(7, got);
        Tap.expectLine("^" + topic + " Successful", groups("--delete-offsets", "--group", topic, "--topic", topic));
        Tap.expectLine("Deletion of requested share groups \\('" + topic + "'\\) was successful", groups("--delete", "--group", topic));
    }
}
