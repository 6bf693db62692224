// The Java clients: hello and everyday use over AMQP and Kafka. Prints TAP.

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.MessageProperties;
import com.rabbitmq.client.ShutdownSignalException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public final class Compat {

    public static void main(String[] args) {
        Tap.test("amqp hello", Compat::amqpHello);
        Tap.test("amqp confirms and persistent messages", Compat::amqpConfirms);
        Tap.test("amqp errors name the reason", Compat::amqpErrors);
        Tap.test("kafka hello with a group", Compat::kafkaHello);
        Tap.test("kafka idempotent producer in order", Compat::kafkaOrder);
        Tap.test("kafka admin", Compat::kafkaAdmin);
        Tap.done();
        System.exit(0);
    }

    private static Connection connect() throws Exception {
        ConnectionFactory factory = new ConnectionFactory();
        factory.setUri(System.getenv().getOrDefault("AMQP_URL", "amqp://guest:guest@localhost:5672"));
        return factory.newConnection();
    }

    private static void amqpHello() throws Exception {
        try (Connection connection = connect(); Channel channel = connection.createChannel()) {
            channel.queueDeclare("hello", false, false, false, null);
            channel.basicPublish("", "hello", null, "Hello World!".getBytes(StandardCharsets.UTF_8));
            BlockingQueue<String> got = new ArrayBlockingQueue<>(10);
            channel.basicConsume("hello", true, (tag, delivery) -> got.add(new String(delivery.getBody(), StandardCharsets.UTF_8)), tag -> {});
            Tap.expect("Hello World!", got.poll(10, TimeUnit.SECONDS));
        }
    }

    private static void amqpConfirms() throws Exception {
        try (Connection connection = connect(); Channel channel = connection.createChannel()) {
            String queue = channel.queueDeclare().getQueue();
            channel.confirmSelect();
            for (int i = 0; i < 100; i++) {
                channel.basicPublish("", queue, MessageProperties.PERSISTENT_TEXT_PLAIN, String.valueOf(i).getBytes());
            }
            channel.waitForConfirmsOrDie(10_000);
            Tap.expect(100L, channel.messageCount(queue));
            for (int i = 0; i < 100; i++) {
                Tap.expect(String.valueOf(i), new String(channel.basicGet(queue, true).getBody()));
            }
        }
    }

    private static void amqpErrors() throws Exception {
        try (Connection connection = connect()) {
            Channel channel = connection.createChannel();
            try {
                channel.queueDeclarePassive("missing-java");
                throw new AssertionError("no error came");
            } catch (IOException refused) {
                AMQP.Channel.Close close = (AMQP.Channel.Close) ((ShutdownSignalException) refused.getCause()).getReason();
                Tap.expect(404, close.getReplyCode());
                Tap.expect("NOT_FOUND - no queue 'missing-java' in vhost '/'", close.getReplyText());
            }
        }
    }

    private static Properties kafka(Map<String, String> more) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", System.getenv().getOrDefault("KAFKA", "localhost:9092"));
        properties.putAll(more);
        return properties;
    }

    private static KafkaProducer<String, String> producer(Map<String, String> more) {
        return new KafkaProducer<>(kafka(more), new StringSerializer(), new StringSerializer());
    }

    private static List<ConsumerRecord<String, String>> read(String topic, int number) {
        Map<String, String> options = Map.of("group.id", UUID.randomUUID().toString(), "auto.offset.reset", "earliest");
        List<ConsumerRecord<String, String>> got = new ArrayList<>();
        try (var consumer = new KafkaConsumer<>(kafka(options), new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(List.of(topic));
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
            while (got.size() < number && System.nanoTime() < deadline) {
                consumer.poll(Duration.ofMillis(100)).forEach(got::add);
            }
            consumer.commitSync();
        }
        Tap.expect(number, got.size());
        return got;
    }

    private static void kafkaHello() throws Exception {
        String topic = "java-" + UUID.randomUUID();
        try (var producer = producer(Map.of())) {
            Tap.expect(0L, producer.send(new ProducerRecord<>(topic, "k", "Hello Kafka")).get(20, TimeUnit.SECONDS).offset());
        }
        ConsumerRecord<String, String> record = read(topic, 1).get(0);
        Tap.expect("k", record.key());
        Tap.expect("Hello Kafka", record.value());
    }

    private static void kafkaOrder() throws Exception {
        String topic = "java-" + UUID.randomUUID();
        try (var producer = producer(Map.of("enable.idempotence", "true", "compression.type", "lz4"))) {
            for (int i = 0; i < 2000; i++) {
                producer.send(new ProducerRecord<>(topic, String.valueOf(i)));
            }
            producer.flush();
        }
        List<ConsumerRecord<String, String>> got = read(topic, 2000);
        for (int i = 0; i < 2000; i++) {
            Tap.expect(String.valueOf(i), got.get(i).value());
            Tap.expect((long) i, got.get(i).offset());
        }
    }

    private static void kafkaAdmin() throws Exception {
        String topic = "java-" + UUID.randomUUID();
        try (Admin admin = Admin.create(kafka(Map.of()))) {
            admin.createTopics(List.of(new NewTopic(topic, 3, (short) 1))).all().get(20, TimeUnit.SECONDS);
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(20);
            while (!admin.listTopics().names().get().contains(topic) && System.nanoTime() < deadline) {
                Thread.onSpinWait();
            }
            Tap.expect(3, admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size());
            Tap.expect(1, admin.describeCluster().nodes().get().size());
            admin.deleteTopics(Set.of(topic)).all().get(20, TimeUnit.SECONDS);
        }
    }
}
