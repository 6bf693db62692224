"""Queues: declare, properties, bind and unbind, purge, delete, exclusive, auto-delete, server-named."""

import pika
import pytest
from conftest import bodies, count, receive, refused, wait_for


def test_declare_answers_the_counts(channel, queue):
    channel.confirm_delivery()
    for body in (b"one", b"two", b"three"):
        channel.basic_publish("", queue, body)
    # One is held by a consumer: only ready messages count, and every consumer.
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(queue, lambda *_: None)
    wait_for(lambda: count(channel, queue) == 2)
    answer = channel.queue_declare(queue, passive=True).method
    assert (answer.queue, answer.message_count, answer.consumer_count) == (queue, 2, 1)


def test_redeclaring_the_same_queue_is_fine(channel, name):
    for _ in range(2):
        assert channel.queue_declare(name, auto_delete=True).method.queue == name
    channel.queue_delete(name)


def test_a_server_named_queue_has_rabbitmqs_kind_of_name(channel):
    name = channel.queue_declare("").method.queue
    assert name.startswith("amq.gen-") and len(name) == len("amq.gen-") + 22
    channel.queue_delete(name)


def test_an_empty_name_means_the_last_queue_declared(channel):
    name = channel.queue_declare("", exclusive=True).method.queue
    channel.confirm_delivery()
    channel.basic_publish("", name, b"x")
    assert channel.basic_get("", auto_ack=True)[2] == b"x"


def test_purge_answers_how_many_were_ready(channel, queue):
    channel.confirm_delivery()
    for _ in range(5):
        channel.basic_publish("", queue, b"x")
    channel.basic_get(queue)
    assert channel.queue_purge(queue).method.message_count == 4
    assert count(channel, queue) == 0


def test_delete_answers_how_many_were_ready_and_a_missing_queue_is_fine(channel, name):
    channel.queue_declare(name)
    channel.confirm_delivery()
    for _ in range(3):
        channel.basic_publish("", name, b"x")
    assert channel.queue_delete(name).method.message_count == 3
    assert channel.queue_delete(name).method.message_count == 0


def test_delete_if_empty_and_if_unused(connection, name):
    channel = connection.channel()
    channel.queue_declare(name)
    channel.confirm_delivery()
    channel.basic_publish("", name, b"x")
    text = f"PRECONDITION_FAILED - queue '{name}' in vhost '/' not empty"
    refused(channel, 406, text, lambda: channel.queue_delete(name, if_empty=True))
    channel = connection.channel()
    channel.basic_consume(name, lambda *_: None)
    text = f"PRECONDITION_FAILED - queue '{name}' in vhost '/' in use"
    refused(channel, 406, text, lambda: channel.queue_delete(name, if_unused=True))
    connection.channel().queue_delete(name)


def test_an_exclusive_queue_is_locked_to_its_connection_and_goes_with_it(connect, name):
    owner, other = connect(), connect()
    owner.channel().queue_declare(name, exclusive=True)
    locked = (
        f"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{name}' in vhost '/'. It could be "
        "originally declared on another connection or the exclusive property value does not match that of the "
        "original declaration."
    )
    # The text is cut at 255 bytes.
    locked = locked if len(locked) <= 255 else locked[:252] + "..."
    for action in (
        lambda channel: channel.queue_declare(name, passive=True),
        lambda channel: channel.basic_get(name),
        lambda channel: channel.basic_consume(name, lambda *_: None),
        lambda channel: channel.queue_purge(name),
        lambda channel: channel.queue_delete(name),
    ):
        channel = other.channel()
        refused(channel, 405, locked, lambda: action(channel))
    owner.close()
    channel = other.channel()
    missing = f"NOT_FOUND - no queue '{name}' in vhost '/'"
    refused(channel, 404, missing, lambda: channel.queue_declare(name, passive=True))


def test_an_auto_delete_queue_goes_with_its_last_consumer(connection, channel, name):
    channel.queue_declare(name, auto_delete=True)
    # Not before the first consumer, and a get is none.
    channel.basic_get(name)
    assert count(channel, name) == 0
    first = channel.basic_consume(name, lambda *_: None)
    second = channel.basic_consume(name, lambda *_: None)
    channel.basic_cancel(first)
    assert count(channel, name) == 0
    channel.basic_cancel(second)
    missing = f"NOT_FOUND - no queue '{name}' in vhost '/'"
    refused(channel, 404, missing, lambda: channel.queue_declare(name, passive=True))


def test_bind_unbind_and_bindings_go_with_the_queue(channel, name, queue):
    channel.confirm_delivery()
    channel.queue_bind(queue, "amq.direct", name)
    channel.queue_bind(queue, "amq.direct", name)
    channel.basic_publish("amq.direct", name, b"once")
    assert bodies(channel, queue) == [b"once"]
    channel.queue_unbind(queue, "amq.direct", name)
    # Unbinding what is not bound is fine.
    channel.queue_unbind(queue, "amq.direct", name)
    with pytest.raises(pika.exceptions.UnroutableError):
        channel.basic_publish("amq.direct", name, b"nowhere", mandatory=True)
    channel.queue_bind(queue, "amq.direct", name)
    channel.queue_delete(queue)
    with pytest.raises(pika.exceptions.UnroutableError):
        channel.basic_publish("amq.direct", name, b"nowhere", mandatory=True)


def test_binding_with_neither_queue_nor_key_uses_the_last_queues_name(channel):
    name = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind("", "amq.direct", "")
    channel.confirm_delivery()
    channel.basic_publish("amq.direct", name, b"x", mandatory=True)
    assert bodies(channel, name) == [b"x"]


def test_message_ttl_and_expiration_drop_messages(channel, name, connection):
    channel.queue_declare(name, exclusive=True, arguments={"x-message-ttl": 50})
    channel.confirm_delivery()
    channel.basic_publish("", name, b"short")
    wait_for(lambda: count(channel, name) == 0, connection)
    other = channel.queue_declare("", exclusive=True).method.queue
    channel.basic_publish("", other, b"short", pika.BasicProperties(expiration="50"))
    wait_for(lambda: count(channel, other) == 0, connection)


def test_a_longest_queue_drops_its_oldest(channel, name):
    channel.queue_declare(name, exclusive=True, arguments={"x-max-length": 2})
    channel.confirm_delivery()
    for body in (b"one", b"two", b"three"):
        channel.basic_publish("", name, body)
    assert bodies(channel, name) == [b"two", b"three"]


def test_a_rejected_message_goes_to_the_dead_letter_exchange(channel, name):
    dead = channel.queue_declare("", exclusive=True).method.queue
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    channel.queue_declare(name, exclusive=True, arguments=arguments)
    channel.confirm_delivery()
    channel.basic_publish("", name, b"x")
    method, _, _ = channel.basic_get(name)
    channel.basic_reject(method.delivery_tag, requeue=False)
    (_, properties, body), = receive(channel, dead, 1, auto_ack=True)
    death = properties.headers["x-death"][0]
    assert body == b"x"
    assert (death["queue"], death["reason"], death["count"], death["exchange"]) == (name, "rejected", 1, "")
    assert death["routing-keys"] == [name]
    assert properties.headers["x-first-death-queue"] == name
