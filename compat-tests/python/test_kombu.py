"""kombu over py-amqp: its own abstractions, and the errors it makes of the broker's."""

import socket
import threading
import uuid

import amqp.exceptions
import pytest
from conftest import wait_for
from kombu import Connection, Consumer, Exchange, Producer, Queue, pools
from kombu.common import Broadcast
from kombu.mixins import ConsumerMixin, ConsumerProducerMixin
from kombu.pidbox import Mailbox


@pytest.fixture
def open_connection(amqp_url):
    opened = []

    def make(**options):
        connection = Connection(amqp_url, connect_timeout=10, **options)
        opened.append(connection)
        connection.connect()
        return connection

    yield make
    for connection in opened:
        try:
            connection.close()
        except (OSError, amqp.exceptions.AMQPError):
            pass


@pytest.fixture
def kombu_connection(open_connection):
    return open_connection(transport_options={"confirm_publish": True})


def drain(connection, condition, seconds=10):
    """Reads until the condition holds."""

    def step():
        value = condition()
        if not value:
            try:
                connection.drain_events(timeout=0.05)
            except (socket.timeout, TimeoutError):
                pass
        return value

    return wait_for(step, seconds=seconds)


def take(connection, queue, number, **options):
    """The first messages of a queue, acknowledged."""
    got = []

    def on_message(message):
        message.ack()
        got.append(message)

    with Consumer(connection, [queue], on_message=on_message, accept=["json", "yaml", "pickle", "text/plain"], **options):
        drain(connection, lambda: len(got) >= number)
    return got


@pytest.mark.parametrize("compression", [None, "zlib", "bzip2"])
def test_json_goes_out_and_comes_back(kombu_connection, name, compression):
    queue = Queue(name, Exchange(name, type="direct", auto_delete=True), routing_key="key", exclusive=True)
    payload = {"text": "ä", "list": [1, 2.5, None, True], "deep": {"a": {"b": []}}}
    producer = Producer(kombu_connection)
    producer.publish(payload, exchange=queue.exchange, routing_key="key", declare=[queue], compression=compression, headers={"h": 1})
    (message,) = take(kombu_connection, queue, 1)
    assert message.payload == payload
    assert message.headers["h"] == 1
    assert message.delivery_info["exchange"] == name and message.delivery_info["routing_key"] == "key"


def test_simple_queues(kombu_connection, name):
    with kombu_connection.SimpleQueue(name) as queue:
        for i in range(5):
            queue.put({"n": i})
        assert queue.qsize() == 5
        got = [queue.get(timeout=5) for _ in range(5)]
        for message in got:
            message.ack()
        assert [message.payload["n"] for message in got] == list(range(5))
        with pytest.raises(queue.Empty):
            queue.get(block=False)
    with kombu_connection.SimpleBuffer(f"{name}-buffer") as buffer:
        buffer.put("gone with the consumer")
        assert buffer.get(timeout=5).payload == "gone with the consumer"
    kombu_connection.default_channel.queue_delete(name)


def test_fanout_topic_and_headers_exchanges(kombu_connection, name):
    channel = kombu_connection.channel()
    expected = {
        "fanout": [("", {}, {"1", "2", "3"})],
        "topic": [("a.b", {}, {"1", "3"}), ("x.y.z", {}, {"3"})],
        "headers": [("", {"a": 1}, {"1"}), ("", {"a": 1, "b": 2}, {"1", "2", "3"}), ("", {"c": 1}, set())],
    }
    bindings = {
        "fanout": [({}, ""), ({}, ""), ({}, "")],
        "topic": [({}, "a.*"), ({}, "*.c"), ({}, "#")],
        "headers": [({"x-match": "any", "a": 1}, ""), ({"x-match": "all", "a": 1, "b": 2}, ""), ({"x-match": "any", "b": 2}, "")],
    }
    for kind, messages in expected.items():
        exchange = Exchange(f"{name}-{kind}", type=kind, durable=False, auto_delete=True)
        queues = [
            Queue(f"{name}-{kind}-{i + 1}", exchange, routing_key=key, binding_arguments=arguments, exclusive=True)(channel)
            for i, (arguments, key) in enumerate(bindings[kind])
        ]
        for queue in queues:
            queue.declare()
        producer = Producer(channel, exchange)
        for key, headers, receivers in messages:
            producer.publish("x", routing_key=key, headers=headers)
            found = {queue.name.rsplit("-", 1)[1] for queue in queues if queue.get(no_ack=True)}
            assert found == receivers, (kind, key, headers)


