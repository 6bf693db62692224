"""Exchange types that RabbitMQ has as plugins, the event exchange, and delayed messages."""

import time
from collections import Counter

import pika
import pytest
from conftest import bodies, count, get_all, receive, refused, wait_for


@pytest.fixture
def queues(channel):
    return [channel.queue_declare("", exclusive=True).method.queue for _ in range(3)]


def counts(channel, queues):
    return [len(bodies(channel, queue)) for queue in queues]


def test_consistent_hash_spreads_by_weight_and_keeps_keys_together(channel, exchange, queues):
    name = exchange("x-consistent-hash")
    for queue, weight in zip(queues, ["1", "1", "4"]):
        channel.queue_bind(queue, name, weight)
    channel.confirm_delivery()
    for n in range(600):
        channel.basic_publish(name, f"key-{n % 300}", b"%d" % (n % 300), mandatory=True)
    got = [Counter(bodies(channel, queue)) for queue in queues]
    assert sum(sum(one.values()) for one in got) == 600
    assert all(seen == 2 for one in got for seen in one.values()), "a key goes one way"
    assert sum(got[2].values()) > sum(got[0].values()) + sum(got[1].values())


def test_consistent_hash_by_header_and_by_property(channel, exchange, queues):
    for suffix, arguments, properties in [
        ("-h", {"hash-header": "h"}, lambda n: pika.BasicProperties(headers={"h": f"value-{n}"})),
        ("-p", {"hash-property": "message_id"}, lambda n: pika.BasicProperties(message_id=f"value-{n}")),
    ]:
        name = exchange("x-consistent-hash", suffix, arguments=arguments)
        for queue in queues:
            channel.queue_bind(queue, name, "1")
        for n in range(60):
            channel.basic_publish(name, "the same", b"%d" % (n % 30), properties(n % 30))
        wait_for(lambda: sum(count(channel, queue) for queue in queues) == 60)
        got = [Counter(bodies(channel, queue)) for queue in queues]
        assert all(seen == 2 for one in got for seen in one.values())
        assert sum(1 for one in got if one) > 1, "it is not the key that counts"


@pytest.mark.parametrize(
    "key, text",
    [
        ("abc", 'The binding key must be an integer: <<"abc">>'),
        ("0", "The binding key must be greater than 0"),
    ],
)
def test_a_consistent_hash_weight_that_is_none(channel, exchange, queues, key, text):
    name = exchange("x-consistent-hash")
    refused(channel, 406, f"PRECONDITION_FAILED - {text}", lambda: channel.queue_bind(queues[0], name, key))


@pytest.mark.parametrize(
    "arguments, text",
    [
        ({"hash-property": "zz"}, "Unsupported property: zz"),
        (
            {"hash-header": "h", "hash-property": "message_id"},
            "hash-header and hash-property are mutually exclusive",
        ),
    ],
    ids=["property", "both"],
)
def test_consistent_hash_arguments_that_make_no_sense(channel, name, arguments, text):
    declare = lambda: channel.exchange_declare(name, "x-consistent-hash", arguments=arguments)
    refused(channel, 406, f"PRECONDITION_FAILED - {text}", declare)


def test_random_gives_each_message_to_one_queue(channel, exchange, queues):
    name = exchange("x-random")
    for queue in queues:
        channel.queue_bind(queue, name, "ignored")
    channel.confirm_delivery()
    for _ in range(120):
        channel.basic_publish(name, "k", b"x", mandatory=True)
    got = counts(channel, queues)
    assert sum(got) == 120 and all(got)


def test_modulus_hash_sends_a_key_one_way(channel, exchange, queues):
    name = exchange("x-modulus-hash")
    for queue in queues:
        channel.queue_bind(queue, name, "")
    channel.confirm_delivery()
    for n in range(120):
        channel.basic_publish(name, f"key-{n % 60}", b"%d" % (n % 60), mandatory=True)
    got = [Counter(bodies(channel, queue)) for queue in queues]
    assert sum(sum(one.values()) for one in got) == 120
    assert all(seen == 2 for one in got for seen in one.values()) and all(got)


