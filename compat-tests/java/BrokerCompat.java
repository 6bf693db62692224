// What the broker promises, through the Java client: recovery of connections and topology, RPC, confirms, alternate
// exchanges, consumer priorities, x-death. Prints TAP.

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.AlreadyClosedException;
import com.rabbitmq.client.BuiltinExchangeType;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.GetResponse;
import com.rabbitmq.client.MessageProperties;
import com.rabbitmq.client.PossibleAuthenticationFailureException;
import com.rabbitmq.client.Recoverable;
import com.rabbitmq.client.RecoveryListener;
import com.rabbitmq.client.Return;
import com.rabbitmq.client.RpcClient;
import com.rabbitmq.client.RpcClientParams;
import com.rabbitmq.client.RpcServer;
import com.rabbitmq.client.ShutdownSignalException;
import java.io.Closeable;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.UUID;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;

public final class BrokerCompat {
    interface Action {
        void on(Channel channel) throws Exception;
    }

    private static final long PATIENCE_S = 15;

    public static void main(String[] args) {
        Tap.test("broker topology recovery after a cut", BrokerCompat::topologyRecovery);
        Tap.test("broker unacknowledged deliveries after a cut", BrokerCompat::redelivery);
        Tap.test("broker rpc client and server", () -> rpc(false));
        Tap.test("broker rpc over direct reply-to", () -> rpc(true));
        Tap.test("broker confirms by callbacks, with nacks", BrokerCompat::confirms);
        Tap.test("broker a return comes before its ack", BrokerCompat::returns);
        Tap.test("broker alternate exchange", BrokerCompat::alternateExchange);
        Tap.test("broker exchanges bound to exchanges, headers", BrokerCompat::exchanges);
        Tap.test("broker consumer priorities", BrokerCompat::consumerPriorities);
        Tap.test("broker message priorities", BrokerCompat::messagePriorities);
        Tap.test("broker x-death through a cycle", BrokerCompat::death);
        Tap.test("broker single active consumer", BrokerCompat::singleActiveConsumer);
        Tap.test("broker quorum queue with a delivery limit", BrokerCompat::quorum);
        Tap.test("broker stream from an offset", BrokerCompat::stream);
        Tap.test("broker consumers are cancelled with their queue", BrokerCompat::cancel);
        Tap.test("broker queue lease", BrokerCompat::expires);
        Tap.test("broker transactions", BrokerCompat::transactions);
        Tap.test("broker qos by bytes is refused", BrokerCompat::notImplemented);
        Tap.test("broker errors name code, text and method", BrokerCompat::errors);
        Tap.test("broker authentication failure", BrokerCompat::authentication);
        Tap.done();
        System.exit(0);
    }

    private static void expect(Object expected, Object found) {
        // Texts in tables come as LongString, which equals no String.
        Object plain = found == null || found instanceof Number || found instanceof Boolean || found instanceof List ? found : found.toString();
        if (!Objects.equals(expected, plain)) {
            throw new AssertionError("expected " + expected + ", found " + found);
        }
    }

