// Warren's Kafka door as the programs of this folder use it: topics, a producer, a reader of what is committed, and TAP.

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

final class Door {
    interface Test {
        void run() throws Exception;
    }

    static final String BROKER = System.getenv().getOrDefault("KAFKA", "localhost:9092");
    private static final long PATIENCE_SECONDS = 90;
    private static int number;

    private Door() {}

    static void test(String name, Test test) {
        number++;
        try {
            test.run();
            System.out.println("ok " + number + " - " + name);
        } catch (Throwable failure) {
            System.out.println("not ok " + number + " - " + name);
            failure.printStackTrace();
        }
    }

    static String topic(String what, int partitions) throws Exception {
        String name = what + "-" + UUID.randomUUID();
        try (Admin admin = Admin.create(Map.<String, Object>of("bootstrap.servers", BROKER))) {
            admin.createTopics(List.of(new NewTopic(name, partitions, (short) 1))).all().get(20, TimeUnit.SECONDS);
        }
        return name;
    }

    /** Where a group's next records are, over the partitions of a topic; 0 when it has committed nothing. */
    static long committed(String group, String topic) throws Exception {
        try (Admin admin = Admin.create(Map.<String, Object>of("bootstrap.servers", BROKER))) {
            var offsets = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get(20, TimeUnit.SECONDS);
            return offsets.entrySet().stream().filter(each -> each.getKey().topic().equals(topic) && each.getValue() != null)
                .mapToLong(each -> each.getValue().offset()).sum();
        }
    }

    static void send(String topic, List<String> values) throws Exception {
        Map<String, Object> options = Map.of("bootstrap.servers", BROKER);
        try (var producer = new KafkaProducer<>(options, new StringSerializer(), new StringSerializer())) {
            List<Future<?>> sent = new ArrayList<>();
            for (String value : values) {
                sent.add(producer.send(new ProducerRecord<>(topic, value)));
            }
            for (Future<?> one : sent) {
                one.get(20, TimeUnit.SECONDS);
            }
        }
    }

    /** Asks again and again; what is asked goes to the broker, which is pace enough. */
    static void eventually(String what, java.util.concurrent.Callable<Boolean> holds) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_SECONDS);
        while (!holds.call()) {
            if (System.nanoTime() > deadline) {
                throw new AssertionError(what + ": not within " + PATIENCE_SECONDS + " s");
            }
        }
    }

    /** Everything of a topic from its beginning on, as read_committed sees it. */
    static final class Reader implements AutoCloseable {
        final List<String> values = new ArrayList<>();
        private final KafkaConsumer<String, String> consumer;
        private final List<TopicPartition> partitions;

        Reader(String topic) {
            Map<String, Object> options =
                Map.of("bootstrap.servers", BROKER, "isolation.level", "read_committed", "enable.auto.commit", false);
            consumer = new KafkaConsumer<>(options, new StringDeserializer(), new StringDeserializer());
            partitions = consumer.partitionsFor(topic).stream().map(p -> new TopicPartition(topic, p.partition())).toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
        }

        /** Reads until what has come is enough. */
        void until(Predicate<List<String>> enough) {
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_SECONDS);
            while (!enough.test(values)) {
                if (System.nanoTime() > deadline) {
                    throw new AssertionError("not enough after " + PATIENCE_SECONDS + " s: " + values.size() + " records");
                }
                poll();
            }
        }

        /** Reads what is committed at this moment. */
        void toTheEnd() {
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            while (partitions.stream().anyMatch(partition -> consumer.position(partition) < ends.get(partition))) {
                poll();
            }
        }

        private void poll() {
            consumer.poll(Duration.ofMillis(100)).forEach(record -> values.add(record.value()));
        }

        @Override
        public void close() {
            consumer.close();
        }
    }
}