def test_exchanges_bound_to_exchanges(kombu_connection, name):
    channel = kombu_connection.channel()
    outer = Exchange(f"{name}-outer", type="topic", durable=False, channel=channel)
    inner = Exchange(f"{name}-inner", type="fanout", durable=False, channel=channel)
    outer.declare()
    inner.declare()
    inner.bind_to(outer, routing_key="in.#")
    queue = Queue(name, inner, exclusive=True)(channel)
    queue.declare()
    producer = Producer(channel, outer)
    producer.publish("in", routing_key="in.side")
    producer.publish("out", routing_key="out.side")
    assert queue.get(no_ack=True).payload == "in"
    assert queue.get(no_ack=True) is None
    inner.unbind_from(outer, routing_key="in.#")
    producer.publish("in", routing_key="in.side")
    assert queue.get(no_ack=True) is None
    inner.delete()
    outer.delete()


def test_broadcasts_reach_every_consumer(kombu_connection, name):
    got = {"a": [], "b": []}
    consumers = []
    for who in got:
        consumer = Consumer(
            kombu_connection.channel(), [Broadcast(name, unique=True)], callbacks=[lambda body, message, who=who: got[who].append(body)]
        )
        consumer.consume(no_ack=True)
        consumers.append(consumer)
    Producer(kombu_connection).publish("to all", exchange=Exchange(name, type="fanout"))
    drain(kombu_connection, lambda: got["a"] and got["b"])
    assert got == {"a": ["to all"], "b": ["to all"]}