    private static ConnectionFactory factory() throws Exception {
        ConnectionFactory factory = new ConnectionFactory();
        factory.setUri(System.getenv().getOrDefault("AMQP_URL", "amqp://guest:guest@localhost:5672"));
        factory.setNetworkRecoveryInterval(100);
        return factory;
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static String text(byte[] body) {
        return new String(body, StandardCharsets.UTF_8);
    }

    private static String unique(String name) {
        return "java-" + name + "-" + UUID.randomUUID();
    }

    private static String declare(Channel channel, String queue, Map<String, Object> arguments) throws IOException {
        return channel.queueDeclare(queue, false, true, true, arguments).getQueue();
    }

    private static BlockingQueue<Delivery> consume(Channel channel, String queue, boolean autoAck, Map<String, Object> arguments) throws IOException {
        BlockingQueue<Delivery> got = new LinkedBlockingQueue<>();
        channel.basicConsume(queue, autoAck, arguments, (tag, delivery) -> got.add(delivery), tag -> {});
        return got;
    }

    private static <T> T next(BlockingQueue<T> from) throws InterruptedException {
        T value = from.poll(PATIENCE_S, TimeUnit.SECONDS);
        if (value == null) {
            throw new AssertionError("nothing came");
        }
        return value;
    }

    /** The next message, whenever it comes: each question is a round trip, which is pace enough. */
    private static GetResponse poll(Channel channel, String queue) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_S);
        while (System.nanoTime() < deadline) {
            GetResponse got = channel.basicGet(queue, true);
            if (got != null) {
                return got;
            }
        }
        throw new AssertionError("nothing came to " + queue);
    }

    /** A socket between the client and the broker that can be cut. */
    private static final class Proxy implements Closeable {
        final ServerSocket listener = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
        final List<Socket> sockets = Collections.synchronizedList(new ArrayList<>());
        final URI upstream;

        Proxy() throws Exception {
            upstream = new URI(System.getenv().getOrDefault("AMQP_URL", "amqp://guest:guest@localhost:5672"));
            start(() -> {
                while (true) {
                    Socket client = listener.accept();
                    Socket server = new Socket(upstream.getHost(), upstream.getPort() < 0 ? 5672 : upstream.getPort());
                    sockets.add(client);
                    sockets.add(server);
                    start(() -> copy(client, server));
                    start(() -> copy(server, client));
                }
            });
        }

        interface Body {
            void run() throws IOException;
        }

        static void start(Body body) {
            Thread thread = new Thread(() -> {
                try {
                    body.run();
                } catch (IOException ended) {
                    // Cut, which is what it is for.
                }
            });
            thread.setDaemon(true);
            thread.start();
        }

        static void copy(Socket from, Socket to) throws IOException {
            try (from; to) {
                InputStream in = from.getInputStream();
                OutputStream out = to.getOutputStream();
                byte[] buffer = new byte[65_536];
                for (int count; (count = in.read(buffer)) >= 0; ) {
                    out.write(buffer, 0, count);
                }
            }
        }

        void cut() throws IOException {
            synchronized (sockets) {
                for (Socket socket : sockets) {
                    socket.close();
                }
                sockets.clear();
            }
        }

        ConnectionFactory factory() throws Exception {
            ConnectionFactory factory = BrokerCompat.factory();
            factory.setHost("127.0.0.1");
            factory.setPort(listener.getLocalPort());
            return factory;
        }

        @Override
        public void close() throws IOException {
            listener.close();
            cut();
        }
    }

    /** Counts down when the connection has recovered, its topology included. */
    private static CountDownLatch recovered(Connection connection) {
        CountDownLatch latch = new CountDownLatch(1);
        ((Recoverable) connection).addRecoveryListener(new RecoveryListener() {
            @Override
            public void handleRecovery(Recoverable recoverable) {
                latch.countDown();
            }

            @Override
            public void handleRecoveryStarted(Recoverable recoverable) {}
        });
        return latch;
    }

    private static void await(CountDownLatch latch) throws InterruptedException {
        if (!latch.await(PATIENCE_S, TimeUnit.SECONDS)) {
            throw new AssertionError("it never recovered");
        }
    }

    private static void topologyRecovery() throws Exception {
        try (Proxy proxy = new Proxy(); Connection connection = proxy.factory().newConnection()) {
            Channel channel = connection.createChannel();
            String exchange = unique("exchange");
            channel.exchangeDeclare(exchange, BuiltinExchangeType.TOPIC, false, true, null);
            // A server-named queue gets another name after the recovery, and its binding and consumer follow.
            String queue = channel.queueDeclare().getQueue();
            channel.queueBind(queue, exchange, "a.*");
            channel.basicQos(1);
            BlockingQueue<Delivery> got = consume(channel, queue, true, null);
            for (int i = 0; i < 3; i++) {
                CountDownLatch latch = recovered(connection);
                proxy.cut();
                await(latch);
                channel.basicPublish(exchange, "a.b", null, bytes("after " + i));
                expect("after " + i, text(next(got).getBody()));
            }
            channel.confirmSelect();
            channel.basicPublish(exchange, "a.b", null, bytes("confirmed"));
            channel.waitForConfirmsOrDie(PATIENCE_S * 1000);
        }
    }

    private static void redelivery() throws Exception {
        try (Proxy proxy = new Proxy(); Connection connection = proxy.factory().newConnection()) {
            Channel channel = connection.createChannel();
            String queue = unique("work");
            channel.queueDeclare(queue, true, false, false, null);
            channel.basicPublish("", queue, MessageProperties.PERSISTENT_TEXT_PLAIN, bytes("x"));
            BlockingQueue<Delivery> got = consume(channel, queue, false, null);
            expect(false, next(got).getEnvelope().isRedeliver());
            CountDownLatch latch = recovered(connection);
            proxy.cut();
            await(latch);
            Delivery again = next(got);
            expect(true, again.getEnvelope().isRedeliver());
            channel.basicAck(again.getEnvelope().getDeliveryTag(), false);
            channel.queueDelete(queue);
        }
    }

    private static void rpc(boolean direct) throws Exception {
        try (Connection connection = factory().newConnection()) {
            String queue = declare(connection.createChannel(), unique("rpc"), null);
            RpcServer server = new RpcServer(connection.createChannel(), queue) {
                @Override
                public byte[] handleCall(byte[] request, AMQP.BasicProperties properties) {
                    return bytes("re: " + text(request));
                }
            };
            Proxy.start(server::mainloop);
            Channel channel = connection.createChannel();
            RpcClientParams parameters = new RpcClientParams().channel(channel).exchange("").routingKey(queue).timeout(15_000).useMandatory();
            parameters.replyTo(direct ? "amq.rabbitmq.reply-to" : declare(channel, unique("replies"), null));
            RpcClient client = new RpcClient(parameters);
            for (int i = 0; i < 20; i++) {
                expect("re: " + i, client.stringCall(String.valueOf(i)));
            }
            client.close();
            server.terminateMainloop();
        }
    }

    private static void confirms() throws Exception {
        try (Connection connection = factory().newConnection(); Channel channel = connection.createChannel()) {
            String queue = declare(channel, unique("confirms"), Map.of("x-max-length", 300, "x-overflow", "reject-publish"));
            channel.confirmSelect();
            AtomicInteger acked = new AtomicInteger();
            AtomicInteger nacked = new AtomicInteger();
            CountDownLatch all = new CountDownLatch(500);
            long[] lowest = {1};
            channel.addConfirmListener((tag, multiple) -> count(acked, all, lowest, tag, multiple), (tag, multiple) -> count(nacked, all, lowest, tag, multiple));
            for (int i = 0; i < 500; i++) {
                channel.basicPublish("", queue, MessageProperties.PERSISTENT_BASIC, bytes(String.valueOf(i)));
            }
            await(all);
            expect(300, acked.get());
            expect(200, nacked.get());
        }
    }

    private static final java.util.Set<Long> settled = Collections.synchronizedSet(new java.util.HashSet<>());

    /** `multiple` speaks for every lower tag that was not answered yet. */
    private static void count(AtomicInteger counter, CountDownLatch all, long[] lowest, long tag, boolean multiple) {
        for (long each = multiple ? lowest[0] : tag; each <= tag; each++) {
            if (settled.add(each)) {
                counter.incrementAndGet();
                all.countDown();
            }
        }
        while (settled.contains(lowest[0])) {
            lowest[0]++;
        }
    }

    private static void returns() throws Exception {
        try (Connection connection = factory().newConnection(); Channel channel = connection.createChannel()) {
            BlockingQueue<String> events = new LinkedBlockingQueue<>();
            channel.addReturnListener((Return lost) -> events.add("return " + lost.getReplyCode() + " " + lost.getReplyText() + " " + text(lost.getBody())));
            channel.addConfirmListener((tag, multiple) -> events.add("ack " + tag), (tag, multiple) -> events.add("nack " + tag));
            channel.confirmSelect();
            channel.basicPublish("", unique("missing"), true, null, bytes("lost"));
            expect("return 312 NO_ROUTE lost", next(events));
            expect("ack 1", next(events));
        }
    }

    private static void alternateExchange() throws Exception {
        try (Connection connection = factory().newConnection(); Channel channel = connection.createChannel()) {
            String name = unique("alternate");
            channel.exchangeDeclare(name + "-other", "fanout", false, true, null);
            channel.exchangeDeclare(name, "direct", false, false, Map.of("alternate-exchange", name + "-other"));
            String queue = declare(channel, name, null);
            channel.queueBind(queue, name + "-other", "");
            channel.basicPublish(name, "nowhere", true, null, bytes("caught"));
            GetResponse got = poll(channel, queue);
            expect("caught", text(got.getBody()));
            expect(name, got.getEnvelope().getExchange());
            expect("nowhere", got.getEnvelope().getRoutingKey());
            channel.exchangeDelete(name);
        }
    }

    private static void exchanges() throws Exception {
        try (Connection connection = factory().newConnection(); Channel channel = connection.createChannel()) {
            String name = unique("exchanges");
            channel.exchangeDeclare(name + "-headers", "headers", false, true, true, null);
            channel.exchangeDeclare(name, "fanout", false, true, null);
            channel.exchangeBind(name + "-headers", name, "");
            String queue = declare(channel, name, null);
            channel.queueBind(queue, name + "-headers", "", Map.of("x-match", "all", "n", 1, "s", "text"));
            channel.basicPublish(name, "", new AMQP.BasicProperties.Builder().headers(Map.of("n", 1)).build(), bytes("no"));
            channel.basicPublish(name, "", new AMQP.BasicProperties.Builder().headers(Map.of("n", 1, "s", "text", "more", true)).build(), bytes("yes"));
            expect("yes", text(poll(channel, queue).getBody()));
            expect(0L, channel.messageCount(queue));
            refused(connection, 403, "ACCESS_REFUSED - cannot publish to internal exchange '" + name + "-headers' in vhost '/'", 60, 40, c -> {
                c.basicPublish(name + "-headers", "", null, bytes("x"));
                c.queueDeclare();
            });
        }
    }

    private static void consumerPriorities() throws Exception {
        try (Connection connection = factory().newConnection(); Channel channel = connection.createChannel()) {
            String queue = declare(channel, unique("priorities"), null);
            channel.basicQos(2);
            BlockingQueue<Delivery> low = consume(channel, queue, false, null);
            BlockingQueue<Delivery> high = consume(channel, queue, false, Map.of("x-priority", 10));
            for (int i = 0; i < 4; i++) {
                channel.basicPublish("", queue, null, bytes(String.valueOf(i)));
            }
            // The higher one first, and the lower one when that is full.
            expect("0", text(next(high).getBody()));
            expect("1", text(next(high).getBody()));
            expect("2", text(next(low).getBody()));
            expect("3", text(next(low).getBody()));
        }
    }

    private static void messagePriorities() throws Exception {
        try (Connection connection = factory().newConnection(); Channel channel = connection.createChannel()) {
            String queue = declare(channel, unique("priorities"), Map.of("x-max-priority", 5));
            channel.confirmSelect();
            for (int priority : new int[] {1, 5, 0, 9, 3}) {
                channel.basicPublish("", queue, new AMQP.BasicProperties.Builder().priority(priority).build(), bytes(String.valueOf(priority)));
            }
            channel.waitForConfirmsOrDie(PATIENCE_S * 1000);
            // What is above the maximum counts as the maximum.
            for (String expected : List.of("5", "9", "3", "1", "0")) {
                expect(expected, text(poll(channel, queue).getBody()));
            }
        }
    }

    @SuppressWarnings("unchecked")
    private static void death() throws Exception {
        try (Connection connection = factory().newConnection(); Channel channel = connection.createChannel()) {
            String work = unique("work");
            String retry = unique("retry");
            declare(channel, work, Map.of("x-dead-letter-exchange", "", "x-dead-letter-routing-key", retry));
            declare(channel, retry, Map.of("x-dead-letter-exchange", "", "x-dead-letter-routing-key", work, "x-message-ttl", 50));
            BlockingQueue<Delivery> got = consume(channel, work, false, null);
            channel.basicPublish("", work, null, bytes("x"));
            for (long round = 0; round < 3; round++) {
                Delivery delivery = next(got);
                Map<String, Object> headers = delivery.getProperties().getHeaders();
                if (round > 0) {
                    List<Map<String, Object>> deaths = (List<Map<String, Object>>) headers.get("x-death");
                    expect(2, deaths.size());
                    // The newest first.
                    expect(retry, deaths.get(0).get("queue"));
                    expect("expired", deaths.get(0).get("reason"));
                    expect(work, deaths.get(1).get("queue"));
                    expect("rejected", deaths.get(1).get("reason"));
                    for (Map<String, Object> death : deaths) {
                        expect(round, death.get("count"));
                        expect("", death.get("exchange"));
                    }
                    expect("rejected", headers.get("x-first-death-reason"));
                    expect(work, headers.get("x-first-death-queue"));
                }
                channel.basicReject(delivery.getEnvelope().getDeliveryTag(), false);
            }
        }
    }

    private static void singleActiveConsumer() throws Exception {
        try (Connection connection = factory().newConnection(); Channel channel = connection.createChannel()) {
            String queue = declare(channel, unique("single"), Map.of("x-single-active-consumer", true));
            Channel first = connection.createChannel();
            BlockingQueue<Delivery> active = consume(first, queue, true, null);
            BlockingQueue<Delivery> waiting = consume(channel, queue, true, null);
            for (int i = 0; i < 3; i++) {
                channel.basicPublish("", queue, null, bytes("x"));
                next(active);
            }
            first.close();
            channel.basicPublish("", queue, null, bytes("y"));
            expect("y", text(next(waiting).getBody()));
        }
    }

    @SuppressWarnings("unchecked")
    private static void quorum() throws Exception {
        try (Connection connection = factory().newConnection(); Channel channel = connection.createChannel()) {
            String queue = unique("quorum");
            String dead = declare(channel, unique("dead"), null);
            channel.queueDeclare(queue, true, false, false,
                Map.of("x-queue-type", "quorum", "x-delivery-limit", 2, "x-dead-letter-exchange", "", "x-dead-letter-routing-key", dead));
            try {
                channel.basicPublish("", queue, MessageProperties.PERSISTENT_BASIC, bytes("x"));
                BlockingQueue<Delivery> got = consume(channel, queue, false, null);
                for (long i = 0; i < 3; i++) {
                    Delivery delivery = next(got);
                    Map<String, Object> headers = delivery.getProperties().getHeaders();
                    if (i > 0) {
                        expect(i, ((Number) headers.get("x-delivery-count")).longValue());
                    }
                    channel.basicNack(delivery.getEnvelope().getDeliveryTag(), false, true);
                }
                List<Map<String, Object>> deaths = (List<Map<String, Object>>) poll(channel, dead).getProps().getHeaders().get("x-death");
                expect("delivery_limit", deaths.get(0).get("reason"));
            } finally {
                channel.queueDelete(queue);
            }
        }
    }

    private static void stream() throws Exception {
        try (Connection connection = factory().newConnection(); Channel channel = connection.createChannel()) {
            String queue = unique("stream");
            channel.queueDeclare(queue, true, false, false, Map.of("x-queue-type", "stream"));
            try {
                channel.confirmSelect();
                for (int i = 0; i < 5; i++) {
                    channel.basicPublish("", queue, null, bytes(String.valueOf(i)));
                }
                channel.waitForConfirmsOrDie(PATIENCE_S * 1000);
                channel.basicQos(10);
                BlockingQueue<Delivery> got = consume(channel, queue, false, Map.of("x-stream-offset", 3));
                for (long offset = 3; offset < 5; offset++) {
                    Delivery delivery = next(got);
                    expect(String.valueOf(offset), text(delivery.getBody()));
                    expect(offset, delivery.getProperties().getHeaders().get("x-stream-offset"));
                    channel.basicAck(delivery.getEnvelope().getDeliveryTag(), false);
                }
            } finally {
                channel.queueDelete(queue);
            }
        }
    }

    private static void cancel() throws Exception {
        try (Connection connection = factory().newConnection(); Channel channel = connection.createChannel()) {
            String queue = declare(channel, unique("cancel"), null);
            BlockingQueue<String> cancelled = new LinkedBlockingQueue<>();
            channel.basicConsume(queue, true, "the-tag", (tag, delivery) -> {}, cancelled::add);
            connection.createChannel().queueDelete(queue);
            expect("the-tag", next(cancelled));
        }
    }

    private static void expires() throws Exception {
        try (Connection connection = factory().newConnection(); Channel channel = connection.createChannel()) {
            String queue = unique("lease");
            String idle = unique("idle");
            for (String leased : List.of(queue, idle)) {
                channel.queueDeclare(leased, false, false, false, Map.of("x-expires", 300));
            }
            String tag = channel.basicConsume(queue, true, (t, delivery) -> {}, t -> {});
            awaitGone(connection, idle);
            // Used all the time: it is there.
            channel.queueDeclarePassive(queue);
            channel.basicCancel(tag);
            awaitGone(connection, queue);
            refused(connection, 404, "NOT_FOUND - no queue '" + queue + "' in vhost '/'", 50, 10, c -> c.queueDeclarePassive(queue));
        }
    }

    /** Publishes until a message for the queue comes back; asking for it by a declaration would renew its lease. */
    private static void awaitGone(Connection connection, String queue) throws Exception {
        try (Channel channel = connection.createChannel()) {
            AtomicBoolean returned = new AtomicBoolean();
            channel.addReturnListener(message -> returned.set(true));
            channel.confirmSelect();
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_S);
            while (!returned.get()) {
                expect(true, System.nanoTime() < deadline);
                channel.basicPublish("", queue, true, null, bytes("there?"));
                channel.waitForConfirmsOrDie(PATIENCE_S * 1000);
            }
        }
    }

    private static void transactions() throws Exception {
        try (Connection connection = factory().newConnection(); Channel channel = connection.createChannel()) {
            String queue = declare(channel, unique("tx"), null);
            channel.txSelect();
            channel.basicPublish("", queue, null, bytes("undone"));
            channel.txRollback();
            channel.basicPublish("", queue, null, bytes("done"));
            expect(null, channel.basicGet(queue, true));
            channel.txCommit();
            GetResponse got = poll(channel, queue);
            expect("done", text(got.getBody()));
            channel.txCommit();
            refused(connection, 406, "PRECONDITION_FAILED - cannot switch from tx to confirm mode", 85, 10, c -> {
                c.txSelect();
                c.confirmSelect();
            });
        }
    }

    private static void notImplemented() throws Exception {
        Connection connection = factory().newConnection();
        try {
            connection.createChannel().basicQos(10, 1, false);
            throw new AssertionError("no error came");
        } catch (IOException refused) {
            AMQP.Connection.Close close = (AMQP.Connection.Close) ((ShutdownSignalException) refused.getCause()).getReason();
            expect(540, close.getReplyCode());
            expect("NOT_IMPLEMENTED - prefetch_size!=0 (10)", close.getReplyText());
        }
        try {
            connection.createChannel();
            throw new AssertionError("the connection is still open");
        } catch (AlreadyClosedException closed) {
            // As it must be.
        }
    }

    /** An action closes its channel with exactly this. */
    private static void refused(Connection connection, int code, String reason, int classId, int methodId, Action action) throws Exception {
        Channel channel = connection.createChannel();
        try {
            action.on(channel);
            throw new AssertionError("no error came instead of " + reason);
        } catch (IOException | ShutdownSignalException refusal) {
            Throwable cause = refusal instanceof ShutdownSignalException ? refusal : refusal.getCause();
            AMQP.Channel.Close close = (AMQP.Channel.Close) ((ShutdownSignalException) cause).getReason();
            expect(reason, close.getReplyText());
            expect(code, close.getReplyCode());
            expect(classId, close.getClassId());
            expect(methodId, close.getMethodId());
        }
    }

    private static void errors() throws Exception {
        try (Connection connection = factory().newConnection()) {
            String missing = unique("missing");
            String noQueue = "NOT_FOUND - no queue '" + missing + "' in vhost '/'";
            refused(connection, 404, noQueue, 60, 70, c -> c.basicGet(missing, true));
            refused(connection, 404, noQueue, 50, 30, c -> c.queuePurge(missing));
            refused(connection, 404, "NOT_FOUND - no exchange '" + missing + "' in vhost '/'", 40, 10, c -> c.exchangeDeclarePassive(missing));
            refused(connection, 406, "PRECONDITION_FAILED - unknown delivery tag 9", 60, 80, c -> {
                c.basicAck(9, false);
                c.queueDeclare();
            });
            refused(connection, 403, "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'", 50, 10, c -> declare(c, "amq.mine", null));
            refused(connection, 406, "PRECONDITION_FAILED - reply consumer cannot acknowledge", 60, 20, c -> consume(c, "amq.rabbitmq.reply-to", false, null));
        }
    }

    private static void authentication() throws Exception {
        ConnectionFactory factory = factory();
        factory.setPassword("wrong");
        try {
            factory.newConnection();
            throw new AssertionError("it was let in");
        } catch (PossibleAuthenticationFailureException refused) {
            // With the capability, the refusal comes as a connection.close with its text.
            expect("ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.", refused.getMessage());
        }
    }
}
