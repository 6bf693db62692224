"""In which order messages leave, and who gets them: priorities, single active consumers, quorum queues."""

import pika
import pytest
from conftest import bodies, count, refused, wait_for


@pytest.fixture
def declared(connection):
    """Declares a durable queue of the test, which goes with it."""
    channel, names = connection.channel(), []

    def declare(name, **arguments):
        arguments = {"x-" + key.replace("_", "-"): value for key, value in arguments.items()}
        channel.queue_declare(name, durable=True, arguments=arguments)
        names.append(name)
        return name

    yield declare
    with pika.BlockingConnection(connection._impl.params) as another:
        for name in names:
            another.channel().queue_delete(name)


def publish(channel, queue, *messages):
    """Each (priority, body), confirmed."""
    channel.confirm_delivery()
    for priority, body in messages:
        channel.basic_publish("", queue, body, pika.BasicProperties(priority=priority))


def get(channel, queue):
    return wait_for(lambda: (message := channel.basic_get(queue))[0] and message)


def test_the_highest_priority_leaves_first(channel, declared, name):
    queue = declared(name, max_priority=5)
    publish(channel, queue, (1, b"low"), (None, b"none"), (3, b"a"), (9, b"above"), (5, b"max"), (3, b"b"))
    assert bodies(channel, queue) == [b"above", b"max", b"a", b"b", b"low", b"none"]


def test_a_full_queue_drops_the_highest_priority_first(channel, declared, name):
    queue = declared(name, max_priority=5, max_length=2)
    publish(channel, queue, (5, b"hi"), (1, b"lo"), (3, b"mid"))
    assert bodies(channel, queue) == [b"mid", b"lo"]


def test_what_expires_behind_a_higher_priority_waits_for_its_turn(channel, declared, name):
    queue = declared(name, max_priority=5)
    channel.confirm_delivery()
    expiring = pika.BasicProperties(priority=1, expiration="1")
    channel.basic_publish("", queue, b"stays", pika.BasicProperties(priority=2))
    channel.basic_publish("", queue, b"expires", expiring)
    channel.connection.sleep(0.1)
    assert count(channel, queue) == 2
    assert bodies(channel, queue) == [b"stays"]


def test_a_message_that_comes_back_is_where_it_was_in_its_priority(channel, declared, name):
    queue = declared(name, max_priority=5)
    publish(channel, queue, (1, b"a"), (1, b"b"), (2, b"c"))
    tags = [channel.basic_get(queue)[0].delivery_tag for _ in range(2)]
    for tag in reversed(tags):
        channel.basic_nack(tag, requeue=True)
    publish(channel, queue, (1, b"d"))
    assert bodies(channel, queue) == [b"c", b"a", b"b", b"d"]


def consumer(connect, queue, got, name, **options):
    channel = connect().channel()
    prefetch = options.pop("prefetch", 0)
    channel.basic_qos(prefetch_count=prefetch)
    channel.basic_consume(queue, lambda _, method, properties, body: got.append((name, body)), **options)
    return channel


def attend(channels, condition):
    """Until the condition is true, everybody reads."""

    def look():
        for channel in channels:
            channel.connection.process_data_events(0.01)
        return condition()

    wait_for(look)


def test_the_consumer_of_the_highest_priority_is_served_while_it_can_take_more(connect, channel, queue, name):
    # An exclusive queue has one connection: its consumers are on two channels of it.
    got = []
    low, high = channel.connection.channel(), channel.connection.channel()
    for number, (each, priority, prefetch) in enumerate([(low, 0, 0), (high, 10, 2)]):
        each.basic_qos(prefetch_count=prefetch)
        each.basic_consume(
            queue,
            lambda _, method, properties, body, number=number: got.append((number, body)),
            arguments={"x-priority": priority},
        )
    publish(channel, queue, *((None, str(n).encode()) for n in range(4)))
    wait_for(lambda: len(got) == 4, channel.connection)
    assert sorted(got) == [(0, b"2"), (0, b"3"), (1, b"0"), (1, b"1")]


def test_a_consumers_priority_is_a_number(channel, queue):
    refused(
        channel,
        406,
        f"PRECONDITION_FAILED - invalid arg 'x-priority' for queue '{queue}' in vhost '/': "
        '"expected integer, got longstr"',
        lambda: channel.basic_consume(queue, lambda *_: None, arguments={"x-priority": "high"}),
    )


def test_the_next_consumer_becomes_active_when_the_single_active_one_goes(connect, channel, declared, name):
    queue, got = declared(name, single_active_consumer=True), []
    first = consumer(connect, queue, got, "first")
    second = consumer(connect, queue, got, "second")
    publish(channel, queue, (None, b"1"), (None, b"2"))
    attend([first, second], lambda: len(got) == 2)
    assert {who for who, _ in got} == {"first"}
    got.clear()
    first.connection.close()
    attend([second], lambda: len(got) == 2)
    assert got == [("second", b"1"), ("second", b"2")]