@pytest.mark.warren
def test_local_random_takes_classic_queues_only(channel, exchange, queues):
    name = exchange("x-local-random")
    for queue in queues:
        channel.queue_bind(queue, name, "")
    channel.confirm_delivery()
    for _ in range(120):
        channel.basic_publish(name, "k", b"x", mandatory=True)
    got = counts(channel, queues)
    assert sum(got) == 120 and all(got)
    text = "PRECONDITION_FAILED - Non empty binding 'k' key not permitted"
    refused(channel, 406, text, lambda: channel.queue_bind(queues[0], name, "k"))


def test_recent_history_gives_the_last_messages_to_a_new_binding(channel, exchange, queues):
    name = exchange("x-recent-history", arguments={"x-recent-history-length": 2})
    channel.confirm_delivery()
    for n in range(4):
        channel.basic_publish(name, "k", b"%d" % n)
    not_kept = pika.BasicProperties(headers={"x-recent-history-no-store": True})
    channel.basic_publish(name, "k", b"not kept", not_kept)
    channel.queue_bind(queues[0], name, "")
    wait_for(lambda: count(channel, queues[0]) == 2)
    assert bodies(channel, queues[0]) == [b"2", b"3"]
    channel.basic_publish(name, "k", b"4")
    assert bodies(channel, queues[0]) == [b"4"]


def test_a_recent_history_length_that_is_none(channel, name):
    text = "PRECONDITION_FAILED - Invalid argument 0, 'x-recent-history-length' must be a positive integer"
    arguments = {"x-recent-history-length": 0}
    refused(
        channel, 406, text, lambda: channel.exchange_declare(name, "x-recent-history", arguments=arguments)
    )


def test_events_tell_of_what_happens(connect, channel, queue, name):
    channel.queue_bind(queue, "amq.rabbitmq.event", "#")
    other = connect(client_properties={"connection_name": "the other"})
    work = other.channel()
    work.queue_declare(name, durable=True, arguments={"x-max-length": 5})
    work.exchange_declare(name, "topic", durable=True)
    work.queue_bind(name, name, "a.#", arguments={"k": 1})
    work.basic_cancel(work.basic_consume(name, lambda *_: None))
    work.queue_unbind(name, name, "a.#", arguments={"k": 1})
    work.queue_delete(name)
    work.exchange_delete(name)
    other.close()
    events = []

    def arrived():
        events.extend((method.routing_key, properties) for method, properties, _ in get_all(channel, queue))
        return any(key == "connection.closed" for key, _ in events)

    wait_for(arrived)
    keys = [key for key, _ in events if key.split(".")[0] not in ("user", "parameter")]
    assert keys[0] == "binding.created", "its own"
    assert keys[1:] == [
        "connection.created",
        "channel.created",
        "queue.created",
        "exchange.created",
        "binding.created",
        "consumer.created",
        "consumer.deleted",
        "binding.deleted",
        "queue.deleted",
        "exchange.deleted",
        "channel.closed",
        "connection.closed",
    ]
    told = {key: properties for key, properties in events[1:]}
    created = told["queue.created"]
    assert created.delivery_mode == 2 and abs(created.timestamp - time.time()) < 60
    assert created.headers["name"] == name and created.headers["vhost"] == "/"
    assert '{<<"x-max-length">>,signedint,5}' in created.headers["arguments"]
    assert (created.headers["durable"], created.headers["exclusive"]) == (True, False)
    assert told["exchange.created"].headers["type"] == "topic"
    bound = told["binding.created"].headers
    assert (bound["source_name"], bound["destination_name"], bound["routing_key"]) == (name, name, "a.#")
    assert (bound["source_kind"], bound["destination_kind"]) == ("exchange", "queue")
    assert bound["arguments"] == ['{<<"k">>,signedint,1}']
    assert told["consumer.created"].headers["ack_required"] is True
    assert told["connection.created"].headers["user"] == "guest"
    opened, closed = told["connection.created"].headers, told["connection.closed"].headers
    assert (opened["name"], opened["pid"]) == (closed["name"], closed["pid"])
    assert (opened["auth_mechanism"], opened["ssl"], opened["ssl_cipher"]) == ("PLAIN", False, "")
    assert opened["user_provided_name"] == closed["user_provided_name"] == "the other"
    channel_pid = told["channel.created"].headers["pid"]
    assert told["channel.created"].headers["connection"] == opened["pid"] != channel_pid
    assert told["channel.closed"].headers["pid"] == told["consumer.created"].headers["channel"] == channel_pid