def test_a_mailbox_asks_many_and_gathers_answers(open_connection, name):
    """What celery's remote control is made of: a fanout exchange out, a direct exchange for replies."""
    mailbox = Mailbox(name, type="fanout")
    stop = threading.Event()

    def serve(host):
        connection = open_connection()
        node = mailbox(connection).Node(f"{host}@{name}", state={}, channel=connection.channel(), handlers={"who": lambda state, **_: host})
        with node.listen():
            ready.release()
            while not stop.is_set():
                try:
                    connection.drain_events(timeout=0.1)
                except (socket.timeout, TimeoutError):
                    pass

    ready = threading.Semaphore(0)
    threads = [threading.Thread(target=serve, args=[host], daemon=True) for host in ("one", "two")]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert ready.acquire(timeout=10)
    try:
        answers = mailbox(open_connection())._broadcast("who", reply=True, timeout=5, limit=2)
        assert sorted(answer for node in answers for answer in node.values()) == ["one", "two"]
        answers = mailbox(open_connection())._broadcast("who", destination=[f"two@{name}"], reply=True, timeout=5)
        assert answers == [{f"two@{name}": "two"}]
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_pools_hand_out_producers_and_connections(amqp_url, name):
    connection = Connection(amqp_url, transport_options={"confirm_publish": True})
    queue = Queue(name, Exchange(name, auto_delete=True), routing_key=name, durable=False)

    def publish(i):
        with pools.producers[connection].acquire(block=True) as producer:
            producer.publish({"n": i}, exchange=queue.exchange, routing_key=name, declare=[queue], retry=True)

    threads = [threading.Thread(target=publish, args=[i]) for i in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    with pools.connections[connection].acquire(block=True) as pooled:
        got = take(pooled, queue, 20)
        pooled.default_channel.queue_delete(name)
    assert sorted(message.payload["n"] for message in got) == list(range(20))
    pools.reset()


def test_heartbeats_keep_a_connection_and_their_lack_ends_it(open_connection):
    alive, silent = open_connection(heartbeat=2), open_connection(heartbeat=1)
    assert alive.connection.heartbeat == 2 and silent.connection.heartbeat == 1
    ended = []

    def beat_until_the_other_ended():
        alive.heartbeat_check(rate=4)
        try:
            alive.drain_events(timeout=0.2)
        except (socket.timeout, TimeoutError):
            pass
        try:
            silent.drain_events(timeout=0.05)
        except (socket.timeout, TimeoutError):
            pass
        except (OSError, amqp.exceptions.AMQPError):
            ended.append(True)
        return ended

    wait_for(beat_until_the_other_ended, seconds=15)
    alive.default_channel.queue_declare(exclusive=True)


def test_the_consumer_is_told_when_its_queue_goes(open_connection, name):
    connection = open_connection()
    queue = Queue(name, durable=False)
    with pytest.raises(amqp.exceptions.ConsumerCancelled):
        with Consumer(connection, [queue], callbacks=[lambda *_: None]):
            open_connection().default_channel.queue_delete(name)
            drain(connection, lambda: None, seconds=5)


def test_a_mixin_serves_calls(open_connection, amqp_url, name):
    class Server(ConsumerProducerMixin):
        def __init__(self):
            self.connection = Connection(amqp_url)
            self.ready = threading.Event()

        def get_consumers(self, Consumer, channel):
            return [Consumer([Queue(name, durable=False, auto_delete=True)], on_message=self.answer, prefetch_count=1)]

        def on_consume_ready(self, *_, **__):
            self.ready.set()

        def answer(self, message):
            self.producer.publish(
                message.payload["n"] * 2,
                exchange="",
                routing_key=message.properties["reply_to"],
                correlation_id=message.properties["correlation_id"],
                retry=True,
            )
            message.ack()

    server = Server()
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert server.ready.wait(10)
    connection = open_connection()
    replies = Queue(f"{name}-{uuid.uuid4()}", exclusive=True, auto_delete=True, durable=False)
    got = {}
    with Consumer(connection, [replies], on_message=lambda m: got.update({m.properties["correlation_id"]: m.payload}), no_ack=True):
        for i in range(10):
            Producer(connection).publish({"n": i}, exchange="", routing_key=name, reply_to=replies.name, correlation_id=str(i))
        drain(connection, lambda: len(got) == 10)
    assert got == {str(i): 2 * i for i in range(10)}
    server.should_stop = True
    thread.join(10)


def test_a_mixin_survives_a_connection_cut_by_heartbeat_loss(amqp_url, open_connection, name):
    """ConsumerMixin opens a new connection by itself, and what was unacknowledged comes again."""
    got = []

    class Reader(ConsumerMixin):
        def __init__(self):
            self.connection = Connection(amqp_url)

        def get_consumers(self, Consumer, channel):
            return [Consumer([Queue(name)], on_message=self.on_message, prefetch_count=1)]

        def on_message(self, message):
            got.append((message.payload, message.delivery_info["redelivered"]))
            if len(got) == 1:
                message.channel.connection.transport.sock.shutdown(socket.SHUT_RDWR)
            message.ack()

    reader = Reader()
    thread = threading.Thread(target=reader.run, daemon=True)
    thread.start()
    connection = open_connection()
    Producer(connection).publish("x", exchange="", routing_key=name, declare=[Queue(name)])
    wait_for(lambda: len(got) == 2, seconds=20)
    reader.should_stop = True
    thread.join(10)
    connection.default_channel.queue_delete(name)
    assert got == [("x", False), ("x", True)]


def test_prefetch_for_the_channel_and_for_the_consumer(open_connection, name):
    for apply_global in (False, True):
        connection = open_connection(transport_options={"confirm_publish": True})
        channel = connection.channel()
        queue = Queue(f"{name}-{apply_global}", exclusive=True)(channel)
        queue.declare()
        for i in range(5):
            Producer(channel).publish(i, exchange="", routing_key=queue.name)
        got = []
        channel.basic_qos(0, 2, apply_global)
        with Consumer(channel, [queue], on_message=got.append, accept=["json"]):
            drain(connection, lambda: len(got) == 2)
            got[0].ack()
            drain(connection, lambda: len(got) == 3)
            assert channel.queue_declare(queue.name, passive=True).message_count == 2


def test_unroutable_messages_are_returned(open_connection, name):
    connection = open_connection(transport_options={"confirm_publish": True})
    returned = []
    producer = Producer(connection, on_return=lambda *arguments: returned.append(arguments))
    producer.publish("lost", exchange="", routing_key=name, mandatory=True)
    drain(connection, lambda: returned)
    (error, exchange, key, message) = returned[0]
    assert (error.reply_code, exchange, key) == (312, "", name)
    assert message.body in (b"lost", "lost")


def test_queues_with_ttl_length_expiry_and_dead_letters(kombu_connection, name):
    channel = kombu_connection.channel()
    dead = Queue(f"{name}-dead", exclusive=True)(channel)
    work = Queue(
        f"{name}-work",
        exclusive=True,
        message_ttl=0.2,
        max_length=2,
        expires=60,
        queue_arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead.name},
    )(channel)
    dead.declare()
    work.declare()
    for i in range(3):
        Producer(channel).publish(i, exchange="", routing_key=work.name)
    got = take(kombu_connection, dead, 3)
    deaths = [(message.payload, message.headers["x-death"][0]["reason"]) for message in got]
    assert deaths == [(0, "maxlen"), (1, "expired"), (2, "expired")]
    assert got[0].headers["x-first-death-queue"] == work.name


