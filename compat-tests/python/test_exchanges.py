"""Exchanges: the four kinds, the default one, exchange-to-exchange, alternate, internal, auto-delete, delete."""

import pika
import pytest
from conftest import bodies, refused


def route(channel, exchange, key, *queues, headers=None):
    """Which of the queues got a message published with this key."""
    channel.basic_publish(exchange, key, b"x", pika.BasicProperties(headers=headers))
    return [len(bodies(channel, queue)) for queue in queues]


@pytest.fixture
def queues(channel):
    channel.confirm_delivery()
    return [channel.queue_declare("", exclusive=True).method.queue for _ in range(3)]


def test_direct_matches_the_whole_key(channel, exchange, queues):
    name = exchange("direct")
    channel.queue_bind(queues[0], name, "a")
    channel.queue_bind(queues[1], name, "a")
    channel.queue_bind(queues[1], name, "b")
    assert route(channel, name, "a", *queues) == [1, 1, 0]
    assert route(channel, name, "b", *queues) == [0, 1, 0]
    assert route(channel, name, "a.b", *queues) == [0, 0, 0]


def test_fanout_ignores_the_key_and_gives_one_copy_each(channel, exchange, queues):
    name = exchange("fanout")
    channel.queue_bind(queues[0], name, "a")
    channel.queue_bind(queues[0], name, "b")
    channel.queue_bind(queues[1], name)
    assert route(channel, name, "zzz", *queues) == [1, 1, 0]


@pytest.mark.parametrize(
    "pattern, key, matches",
    [
        ("a.*.c", "a.b.c", True),
        ("a.*.c", "a..c", True),
        ("a.*.c", "a.b.b.c", False),
        ("a.#", "a", True),
        ("a.#", "a.b.c", True),
        ("a.#", "a.", True),
        ("#", "", True),
        ("*", "", False),
        ("*.*", "a.", True),
        ("#.b.#", "a.b", True),
        ("#.b.#", "b", True),
        ("a.*", "a", False),
        ("", "", True),
        ("*.orange.*", "quick.orange.rabbit", True),
        ("lazy.#", "lazy.orange.new.rabbit", True),
    ],
)
def test_topic_patterns(channel, exchange, queues, pattern, key, matches):
    name = exchange("topic")
    channel.queue_bind(queues[0], name, pattern)
    assert route(channel, name, key, queues[0]) == [int(matches)]


@pytest.mark.parametrize(
    "arguments, headers, matches",
    [
        ({"x-match": "all", "a": 1, "b": "two"}, {"a": 1, "b": "two", "c": True}, True),
        ({"x-match": "all", "a": 1, "b": "two"}, {"a": 1}, False),
        ({"a": 1}, {"a": 1}, True),
        ({"x-match": "any", "a": 1, "b": "two"}, {"b": "two"}, True),
        ({"x-match": "any", "a": 1, "b": "two"}, {"b": "three"}, False),
        ({"x-match": "all", "a": 1}, {"a": "1"}, False),
        ({"x-match": "all", "a": None}, {"a": "anything"}, True),
        ({"x-match": "all"}, {}, True),
        ({"x-match": "any"}, {"a": 1}, False),
        ({"x-match": "all", "x-a": 1}, {}, True),
        ({"x-match": "all-with-x", "x-a": 1}, {}, False),
        ({"x-match": "any-with-x", "x-a": 1}, {"x-a": 1}, True),
    ],
)
def test_headers_matching(channel, exchange, queues, arguments, headers, matches):
    name = exchange("headers")
    channel.queue_bind(queues[0], name, "", arguments)
    assert route(channel, name, "ignored", queues[0], headers=headers) == [int(matches)]


def test_the_default_exchange_routes_by_queue_name(channel, queues):
    assert route(channel, "", queues[1], *queues) == [0, 1, 0]


def test_exchange_to_exchange_and_cycles_end(channel, exchange, queues):
    source = exchange("topic", "-source")
    target = exchange("fanout", "-target")
    channel.exchange_bind(target, source, "a.#")
    channel.exchange_bind(source, target, "")
    channel.queue_bind(queues[0], target, "")
    assert route(channel, source, "a.b", *queues) == [1, 0, 0]
    assert route(channel, source, "b", *queues) == [0, 0, 0]
    channel.exchange_unbind(target, source, "a.#")
    assert route(channel, source, "a.b", *queues) == [0, 0, 0]


def test_the_alternate_exchange_gets_what_nothing_else_took(channel, exchange, queues):
    alternate = exchange("fanout", "-alternate")
    name = exchange("direct", arguments={"alternate-exchange": alternate})
    channel.queue_bind(queues[0], alternate)
    channel.queue_bind(queues[1], name, "known")
    assert route(channel, name, "known", *queues) == [0, 1, 0]
    assert route(channel, name, "unknown", *queues) == [1, 0, 0]


def test_an_internal_exchange_takes_no_publish_but_routes(channel, exchange, queues, connection):
    inside = exchange("fanout", "-inside", internal=True)
    outside = exchange("fanout", "-outside")
    channel.exchange_bind(inside, outside)
    channel.queue_bind(queues[0], inside)
    assert route(channel, outside, "", *queues) == [1, 0, 0]
    other = connection.channel()
    text = f"ACCESS_REFUSED - cannot publish to internal exchange '{inside}' in vhost '/'"
    refused(other, 403, text, lambda: other.basic_publish(inside, "", b"x"))


def test_an_auto_delete_exchange_goes_with_its_last_binding(channel, name, queues):
    channel.exchange_declare(name, "fanout", auto_delete=True)
    channel.queue_bind(queues[0], name)
    channel.queue_unbind(queues[0], name)
    missing = f"NOT_FOUND - no exchange '{name}' in vhost '/'"
    refused(channel, 404, missing, lambda: channel.exchange_declare(name, passive=True))


def test_delete_if_unused_and_a_missing_exchange_is_fine(connection, channel, exchange, queues):
    name = exchange("fanout")
    channel.queue_bind(queues[0], name)
    other = connection.channel()
    text = f"PRECONDITION_FAILED - exchange '{name}' in vhost '/' in use"
    refused(other, 406, text, lambda: other.exchange_delete(name, if_unused=True))
    channel.queue_unbind(queues[0], name)
    channel.exchange_delete(name, if_unused=True)
    channel.exchange_delete(name)


@pytest.mark.parametrize(
    "predeclared, kind",
    [
        ("amq.direct", "direct"),
        ("amq.fanout", "fanout"),
        ("amq.topic", "topic"),
        ("amq.headers", "headers"),
        ("amq.match", "headers"),
    ],
)
def test_predeclared_exchanges_are_there(channel, predeclared, kind):
    channel.exchange_declare(predeclared, kind, durable=True)
    channel.exchange_declare(predeclared, passive=True)


def test_cc_and_bcc_route_too_and_bcc_is_not_seen(channel, queues):
    properties = pika.BasicProperties(headers={"CC": [queues[1]], "BCC": [queues[2]]})
    channel.basic_publish("", queues[0], b"x", properties)
    for queue in queues:
        method, properties, _ = channel.basic_get(queue, auto_ack=True)
        assert (method.routing_key, properties.headers) == (queues[0], {"CC": [queues[1]]})