DELAYED = {"x-delayed-type": "direct"}


def delay(ms, **properties):
    return pika.BasicProperties(headers={"x-delay": ms}, delivery_mode=2, **properties)


@pytest.mark.warren
def test_delayed_messages_come_when_they_are_due_in_that_order(channel, exchange, queue):
    name = exchange("x-delayed-message", arguments=DELAYED)
    channel.queue_bind(queue, name, "k")
    channel.confirm_delivery()
    began = time.monotonic()
    for ms in (600, 200, 400):
        channel.basic_publish(name, "k", b"%d" % ms, delay(ms, message_id="m"))
    channel.basic_publish(name, "k", b"now")
    assert bodies(channel, queue) == [b"now"]
    messages = receive(channel, queue, 3, auto_ack=True)
    assert time.monotonic() - began >= 0.6
    assert [body for _, _, body in messages] == [b"200", b"400", b"600"]
    assert [properties.headers for _, properties, _ in messages] == [{"x-delay": -ms} for ms in (200, 400, 600)]
    assert all(properties.message_id == "m" for _, properties, _ in messages)
    assert {method.exchange for method, _, _ in messages} == {name}


@pytest.mark.warren
def test_a_delayed_mandatory_message_is_returned_and_delivered(channel, exchange, queue):
    """As with RabbitMQ's plugin (issues 7 and 136 of rabbitmq-delayed-message-exchange)."""
    name = exchange("x-delayed-message", arguments=DELAYED)
    channel.queue_bind(queue, name, "k")
    channel.confirm_delivery()
    with pytest.raises(pika.exceptions.UnroutableError) as caught:
        channel.basic_publish(name, "k", b"m", delay(100), mandatory=True)
    assert caught.value.messages[0].method.reply_code == 312
    assert [body for _, _, body in receive(channel, queue, 1, auto_ack=True)] == [b"m"]


@pytest.mark.warren
@pytest.mark.parametrize(
    "arguments, text",
    [
        ({}, "Invalid argument, 'x-delayed-type' must be an existing exchange type"),
        ({"x-delayed-type": 5}, "Invalid argument, 'x-delayed-type' must be an existing exchange type"),
        ({"x-delayed-type": "zz"}, "unknown exchange type 'zz'"),
    ],
    ids=["none", "number", "unknown"],
)
def test_a_delayed_exchange_of_no_type(channel, name, arguments, text):
    declare = lambda: channel.exchange_declare(name, "x-delayed-message", arguments=arguments)
    refused(channel, 406, f"PRECONDITION_FAILED - {text}", declare)


@pytest.mark.warren
def test_a_confirmed_delayed_message_survives_kill_9(warren):
    connection = pika.BlockingConnection(pika.URLParameters(warren.amqp_url))
    channel = connection.channel()
    channel.exchange_declare("later", "x-delayed-message", durable=True, arguments=DELAYED)
    channel.queue_declare("q", durable=True)
    channel.queue_bind("q", "later", "k")
    channel.confirm_delivery()
    channel.basic_publish("later", "k", b"due meanwhile", delay(50))
    channel.basic_publish("later", "k", b"due after", delay(6_000))
    channel.exchange_declare("dropped", "x-delayed-message", durable=True, arguments=DELAYED)
    channel.queue_bind("q", "dropped", "k")
    channel.basic_publish("dropped", "k", b"never", delay(3_000))
    channel.exchange_delete("dropped")
    warren.restart()
    with pika.BlockingConnection(pika.URLParameters(warren.amqp_url)) as connection:
        channel = connection.channel()
        messages = receive(channel, "q", 2, seconds=20, auto_ack=True)
        assert [body for _, _, body in messages] == [b"due meanwhile", b"due after"]