def test_a_rejected_message_is_dead_lettered_and_a_requeued_one_comes_again(kombu_connection, name):
    channel = kombu_connection.channel()
    dead = Queue(f"{name}-dead", Exchange(name, type="fanout", auto_delete=True), exclusive=True)(channel)
    work = Queue(f"{name}-work", exclusive=True, queue_arguments={"x-dead-letter-exchange": name})(channel)
    dead.declare()
    work.declare()
    Producer(channel).publish("x", exchange="", routing_key=work.name)
    first = work.get()
    first.requeue()
    second = work.get()
    assert (first.delivery_info["redelivered"], second.delivery_info["redelivered"]) == (False, True)
    second.reject()
    (message,) = take(kombu_connection, dead, 1)
    assert message.headers["x-death"][0]["routing-keys"] == [work.name]
    assert message.headers["x-first-death-reason"] == "rejected"


def test_priorities(kombu_connection, name):
    channel = kombu_connection.channel()
    queue = Queue(name, exclusive=True, max_priority=10)(channel)
    queue.declare()
    for priority in [1, 7, 3, 10, 3, 0]:
        Producer(channel).publish(priority, exchange="", routing_key=name, priority=priority)
    assert [queue.get(no_ack=True).payload for _ in range(6)] == [10, 7, 3, 3, 1, 0]


@pytest.mark.parametrize(
    "error, text, action",
    [
        (amqp.exceptions.NotFound, "no queue 'missing-kombu' in vhost '/'", lambda c, n: c.queue_declare("missing-kombu", passive=True)),
        (amqp.exceptions.AccessRefused, "contains reserved prefix 'amq.", lambda c, n: c.exchange_declare("amq.kombu", "direct", passive=False)),
        (amqp.exceptions.PreconditionFailed, "inequivalent arg", lambda c, n: [c.exchange_declare(n, t, auto_delete=False) for t in ("direct", "topic")]),
    ],
    ids=["not-found", "access-refused", "precondition-failed"],
)
def test_errors_become_kombus_exceptions(open_connection, name, error, text, action):
    connection = open_connection()
    with pytest.raises(error, match=text):
        action(connection.channel(), name)
    open_connection().channel().exchange_delete(name)


def test_another_connections_exclusive_queue_is_locked(open_connection, name):
    Queue(name, exclusive=True)(open_connection().channel()).declare()
    with pytest.raises(amqp.exceptions.ResourceLocked):
        open_connection().channel().queue_declare(name, passive=True)


def test_a_transaction(kombu_connection, open_connection, name):
    channel = open_connection().channel()
    queue = Queue(name, exclusive=True)(channel)
    queue.declare()
    channel.tx_select()
    Producer(channel).publish("undone", exchange="", routing_key=name)
    channel.tx_rollback()
    Producer(channel).publish("done", exchange="", routing_key=name)
    assert queue.get() is None
    channel.tx_commit()
    assert queue.get(no_ack=True).payload == "done"
