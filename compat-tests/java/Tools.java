// Kafka's own tools, called as their scripts call them, all in one machine. Prints TAP.

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.UUID;
import kafka.admin.ConfigCommand;
import org.apache.kafka.common.utils.Exit;
import org.apache.kafka.tools.ClientCompatibilityTest;
import org.apache.kafka.tools.ConsoleProducer;
import org.apache.kafka.tools.GetOffsetShell;
import org.apache.kafka.tools.MetadataQuorumCommand;
import org.apache.kafka.tools.TopicCommand;
import org.apache.kafka.tools.TransactionalMessageCopier;
import org.apache.kafka.tools.VerifiableConsumer;
import org.apache.kafka.tools.VerifiableProducer;
import org.apache.kafka.tools.consumer.ConsoleConsumer;
import org.apache.kafka.tools.consumer.group.ConsumerGroupCommand;

public final class Tools {
    interface Main {
        void main(String[] arguments) throws Exception;
    }

    /** A tool wants to leave the machine. Some catch this, and want to leave again: the first time counts. */
    private static final class Left extends RuntimeException {
        static Integer status;

        Left(int with) {
            super("the tool has left", null, false, false);
            if (status == null) {
                status = with;
            }
        }
    }

    private static final String BROKER = System.getenv().getOrDefault("KAFKA", "localhost:9092");
    private static final PrintStream OUT = System.out;
    /** What the tool under way wants to have done when it leaves. */
    private static final List<Runnable> HOOKS = new ArrayList<>();

    public static void main(String[] args) {
        Exit.setExitProcedure((status, message) -> {
            throw new Left(status);
        });
        Exit.setHaltProcedure((status, message) -> {
            throw new Left(status);
        });
        Exit.setShutdownHookAdder((name, hook) -> HOOKS.add(hook));
        Tap.test("kafka-topics creates, describes, alters, lists and deletes", Tools::topics);
        Tap.test("kafka-console-producer and kafka-console-consumer", Tools::console);
        Tap.test("kafka-get-offsets", Tools::offsets);
        Tap.test("kafka-consumer-groups describes, resets and deletes", Tools::groups);
        Tap.test("kafka-configs changes brokers and their loggers", Tools::configs);
        Tap.test("kafka-metadata-quorum describes", Tools::quorum);
        Tap.test("kafka-verifiable-producer and -consumer", Tools::verifiable);
        Tap.test("kafka-verifiable-consumer with the consumer protocol", Tools::verifiableConsumerProtocol);
        Tap.test("the client compatibility test", Tools::compatibility);
        Tap.test("the transactional message copier", Tools::copier);
        System.setOut(OUT);
        Tap.done();
        Runtime.getRuntime().halt(0);
    }

    /** What a tool printed; it must not leave with an error. */
    private static String run(Main tool, String... arguments) throws Exception {
        return run(InputStream.nullInputStream(), tool, arguments);
    }

    private static String run(InputStream input, Main tool, String... arguments) throws Exception {
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        InputStream before = System.in;
        System.setIn(input);
        System.setOut(new PrintStream(printed, true, StandardCharsets.UTF_8));
        Left.status = null;
        try {
            tool.main(arguments);
        } catch (Left left) {
            // Its status says how.
        } finally {
            HOOKS.forEach(Runnable::run);
            HOOKS.clear();
            System.setOut(OUT);
            System.setIn(before);
        }
        String said = printed.toString(StandardCharsets.UTF_8);
        if (Left.status != null && Left.status != 0) {
            throw new AssertionError("it left with " + Left.status + ": " + said);
        }
        return said;
    }

