"""Direct reply-to: replies without a queue (amqp.md rows 58-61)."""

import pika
import pytest
from conftest import refused, wait_for

PSEUDO = "amq.rabbitmq.reply-to"


def ask(channel, queue, body, correlation_id="1"):
    properties = pika.BasicProperties(reply_to=PSEUDO, correlation_id=correlation_id)
    channel.basic_publish("", queue, body, properties)


@pytest.fixture
def replies(channel):
    got = []
    channel.basic_consume(PSEUDO, lambda _, *message: got.append(message), auto_ack=True)
    return got


@pytest.fixture
def server(connect, queue, channel):
    """Another connection that answers what comes to a queue of its own."""
    connection = connect()
    served = connection.channel()
    requests = served.queue_declare("", exclusive=False, auto_delete=True).method.queue

    def answer(one, _, properties, body):
        back = pika.BasicProperties(correlation_id=properties.correlation_id)
        one.basic_publish("", properties.reply_to, b"re: " + body, back)

    served.basic_consume(requests, answer, auto_ack=True)
    return connection, requests


def test_a_request_is_answered_across_connections(channel, replies, server):
    connection, requests = server
    for n in range(20):
        ask(channel, requests, b"%d" % n, str(n))

    def arrived():
        connection.process_data_events(time_limit=0.02)
        return len(replies) == 20

    wait_for(arrived, channel.connection)
    assert [body for _, _, body in replies] == [b"re: %d" % n for n in range(20)]
    assert [properties.correlation_id for _, properties, _ in replies] == [str(n) for n in range(20)]
    method = replies[0][0]
    assert method.exchange == "" and method.routing_key.startswith(PSEUDO + ".") and not method.redelivered


def test_the_name_is_rewritten_and_is_the_channels_own(connection, channel, replies, queue, version):
    other = connection.channel()
    other.basic_consume(PSEUDO, lambda *_: None, auto_ack=True)
    names = []
    for one in (channel, channel, other):
        ask(one, queue, b"x")
        method, properties, _ = wait_for(lambda: (lambda m: m if m[0] else None)(channel.basic_get(queue, True)))
        names.append(properties.reply_to)
    assert all(name.startswith(PSEUDO + ".") for name in names)
    assert names[0] == names[1] != names[2]
    if version < (4, 0):
        return  # 3.10 answers the next line with 541
    ok = channel.queue_declare(names[0], passive=True).method
    assert (ok.queue, ok.message_count, ok.consumer_count) == (names[0], 0, 1)


def test_replies_to_a_requester_that_is_gone_are_returned(connection, channel, queue, version):
    requester = connection.channel()
    requester.basic_consume(PSEUDO, lambda *_: None, auto_ack=True)
    ask(requester, queue, b"x")
    _, properties, _ = wait_for(lambda: (lambda m: m if m[0] else None)(channel.basic_get(queue, True)))
    channel.confirm_delivery()
    if version >= (4, 2):  # before, it was returned though it arrived
        channel.basic_publish("", properties.reply_to, b"in time", mandatory=True)
    requester.close()
    with pytest.raises(pika.exceptions.UnroutableError) as caught:
        channel.basic_publish("", properties.reply_to, b"late", mandatory=True)
    assert (caught.value.messages[0].method.reply_code, caught.value.messages[0].body) == (312, b"late")
    text = f"NOT_FOUND - no queue '{properties.reply_to}' in vhost '/'"
    refused(channel, 404, text, lambda: channel.queue_declare(properties.reply_to, passive=True))


def test_a_cancelled_reply_consumer_can_be_set_again(channel, queue):
    tag = channel.basic_consume(PSEUDO, lambda *_: None, auto_ack=True)
    channel.basic_cancel(tag)
    got = []
    channel.basic_consume(PSEUDO, lambda _, *message: got.append(message), auto_ack=True)
    ask(channel, queue, b"x")
    _, properties, _ = wait_for(lambda: (lambda m: m if m[0] else None)(channel.basic_get(queue, True)))
    channel.basic_publish("", properties.reply_to, b"y")
    wait_for(lambda: got, channel.connection)


def test_declaring_the_name_finds_one_consumer(channel):
    ok = channel.queue_declare(PSEUDO, passive=True).method
    assert (ok.message_count, ok.consumer_count) == (0, 1)


def test_declaring_a_name_that_nobody_has(channel):
    text = f"NOT_FOUND - no queue '{PSEUDO}.bogus' in vhost '/'"
    refused(channel, 404, text, lambda: channel.queue_declare(PSEUDO + ".bogus"))


def test_publishing_without_a_reply_consumer(channel, queue):
    text = "PRECONDITION_FAILED - fast reply consumer does not exist"
    refused(channel, 406, text, lambda: ask(channel, queue, b"x"))


def test_a_reply_consumer_must_not_acknowledge(channel):
    text = "PRECONDITION_FAILED - reply consumer cannot acknowledge"
    refused(channel, 406, text, lambda: channel.basic_consume(PSEUDO, lambda *_: None))


def test_there_is_one_reply_consumer_for_a_channel(channel, replies):
    text = "PRECONDITION_FAILED - reply consumer already set"
    refused(channel, 406, text, lambda: channel.basic_consume(PSEUDO, lambda *_: None, auto_ack=True))


@pytest.mark.warren
def test_binding_the_name_is_refused(channel):
    text = "ACCESS_REFUSED - cannot bind or unbind to a volatile (direct reply-to) queue"
    refused(channel, 403, text, lambda: channel.queue_bind(PSEUDO, "amq.direct", "k"))
