"""Errors with RabbitMQ's exact code, level and text: clients match on them."""

import pika
import pytest
from conftest import refused
from pika import spec


@pytest.fixture
def made(channel, name):
    """A transient, non-exclusive queue and an exchange of the test's name."""
    channel.queue_declare(name)
    channel.exchange_declare(name, "direct")
    yield name
    with_channel = channel if channel.is_open else channel.connection.channel()
    with_channel.queue_delete(name)
    with_channel.exchange_delete(name)


@pytest.mark.parametrize(
    "action",
    [
        lambda c, q: c.queue_declare(q, passive=True),
        lambda c, q: c.basic_consume(q, lambda *_: None),
        lambda c, q: c.basic_get(q),
        lambda c, q: c.queue_purge(q),
        lambda c, q: c.queue_bind(q, "amq.direct", "k"),
    ],
    ids=["declare", "consume", "get", "purge", "bind"],
)
def test_a_missing_queue(channel, name, action):
    refused(channel, 404, f"NOT_FOUND - no queue '{name}' in vhost '/'", lambda: action(channel, name))


@pytest.mark.parametrize(
    "action",
    [
        lambda c, x: c.exchange_declare(x, passive=True),
        lambda c, x: c.basic_publish(x, "k", b"x"),
        lambda c, x: c.queue_bind(c.queue_declare("", exclusive=True).method.queue, x, "k"),
        lambda c, x: c.queue_bind("missing-" + x, x, "k"),
        lambda c, x: c.exchange_bind("amq.fanout", x, "k"),
    ],
    ids=["declare", "publish", "bind", "bind-both-missing", "exchange-bind"],
)
def test_a_missing_exchange(channel, name, action):
    refused(channel, 404, f"NOT_FOUND - no exchange '{name}' in vhost '/'", lambda: action(channel, name))


def test_unbinding_from_a_missing_exchange_is_fine(channel, name, queue):
    channel.queue_unbind(queue, name, "k")


def test_no_queue_was_declared_before(channel):
    refused(channel, 404, "NOT_FOUND - no previously declared queue", lambda: channel.basic_get(""))


@pytest.mark.parametrize(
    "options, arg, received, current",
    [
        ({"durable": True}, "durable", "'true'", "'false'"),
        ({"auto_delete": True}, "auto_delete", "'true'", "'false'"),
        ({"arguments": {"x-message-ttl": 5}}, "x-message-ttl", "the value '5' of type 'signedint'", "none"),
    ],
    ids=["durable", "auto-delete", "ttl"],
)
def test_redeclaring_a_queue_differently(channel, made, options, arg, received, current):
    is_current = f"but current is {current}"
    text = f"PRECONDITION_FAILED - inequivalent arg '{arg}' for queue '{made}' in vhost '/': received {received} {is_current}"
    refused(channel, 406, text, lambda: channel.queue_declare(made, **options))


def test_redeclaring_with_an_argument_dropped_or_changed(connection, channel, name):
    channel.queue_declare(name, exclusive=True, arguments={"x-message-ttl": 5000})
    prefix = f"PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue '{name}' in vhost '/': received "
    other = connection.channel()
    text = prefix + "none but current is the value '5000' of type 'signedint'"
    refused(other, 406, text, lambda: other.queue_declare(name, exclusive=True))
    other = connection.channel()
    refused(
        other,
        406,
        prefix + "'6000' but current is '5000'",
        lambda: other.queue_declare(name, exclusive=True, arguments={"x-message-ttl": 6000}),
    )


@pytest.mark.parametrize(
    "options, arg, received, current",
    [
        ({"exchange_type": "fanout"}, "type", "'fanout'", "'direct'"),
        ({"durable": True}, "durable", "'true'", "'false'"),
        ({"auto_delete": True}, "auto_delete", "'true'", "'false'"),
        ({"internal": True}, "internal", "'true'", "'false'"),
    ],
    ids=["type", "durable", "auto-delete", "internal"],
)
def test_redeclaring_an_exchange_differently(channel, made, options, arg, received, current):
    is_current = f"but current is {current}"
    text = f"PRECONDITION_FAILED - inequivalent arg '{arg}' for exchange '{made}' in vhost '/': received {received} {is_current}"
    refused(channel, 406, text, lambda: channel.exchange_declare(made, **{"exchange_type": "direct", **options}))


def test_an_unknown_argument_may_differ(channel, made):
    channel.queue_declare(made, arguments={"x-of-our-own": 5})


def test_reserved_names(connection):
    for kind, declare in (
        ("queue", lambda c: c.queue_declare("amq.mine")),
        ("exchange", lambda c: c.exchange_declare("amq.mine", "direct")),
    ):
        channel = connection.channel()
        text = f"ACCESS_REFUSED - {kind} name 'amq.mine' contains reserved prefix 'amq.*'"
        refused(channel, 403, text, lambda: declare(channel))


@pytest.mark.parametrize(
    "action",
    [
        lambda c: c._impl._rpc(spec.Exchange.Declare(exchange="", type="direct")),
        lambda c: c._impl._rpc(spec.Exchange.Delete(exchange="")),
        lambda c: c._impl._rpc(spec.Queue.Bind(queue=c.queue_declare("", exclusive=True).method.queue, exchange="")),
    ],
    ids=["declare", "delete", "bind"],
)
def test_the_default_exchange_is_not_to_be_touched(channel, action):
    text = "ACCESS_REFUSED - operation not permitted on the default exchange"
    refused(channel, 403, text, lambda: action(channel))


