"""Fixtures of the Python suites.

The same tests run against Warren (addresses from the runner, main.rs) and, as an oracle, against the real brokers:

    WARREN_ORACLE_AMQP=amqp://guest:guest@127.0.0.1:5672/ WARREN_ORACLE_KAFKA=127.0.0.1:9092 pytest
    WARREN_ORACLE_REDIS=127.0.0.1:6379 pytest test_redis.py
"""

import json
import os
import sys
import time
import uuid

if sys.version_info >= (3, 12):
    # kafka-python 2.0.2 carries a six that Python 3.12 cannot import; newer ones carry none.
    try:
        import six

        sys.modules["kafka.vendor.six"] = six
        sys.modules["kafka.vendor.six.moves"] = six.moves
    except ImportError:
        pass

import pika
import pytest

ORACLE_AMQP = os.environ.get("WARREN_ORACLE_AMQP")
ORACLE_KAFKA = os.environ.get("WARREN_ORACLE_KAFKA")
ORACLE_REDIS = os.environ.get("WARREN_ORACLE_REDIS")
ORACLE = bool(ORACLE_AMQP or ORACLE_KAFKA or ORACLE_REDIS)


def pytest_collection_modifyitems(items):
    """Known gaps are strict: one that passes fails the run. `warren` tests say nothing about an oracle."""
    gaps = json.loads(os.environ.get("WARREN_KNOWN_GAPS", "{}"))
    for item in items:
        name = item.nodeid.split("/")[-1]
        if name in gaps:
            item.add_marker(pytest.mark.xfail(reason=gaps[name], strict=True))
        if ORACLE and item.get_closest_marker("warren"):
            item.add_marker(pytest.mark.skip(reason="the oracle is two brokers"))


@pytest.fixture(scope="session")
def amqp_url():
    url = ORACLE_AMQP or (None if ORACLE else os.environ.get("WARREN_AMQP"))
    if not url:
        pytest.skip("no AMQP broker given")
    return url


@pytest.fixture(scope="session")
def kafka_address():
    address = ORACLE_KAFKA or (None if ORACLE else os.environ.get("WARREN_KAFKA"))
    if not address:
        pytest.skip("no Kafka broker given")
    return address


@pytest.fixture(scope="session")
def redis_url():
    address = ORACLE_REDIS or (None if ORACLE else os.environ.get("WARREN_REDIS"))
    if not address:
        pytest.skip("no Redis given")
    return f"redis://{address}/0"


@pytest.fixture(scope="session")
def zmq_url():
    address = os.environ.get("WARREN_ZMQ")
    if not address:
        pytest.skip("no ZeroMQ door given")
    return f"tcp://{address}"


@pytest.fixture
def warren_zmq(tmp_path):
    """Makes a broker of the test's own; `mode`, `options` and a configuration `file` as the test wants it."""
    from broker import Broker

    brokers = []

    def start(mode="ack", options=(), file=""):
        (tmp_path / "warren.toml").write_text(file)
        options = ["--config", str(tmp_path / "warren.toml"), *options]
        brokers.append(Broker(tmp_path, *options, "--set", f"zmq.mapping.mode={mode}"))
        return brokers[-1]

    yield start
    for broker in brokers:
        broker.kill()


@pytest.fixture
def warren(request, tmp_path):
    """A durable broker of the test's own, which it may kill; `warren` tests only."""
    assert request.node.get_closest_marker("warren"), "mark the test with pytest.mark.warren"
    from broker import Broker

    broker = Broker(tmp_path)
    yield broker
    broker.kill()


@pytest.fixture
def name(request):
    """A name no other test uses."""
    return f"{request.node.originalname}-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def connect(amqp_url):
    """Opens connections that are closed with the test; keyword arguments set pika's parameters."""
    opened = []

    def open_one(**settings):
        parameters = pika.URLParameters(amqp_url)
        # The oracle on a loaded machine is slow, and a broken broker must not hang the suite.
        parameters.socket_timeout = 10
        parameters.stack_timeout = 15
        parameters.blocked_connection_timeout = 20
        for key, value in settings.items():
            setattr(parameters, key, value)
        opened.append(pika.BlockingConnection(parameters))
        return opened[-1]

    yield open_one
    for connection in opened:
        if connection.is_open:
            try:
                connection.close()
            except pika.exceptions.AMQPError:
                pass


@pytest.fixture
def connection(connect):
    return connect()


@pytest.fixture
def channel(connection):
    return connection.channel()


@pytest.fixture
def queue(channel):
    """An exclusive queue of the test."""
    return channel.queue_declare("", exclusive=True).method.queue


@pytest.fixture
def exchange(channel, name):
    """Declares an exchange of a type; deleted with the test."""
    made = []

    def declare(kind, suffix="", **options):
        channel.exchange_declare(name + suffix, kind, **options)
        made.append(name + suffix)
        return name + suffix

    yield declare
    if channel.connection.is_open:
        cleaner = channel if channel.is_open else channel.connection.channel()
        for one in made:
            cleaner.exchange_delete(one)


@pytest.fixture
def version(connection):
    """The version the broker gives, as RabbitMQ counts: behaviour differs between 3.10 and 4.2."""
    text = connection._impl.server_properties["version"]
    text = text.decode() if isinstance(text, bytes) else text
    return tuple(int(part) for part in text.split("-")[0].split(".")[:2])


def wait_for(condition, connection=None, seconds=10):
    """The condition's first true value; gives a connection the chance to read meanwhile."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, "the condition did not come true"
        if connection is not None:
            connection.process_data_events(time_limit=0.02)
        else:
            time.sleep(0.02)


def informed(consumer, *topics):
    """A kafka-python consumer that knows its topics before it joins its group. What it learns of them later makes it join again,
    and if a poll's time ends between the answers to that JoinGroup and its SyncGroup, kafka-python 3.0 never takes up what
    it was assigned."""
    wait_for(lambda: all(consumer.partitions_for_topic(topic) for topic in topics), seconds=20)
    return consumer


def count(channel, queue):
    """Ready messages of a queue."""
    return channel.queue_declare(queue, passive=True).method.message_count


def get_all(channel, queue, auto_ack=True):
    """Every ready message: (method, properties, body)."""
    messages = []
    while True:
        method, properties, body = channel.basic_get(queue, auto_ack=auto_ack)
        if method is None:
            return messages
        messages.append((method, properties, body))


def bodies(channel, queue):
    return [body for _, _, body in get_all(channel, queue)]


def receive(channel, queue, number, seconds=10, **options):
    """Consumes `number` messages, cancels, and returns (method, properties, body) of each."""
    got = []
    tag = channel.basic_consume(queue, lambda _, *message: got.append(message), **options)
    wait_for(lambda: len(got) >= number, channel.connection, seconds)
    channel.basic_cancel(tag)
    return got


def refused(channel, code, text, action, scope="channel"):
    """The action closes the channel or the connection with exactly this code and text."""
    expected = {
        "channel": pika.exceptions.ChannelClosedByBroker,
        "connection": pika.exceptions.ConnectionClosedByBroker,
    }[scope]
    with pytest.raises(expected) as caught:
        action()
        # An asynchronous method is refused only later: the answer to the next synchronous one.
        channel.queue_declare("", exclusive=True)
    assert (caught.value.reply_code, caught.value.reply_text) == (code, text)
