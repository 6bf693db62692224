"""Publishing and consuming: properties, confirms, returns, prefetch, acknowledgements, requeue order, recover, cancel."""

import pika
import pytest
from conftest import bodies, count, get_all, receive, wait_for


def publish(channel, queue, *messages):
    for body in messages:
        channel.basic_publish("", queue, body)


def test_every_property_and_header_type_comes_back(channel, queue):
    headers = {
        "string": "text",
        "int": 5,
        "large": 2**40,
        "negative": -7,
        "bool": True,
        "none": None,
        "table": {"nested": {"deep": 1}},
        "array": [1, "two", False],
    }
    sent = pika.BasicProperties(
        content_type="application/json",
        content_encoding="utf-8",
        headers=headers,
        delivery_mode=2,
        priority=4,
        correlation_id="c",
        reply_to="r",
        expiration="60000",
        message_id="m",
        timestamp=1_700_000_000,
        type="t",
        user_id="guest",
        app_id="a",
        cluster_id="cl",
    )
    channel.confirm_delivery()
    channel.basic_publish("", queue, b"\x00\xff body", sent)
    method, got, body = channel.basic_get(queue, auto_ack=True)
    assert body == b"\x00\xff body"
    assert got.__dict__ == sent.__dict__
    assert (method.redelivered, method.exchange, method.routing_key, method.message_count) == (False, "", queue, 0)