def test_system_exchanges_stay(channel):
    text = "ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '/' not allowed"
    refused(channel, 403, text, lambda: channel.exchange_delete("amq.direct"))


def test_an_unknown_exchange_type(channel, name, version):
    def declare():
        channel.exchange_declare(name, "foobar")

    if version >= (3, 13):
        refused(channel, 406, "PRECONDITION_FAILED - unknown exchange type 'foobar'", declare)
    else:
        refused(channel, 503, "COMMAND_INVALID - unknown exchange type 'foobar'", declare, "connection")


@pytest.mark.parametrize("method", ["basic_ack", "basic_nack", "basic_reject"])
def test_an_unknown_delivery_tag(channel, method):
    text = "PRECONDITION_FAILED - unknown delivery tag 99"
    refused(channel, 406, text, lambda: getattr(channel, method)(99))


def test_acknowledging_twice(channel, queue):
    channel.confirm_delivery()
    channel.basic_publish("", queue, b"x")
    tag = channel.basic_get(queue)[0].delivery_tag
    channel.basic_ack(tag)
    refused(channel, 406, f"PRECONDITION_FAILED - unknown delivery tag {tag}", lambda: channel.basic_ack(tag))


def test_a_consumer_tag_used_twice(channel, queue):
    channel.basic_consume(queue, lambda *_: None, consumer_tag="t")
    # pika refuses by itself, so the bare method.
    bare = spec.Basic.Consume(queue=queue, consumer_tag="t")
    text = "NOT_ALLOWED - attempt to reuse consumer tag 't'"
    refused(channel, 530, text, lambda: channel._impl._rpc(bare), "connection")


@pytest.mark.parametrize(
    "text, action",
    [
        ("immediate=true", lambda c: c._impl._send_method(spec.Basic.Publish(immediate=True), (pika.BasicProperties(), b""))),
        ("prefetch_size!=0 (10)", lambda c: c.basic_qos(prefetch_size=10)),
        ("requeue=false", lambda c: c.basic_recover(requeue=False)),
        ("active=false", lambda c: c.flow(False) if hasattr(c, "flow") else c._impl.flow(False, lambda _: None)),
    ],
    ids=["immediate", "prefetch-size", "recover", "flow"],
)
def test_what_the_original_does_not_implement(channel, text, action):
    refused(channel, 540, f"NOT_IMPLEMENTED - {text}", lambda: action(channel), "connection")


@pytest.mark.parametrize(
    "expiration, why",
    [("abc", "no_integer"), ("-1", "{value_negative,-1}"), ("10x", '{leftover_string,"x"}')],
)
def test_a_bad_expiration(channel, queue, expiration, why):
    properties = pika.BasicProperties(expiration=expiration)
    text = f"PRECONDITION_FAILED - invalid expiration '{expiration}': {why}"
    refused(channel, 406, text, lambda: channel.basic_publish("", queue, b"x", properties))


def test_a_user_id_that_is_not_the_user(channel, queue):
    properties = pika.BasicProperties(user_id="other")
    text = "PRECONDITION_FAILED - user_id property set to 'other' but authenticated user was 'guest'"
    refused(channel, 406, text, lambda: channel.basic_publish("", queue, b"x", properties))


def test_a_cc_header_that_is_no_array(channel, queue):
    properties = pika.BasicProperties(headers={"CC": "one"})
    text = 'PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,"CC",longstr}'
    refused(channel, 406, text, lambda: channel.basic_publish("", queue, b"x", properties))


@pytest.mark.parametrize(
    "argument, value, why",
    [
        ("x-message-ttl", -1, "{value_negative,-1}"),
        ("x-expires", 0, "{value_zero,0}"),
    ],
)
def test_a_queue_argument_of_a_wrong_value(channel, name, argument, value, why):
    text = f"PRECONDITION_FAILED - invalid arg '{argument}' for queue '{name}' in vhost '/': {why}"
    refused(channel, 406, text, lambda: channel.queue_declare(name, arguments={argument: value}))


def test_a_bad_x_match(channel, queue):
    text = "PRECONDITION_FAILED - Invalid x-match field value <<\"zz\">>; expected all, any, all-with-x, or any-with-x"
    refused(channel, 406, text, lambda: channel.queue_bind(queue, "amq.headers", "", {"x-match": "zz"}))


def test_a_server_only_method(channel):
    text = "COMMAND_INVALID - unimplemented method"
    bare = spec.Queue.DeclareOk(queue="q", message_count=0, consumer_count=0)
    refused(channel, 503, text, lambda: channel._impl._send_method(bare), "connection")


def test_a_channel_that_was_closed_can_be_opened_again(connection, name):
    channel = connection.channel(7)
    refused(channel, 404, f"NOT_FOUND - no queue '{name}' in vhost '/'", lambda: channel.basic_get(name))
    again = connection.channel(7)
    assert again.queue_declare("", exclusive=True).method.queue


def test_an_error_on_one_channel_leaves_the_others(connection, name):
    broken, whole = connection.channel(), connection.channel()
    refused(broken, 404, f"NOT_FOUND - no queue '{name}' in vhost '/'", lambda: broken.basic_get(name))
    assert whole.queue_declare("", exclusive=True).method.queue