def test_nobody_has_a_queue_with_a_single_active_consumer_to_himself(channel, declared, name):
    queue = declared(name, single_active_consumer=True)
    refused(
        channel,
        403,
        f"ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use",
        lambda: channel.basic_consume(queue, lambda *_: None, exclusive=True),
    )


@pytest.fixture
def quorum(declared, name):
    return lambda **arguments: declared(name, queue_type="quorum", **arguments)


def test_a_quorum_queue_counts_how_often_a_message_came_back(channel, quorum, version):
    queue = quorum()
    publish(channel, queue, (None, b"x"))
    seen = []
    for _ in range(3):
        method, properties, _ = get(channel, queue)
        seen.append(((properties.headers or {}).get("x-delivery-count"), method.redelivered))
        channel.basic_nack(method.delivery_tag, requeue=True)
    first = 0 if version < (4, 0) else None
    assert seen == [(first, False), (1, True), (2, True)]


def test_a_quorum_queue_gives_what_came_back_before_the_rest(channel, quorum, version):
    # Without a limit, which all have since 4.0, RabbitMQ 3 puts behind the rest what a client rejects.
    queue = quorum(delivery_limit=5) if version < (4, 0) else quorum()
    publish(channel, queue, (None, b"a"), (None, b"b"), (None, b"c"))
    methods = [get(channel, queue)[0] for _ in range(2)]
    for method in reversed(methods):
        channel.basic_nack(method.delivery_tag, requeue=True)
    # Getting may overtake returning in RabbitMQ.
    wait_for(lambda: count(channel, queue) == 3)
    order = [get(channel, queue)[2] for _ in range(3)]
    assert order == [b"b", b"a", b"c"]


def test_a_quorum_queue_drops_what_came_back_too_often(channel, quorum):
    queue = quorum(delivery_limit=1)
    publish(channel, queue, (None, b"x"), (None, b"y"))
    for _ in range(2):
        method, _, body = get(channel, queue)
        assert body == b"x"
        channel.basic_nack(method.delivery_tag, requeue=True)
    assert get(channel, queue)[2] == b"y"


@pytest.mark.parametrize(
    "options, property",
    [
        ({"durable": False}, "non-durable"),
        ({"durable": True, "exclusive": True}, "exclusive-owner"),
        ({"durable": True, "auto_delete": True}, "auto-delete"),
    ],
    ids=["transient", "exclusive", "auto-delete"],
)
def test_a_quorum_queue_is_durable_and_shared(channel, name, options, property):
    refused(
        channel,
        406,
        f"PRECONDITION_FAILED - invalid property '{property}' for queue '{name}' in vhost '/'",
        lambda: channel.queue_declare(name, arguments={"x-queue-type": "quorum"}, **options),
    )


def test_a_quorum_queue_has_a_name_of_its_own(channel):
    refused(
        channel,
        406,
        "PRECONDITION_FAILED - Cannot declare a server-named queue for type rabbit_quorum_queue",
        lambda: channel.queue_declare("", durable=True, arguments={"x-queue-type": "quorum"}),
    )


def test_a_quorum_queue_knows_no_shared_prefetch(channel, quorum):
    queue = quorum()
    channel.basic_qos(prefetch_count=1, global_qos=True)
    refused(
        channel,
        540,
        f"NOT_IMPLEMENTED - queue '{queue}' in vhost '/' does not support global qos",
        lambda: channel.basic_consume(queue, lambda *_: None),
        "connection",
    )


@pytest.mark.parametrize("flag", ["if_unused", "if_empty"])
def test_a_quorum_queue_is_deleted_without_conditions(channel, quorum, flag):
    queue = quorum()
    refused(
        channel,
        540,
        f"NOT_IMPLEMENTED - cannot delete queue '{queue}' in vhost '/'. queue.delete operations with "
        f"{flag.replace('_', '-')} flag set are not supported by quorum queues",
        lambda: channel.queue_delete(queue, **{flag: True}),
        "connection",
    )


def test_basic_get_has_no_place_beside_a_single_active_consumer_of_a_quorum_queue(channel, quorum):
    queue = quorum(single_active_consumer=True)
    refused(
        channel,
        405,
        f"RESOURCE_LOCKED - cannot obtain access to locked queue '{queue}' in vhost '/'. basic.get operations "
        "are not supported by quorum queues with single active consumer",
        lambda: channel.basic_get(queue),
    )


def test_an_argument_of_another_type_of_queue(channel, name):
    for kind, arg in [("classic", "x-max-age"), ("quorum", "x-max-priority"), ("classic", "x-delivery-limit")]:
        another = channel.connection.channel()
        refused(
            another,
            406,
            f"PRECONDITION_FAILED - invalid arg '{arg}' for queue '{name}' in vhost '/' "
            f"of queue type rabbit_{kind}_queue",
            lambda another=another, kind=kind, arg=arg: another.queue_declare(
                name, durable=True, arguments={"x-queue-type": kind, arg: 5}
            ),
        )