@pytest.mark.parametrize("size", [0, 1, 131_064, 131_065, 300_000, 3_000_000])
def test_bodies_of_every_size_come_back(channel, queue, size):
    body = bytes(i * 31 % 251 for i in range(1000)) * (size // 1000 + 1)
    channel.confirm_delivery()
    channel.basic_publish("", queue, body[:size])
    assert bodies(channel, queue) == [body[:size]]


def test_confirms_come_for_every_publish(connection, queue):
    channel = connection.channel()
    channel.confirm_delivery()
    for i in range(200):
        channel.basic_publish("", queue, str(i).encode())
    assert count(channel, queue) == 200


def test_an_unroutable_mandatory_message_is_returned_and_then_confirmed(channel, name):
    channel.confirm_delivery()
    with pytest.raises(pika.exceptions.UnroutableError) as caught:
        channel.basic_publish("", name, b"lost", mandatory=True)
    (returned,) = caught.value.messages
    assert (returned.method.reply_code, returned.method.reply_text) == (312, "NO_ROUTE")
    assert (returned.method.exchange, returned.method.routing_key, returned.body) == ("", name, b"lost")
    # Not mandatory: confirmed, and gone.
    channel.basic_publish("", name, b"lost")


def test_a_return_without_confirms_reaches_the_callback(channel, connection, name):
    returned = []
    channel.add_on_return_callback(lambda _, method, properties, body: returned.append((method.reply_text, body)))
    channel.basic_publish("", name, b"lost", mandatory=True)
    wait_for(lambda: returned, connection)
    assert returned == [("NO_ROUTE", b"lost")]


def test_prefetch_bounds_what_is_outstanding(channel, connection, queue):
    channel.confirm_delivery()
    publish(channel, queue, *(str(i).encode() for i in range(10)))
    got = []
    channel.basic_qos(prefetch_count=3)
    channel.basic_consume(queue, lambda _, method, __, body: got.append((method.delivery_tag, body)))
    wait_for(lambda: len(got) == 3, connection)
    connection.process_data_events(time_limit=0.2)
    assert [body for _, body in got] == [b"0", b"1", b"2"]
    channel.basic_ack(got[1][0], multiple=True)
    wait_for(lambda: len(got) == 5, connection)
    connection.process_data_events(time_limit=0.2)
    assert len(got) == 5
    assert [tag for tag, _ in got] == [1, 2, 3, 4, 5]


def test_prefetch_global_is_shared_by_the_channels_consumers(channel, connection, queue, version):
    if version >= (4, 3):
        pytest.skip("4.3 treats global as not global")
    channel.confirm_delivery()
    publish(channel, queue, *(b"x" for _ in range(10)))
    got = []
    channel.basic_qos(prefetch_count=3, global_qos=True)
    for _ in range(2):
        channel.basic_consume(queue, lambda _, method, __, ___: got.append(method.delivery_tag))
    wait_for(lambda: len(got) == 3, connection)
    connection.process_data_events(time_limit=0.2)
    assert len(got) == 3


def test_consumers_take_turns(channel, connection, queue):
    channel.confirm_delivery()
    got = {}
    for tag in ("a", "b", "c"):
        channel.basic_consume(queue, lambda _, m, __, body: got.setdefault(m.consumer_tag, []).append(body), True, consumer_tag=tag)
    publish(channel, queue, *(str(i).encode() for i in range(9)))
    wait_for(lambda: sum(map(len, got.values())) == 9, connection)
    assert sorted(map(len, got.values())) == [3, 3, 3]


def test_unacknowledged_messages_come_back_in_place_and_redelivered(connect, connection, name):
    first, second = connect(), connection
    channel = first.channel()
    channel.queue_declare(name, durable=True)
    channel.confirm_delivery()
    publish(channel, name, *(str(i).encode() for i in range(6)))
    tags = [channel.basic_get(name)[0].delivery_tag for _ in range(4)]
    channel.basic_ack(tags[1])
    first.close()
    channel = second.channel()
    got = [(method.redelivered, body) for method, _, body in get_all(channel, name)]
    assert got == [(True, b"0"), (True, b"2"), (True, b"3"), (False, b"4"), (False, b"5")]
    channel.queue_delete(name)


def test_nack_and_reject_requeue_to_the_original_position(channel, queue):
    channel.confirm_delivery()
    publish(channel, queue, b"0", b"1", b"2", b"3")
    tags = [channel.basic_get(queue)[0].delivery_tag for _ in range(4)]
    channel.basic_nack(tags[2], requeue=True)
    channel.basic_reject(tags[0], requeue=True)
    channel.basic_nack(tags[1], requeue=False)
    channel.basic_reject(tags[3], requeue=False)
    assert [(m.redelivered, body) for m, _, body in get_all(channel, queue)] == [(True, b"0"), (True, b"2")]


def test_nack_multiple_takes_everything_up_to_the_tag(channel, queue):
    channel.confirm_delivery()
    publish(channel, queue, b"0", b"1", b"2")
    tags = [channel.basic_get(queue)[0].delivery_tag for _ in range(3)]
    channel.basic_nack(tags[1], multiple=True, requeue=True)
    assert bodies(channel, queue) == [b"0", b"1"]
    channel.basic_ack(0, multiple=True)


def test_recover_requeues_everything_on_the_channel(channel, connection, queue):
    channel.confirm_delivery()
    publish(channel, queue, b"0", b"1")
    for _ in range(2):
        channel.basic_get(queue)
    channel.basic_recover(requeue=True)
    assert [(m.redelivered, body) for m, _, body in get_all(channel, queue)] == [(True, b"0"), (True, b"1")]


def test_closing_a_channel_requeues_what_it_held(connection, queue):
    channel = connection.channel()
    channel.confirm_delivery()
    publish(channel, queue, b"0")
    channel.basic_get(queue)
    channel.close()
    assert [m.redelivered for m, _, _ in get_all(connection.channel(), queue)] == [True]


def test_cancel_leaves_deliveries_to_be_acknowledged(channel, connection, queue):
    channel.confirm_delivery()
    publish(channel, queue, b"0", b"1")
    got = []
    tag = channel.basic_consume(queue, lambda _, method, __, ___: got.append(method.delivery_tag))
    wait_for(lambda: len(got) == 2, connection)
    impl = channel._impl
    # pika's blocking cancel would hand them back by itself: the bare method.
    done = []
    impl.basic_cancel(tag, callback=lambda _: done.append(1))
    wait_for(lambda: done, connection)
    channel._consumer_infos.clear()
    assert count(channel, queue) == 0
    channel.basic_ack(got[0])
    channel.basic_nack(got[1], requeue=True)
    assert bodies(channel, queue) == [b"1"]


def test_the_consumer_is_told_when_its_queue_goes(channel, connection, name):
    channel.queue_declare(name)
    cancelled = []
    channel.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
    tag = channel.basic_consume(name, lambda *_: None)
    connection.channel().queue_delete(name)
    wait_for(lambda: cancelled, connection)
    assert cancelled == [tag]


def test_a_server_made_consumer_tag(channel, connection, queue):
    # pika makes its own tags: only the bare method leaves it to the broker.
    from pika import spec

    answers = []
    impl = channel._impl
    impl._rpc(spec.Basic.Consume(queue=queue, consumer_tag=""), answers.append, [(spec.Basic.ConsumeOk, {})])
    wait_for(lambda: answers, connection)
    tag = answers[0].method.consumer_tag
    assert tag.startswith("amq.ctag-") and len(tag) == len("amq.ctag-") + 22


def test_auto_ack_consuming_leaves_nothing(connect, queue, channel):
    channel.confirm_delivery()
    publish(channel, queue, b"0", b"1")
    got = receive(channel, queue, 2, auto_ack=True)
    assert [(m.delivery_tag, m.redelivered, body) for m, _, body in got] == [(1, False, b"0"), (2, False, b"1")]
    assert count(channel, queue) == 0


def test_an_exclusive_consumer_keeps_others_away(channel, connection, queue):
    from conftest import refused

    channel.basic_consume(queue, lambda *_: None, exclusive=True)
    other = connection.channel()
    text = f"ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use"
    refused(other, 403, text, lambda: other.basic_consume(queue, lambda *_: None))


def test_durable_and_transient_messages_of_a_work_queue(connection, name):
    """The tutorial's work queue: durable, persistent, prefetch 1, acks."""
    channel = connection.channel()
    channel.queue_declare(queue=name, durable=True)
    for i in range(5):
        channel.basic_publish("", name, f"task {i}", pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent))
    channel.basic_qos(prefetch_count=1)
    done = []

    def work(ch, method, properties, body):
        done.append(body)
        ch.basic_ack(delivery_tag=method.delivery_tag)

    channel.basic_consume(name, work)
    wait_for(lambda: len(done) == 5, connection)
    assert done == [f"task {i}".encode() for i in range(5)]
    channel.queue_delete(name)


def test_rpc_over_a_callback_queue(connection, name):
    """The tutorial's RPC: exclusive callback queue, reply_to, correlation_id."""
    channel = connection.channel()
    channel.queue_declare(name, exclusive=True)
    callback = channel.queue_declare("", exclusive=True).method.queue
    answers = {}

    def serve(ch, method, properties, body):
        answer = pika.BasicProperties(correlation_id=properties.correlation_id)
        ch.basic_publish("", properties.reply_to, str(int(body) * 2), answer)
        ch.basic_ack(method.delivery_tag)

    channel.basic_consume(name, serve)
    channel.basic_consume(callback, lambda _, __, p, body: answers.update({p.correlation_id: body}), auto_ack=True)
    for i in range(3):
        channel.basic_publish("", name, str(i), pika.BasicProperties(reply_to=callback, correlation_id=f"c{i}"))
    wait_for(lambda: len(answers) == 3, connection)
    assert answers == {"c0": b"0", "c1": b"2", "c2": b"4"}