    /** The same in a machine of its own: these tools say the rest while theirs shuts down. */
    private static String fork(Class<?> tool, String... arguments) throws Exception {
        List<String> command = new ArrayList<>(List.of("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"));
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), tool.getName()));
        command.addAll(List.of(arguments));
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        int status = process.waitFor();
        if (status != 0) {
            throw new AssertionError("it left with " + status + ": " + said);
        }
        return said;
    }

    private static void contains(String said, String part) {
        if (!said.contains(part)) {
            throw new AssertionError("no '" + part + "' in: " + said);
        }
    }

    private static String unique(String what) {
        return what + "-" + UUID.randomUUID();
    }

    private static String topic(String what, int partitions) throws Exception {
        String name = unique(what);
        run(TopicCommand::main, "--bootstrap-server", BROKER, "--create", "--topic", name, "--partitions", "" + partitions);
        return name;
    }

    private static void topics() throws Exception {
        String name = topic("tool", 3);
        String described = run(TopicCommand::main, "--bootstrap-server", BROKER, "--describe", "--topic", name);
        contains(described, "PartitionCount: 3");
        contains(described, "ReplicationFactor: 1");
        run(TopicCommand::main, "--bootstrap-server", BROKER, "--alter", "--topic", name, "--partitions", "5");
        contains(run(TopicCommand::main, "--bootstrap-server", BROKER, "--list"), name);
        contains(run(TopicCommand::main, "--bootstrap-server", BROKER, "--describe", "--topic", name), "PartitionCount: 5");
        run(TopicCommand::main, "--bootstrap-server", BROKER, "--delete", "--topic", name);
        String left = run(TopicCommand::main, "--bootstrap-server", BROKER, "--list");
        if (left.contains(name)) {
            throw new AssertionError(name + " is still there");
        }
    }

    private static void produce(String topic, String lines) throws Exception {
        InputStream input = new ByteArrayInputStream(lines.getBytes(StandardCharsets.UTF_8));
        run(input, ConsoleProducer::main, "--bootstrap-server", BROKER, "--topic", topic,
            "--property", "parse.key=true", "--property", "key.separator=:");
    }

    private static String consume(String topic, int number, String... more) throws Exception {
        String[] arguments = {
            "--bootstrap-server", BROKER, "--topic", topic, "--from-beginning", "--max-messages", "" + number,
            "--timeout-ms", "30000", "--property", "print.key=true", "--property", "key.separator=:",
        };
        String[] all = Arrays.copyOf(arguments, arguments.length + more.length);
        System.arraycopy(more, 0, all, arguments.length, more.length);
        return run(ConsoleConsumer::main, all);
    }

    private static void console() throws Exception {
        String topic = topic("console", 1);
        produce(topic, "a:one\nb:two\n");
        contains(consume(topic, 2), "a:one\nb:two\n");
        contains(consume(topic, 2, "--isolation-level", "read_committed", "--group", unique("group")), "b:two");
    }

    private static void offsets() throws Exception {
        String topic = topic("offsets", 2);
        produce(topic, "a:one\na:two\n");
        String latest = run(GetOffsetShell::main, "--bootstrap-server", BROKER, "--topic", topic);
        contains(latest, topic + ":0:");
        contains(latest, ":2");
        contains(run(GetOffsetShell::main, "--bootstrap-server", BROKER, "--topic", topic, "--time", "earliest"), ":1:0");
    }

    private static void groups() throws Exception {
        String topic = topic("grouped", 1), group = unique("group");
        produce(topic, "a:1\na:2\na:3\n");
        consume(topic, 2, "--group", group);
        String described = run(ConsumerGroupCommand::main, "--bootstrap-server", BROKER, "--describe", "--group", group);
        contains(described.replaceAll(" +", " "), group + " " + topic + " 0 2 3 1");
        run(ConsumerGroupCommand::main, "--bootstrap-server", BROKER, "--group", group, "--topic", topic,
            "--reset-offsets", "--to-earliest", "--execute");
        described = run(ConsumerGroupCommand::main, "--bootstrap-server", BROKER, "--describe", "--group", group);
        contains(described.replaceAll(" +", " "), group + " " + topic + " 0 0 3 3");
        contains(run(ConsumerGroupCommand::main, "--bootstrap-server", BROKER, "--list"), group);
        contains(run(ConsumerGroupCommand::main, "--bootstrap-server", BROKER, "--describe", "--group", group, "--state"), "Empty");
        run(ConsumerGroupCommand::main, "--bootstrap-server", BROKER, "--delete-offsets", "--group", group, "--topic", topic);
        contains(run(ConsumerGroupCommand::main, "--bootstrap-server", BROKER, "--delete", "--group", group), "successful");
    }

    private static String config(String kind, String... more) throws Exception {
        List<String> arguments = new ArrayList<>(List.of("--bootstrap-server", BROKER, "--entity-type", kind));
        arguments.addAll(List.of(more));
        return fork(ConfigCommand.class, arguments.toArray(String[]::new));
    }

    private static void configs() throws Exception {
        String topic = topic("configured", 1), large = "1000000000000";
        config("brokers", "--entity-name", "1", "--alter", "--add-config", "log.retention.ms=" + large + ",log.retention.bytes=" + large);
        config("brokers", "--entity-default", "--alter", "--add-config", "log.cleanup.policy=[delete]");
        String described = config("brokers", "--entity-name", "1", "--describe");
        contains(described, "log.retention.ms=" + large + " sensitive=false synonyms={DYNAMIC_BROKER_CONFIG:log.retention.ms=" + large
            + ", DEFAULT_CONFIG:log.retention.hours=168}");
        contains(config("brokers", "--entity-default", "--describe"),
            "log.cleanup.policy=delete sensitive=false synonyms={DYNAMIC_DEFAULT_BROKER_CONFIG:log.cleanup.policy=delete}");
        contains(config("topics", "--entity-name", topic, "--describe", "--all"), "retention.ms=" + large);
        config("brokers", "--entity-name", "1", "--alter", "--delete-config", "log.retention.ms,log.retention.bytes");
        config("brokers", "--entity-default", "--alter", "--delete-config", "log.cleanup.policy");
        if (config("brokers", "--entity-name", "1", "--describe").contains("log.retention")) {
            throw new AssertionError("a config is still set");
        }
        contains(config("brokers", "--entity-name", "1", "--describe", "--all"), "num.partitions=");
        contains(config("broker-loggers", "--entity-name", "1", "--describe"), "root=");
        config("broker-loggers", "--entity-name", "1", "--alter", "--add-config", "root=ERROR");
        contains(config("broker-loggers", "--entity-name", "1", "--describe"), "root=ERROR");
        config("broker-loggers", "--entity-name", "1", "--alter", "--add-config", "root=INFO");
    }

    private static void quorum() throws Exception {
        String status = run(MetadataQuorumCommand::main, "--bootstrap-server", BROKER, "describe", "--status");
        contains(status.replaceAll(" +", " "), "LeaderId: 1");
        if (status.replaceAll(" +", " ").contains("HighWatermark: 0")) {
            throw new AssertionError("a log without an end: " + status);
        }
        contains(run(MetadataQuorumCommand::main, "--bootstrap-server", BROKER, "describe", "--replication"), "Leader");
    }

    private static void verifiable() throws Exception {
        verify("classic");
    }

    private static void verifiableConsumerProtocol() throws Exception {
        verify("consumer");
    }

    private static void verify(String protocol) throws Exception {
        String topic = topic("verifiable", 1);
        String sent = fork(VerifiableProducer.class, "--bootstrap-server", BROKER, "--topic", topic, "--max-messages", "500");
        contains(sent, "\"acked\":500");
        String got = fork(VerifiableConsumer.class, "--bootstrap-server", BROKER, "--topic", topic, "--group-id", unique("group"),
            "--group-protocol", protocol, "--max-messages", "500", "--reset-policy", "earliest");
        contains(got, "\"name\":\"offsets_committed\"");
        contains(got, "\"offset\":500");
    }

    private static void compatibility() throws Exception {
        fork(ClientCompatibilityTest.class, "--bootstrap-server", BROKER, "--topic", topic("compatible", 1),
            "--offsets-for-times-supported", "true", "--cluster-id-supported", "true", "--expect-record-too-large-exception", "false",
            "--num-cluster-nodes", "1", "--create-topics-supported", "true", "--describe-acls-supported", "true",
            "--describe-configs-supported", "true", "--idempotent-producer-supported", "true");
    }

    private static void copier() throws Exception {
        String from = topic("copied", 1), to = topic("copy", 1);
        fork(VerifiableProducer.class, "--bootstrap-server", BROKER, "--topic", from, "--max-messages", "300");
        fork(TransactionalMessageCopier.class, "--broker-list", BROKER, "--input-topic", from, "--input-partition", "0",
            "--output-topic", to, "--consumer-group", unique("copier"), "--transactional-id", unique("copier"),
            "--max-messages", "300", "--transaction-size", "20", "--enable-random-aborts");
        Path options = Files.createTempFile("consumer", ".properties");
        Files.writeString(options, "isolation.level=read_committed\n");
        String got = fork(VerifiableConsumer.class, "--bootstrap-server", BROKER, "--topic", to, "--group-id", unique("group"),
            "--max-messages", "300", "--reset-policy", "earliest", "--command-config", options.toString());
        Files.delete(options);
        contains(got, "\"count\":");
    }
}
