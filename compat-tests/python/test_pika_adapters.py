"""pika beyond the blocking adapter: the tutorials 2 to 7 as programs, and the select and asyncio adapters.

Tutorial 1 is in test_hello.py.
"""

import asyncio

import pika
import pytest
from conftest import count, wait_for
from pika.adapters.asyncio_connection import AsyncioConnection
from test_hello import program  # noqa: F401  (a fixture)

CONNECT = """
import os, sys, time, uuid, pika
connection = pika.BlockingConnection(pika.URLParameters(os.environ['AMQP_URL']))
channel = connection.channel()
"""

NEW_TASK = CONNECT + """
channel.queue_declare(queue=NAME, durable=True)
for message in ('First.', 'Second..', 'Third.', 'Fourth..'):
    channel.basic_publish(exchange='', routing_key=NAME, body=message,
        properties=pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent))
    print(f" [x] Sent {message}")
for _ in range(2):
    channel.basic_publish(exchange='', routing_key=NAME, body='quit')
connection.close()
"""

WORKER = CONNECT + """
channel.queue_declare(queue=NAME, durable=True)
print(' [*] Waiting for messages. To exit press CTRL+C', flush=True)

def callback(ch, method, properties, body):
    time.sleep(body.count(b'.') / 10)
    print(f" [x] Done {body.decode()}", flush=True)
    ch.basic_ack(delivery_tag=method.delivery_tag)
    if body == b'quit':
        ch.stop_consuming()

channel.basic_qos(prefetch_count=1)
channel.basic_consume(queue=NAME, on_message_callback=callback)
channel.start_consuming()
connection.close()
"""

RECEIVE_LOGS = CONNECT + """
channel.exchange_declare(exchange=NAME, exchange_type=TYPE, auto_delete=True)
result = channel.queue_declare(queue='', exclusive=True)
queue_name = result.method.queue
for key in KEYS:
    channel.queue_bind(exchange=NAME, queue=queue_name, routing_key=key)
print(' [*] Waiting for logs.', flush=True)

def callback(ch, method, properties, body):
    print(f" [x] {method.routing_key}:{body.decode()}", flush=True)

channel.basic_consume(queue=queue_name, on_message_callback=callback, auto_ack=True)
channel.start_consuming()
"""

EMIT_LOG = CONNECT + """
channel.exchange_declare(exchange=NAME, exchange_type=TYPE, auto_delete=True)
for key in KEYS:
    channel.basic_publish(exchange=NAME, routing_key=key, body='Hello World!')
connection.close()
"""

RPC_SERVER = CONNECT + """
channel.queue_declare(queue=NAME, auto_delete=True)

def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)

def on_request(ch, method, props, body):
    ch.basic_publish(exchange='', routing_key=props.reply_to, body=str(fib(int(body))),
        properties=pika.BasicProperties(correlation_id=props.correlation_id))
    ch.basic_ack(delivery_tag=method.delivery_tag)

channel.basic_qos(prefetch_count=1)
channel.basic_consume(queue=NAME, on_message_callback=on_request)
print(" [x] Awaiting RPC requests", flush=True)
channel.start_consuming()
"""

RPC_CLIENT = CONNECT + """
class FibonacciRpcClient:
    def __init__(self):
        self.callback_queue = REPLY or channel.queue_declare(queue='', exclusive=True).method.queue
        channel.basic_consume(queue=self.callback_queue, on_message_callback=self.on_response, auto_ack=True)

    def on_response(self, ch, method, props, body):
        if self.corr_id == props.correlation_id:
            self.response = body

    def call(self, n):
        self.response, self.corr_id = None, str(uuid.uuid4())
        channel.basic_publish(exchange='', routing_key=NAME, body=str(n),
            properties=pika.BasicProperties(reply_to=self.callback_queue, correlation_id=self.corr_id))
        while self.response is None:
            connection.process_data_events(time_limit=10)
        return int(self.response)

client = FibonacciRpcClient()
print(" [.] Got", [client.call(n) for n in (5, 10, 15)], flush=True)
connection.close()
"""


@pytest.fixture
def tutorial(program, amqp_url, name):  # noqa: F811
    """Starts one of the programs above; its capital names are set before its first line."""

    def start(source, **names):
        head = "".join(f"{key} = {value!r}\n" for key, value in {"NAME": name, **names}.items())
        return program(head + source, AMQP_URL=amqp_url)

    return start


def test_tutorial_2_work_queues(tutorial, channel, name):
    workers = [tutorial(WORKER), tutorial(WORKER)]
    for worker in workers:
        worker.until("Waiting")
    wait_for(lambda: channel.queue_declare(name, durable=True, passive=True).method.consumer_count == 2)
    assert "Sent Fourth.." in tutorial(NEW_TASK).wait()
    said = [worker.wait() for worker in workers]
    # Prefetch 1: neither takes everything.
    assert sorted("".join(said).split()) == sorted("[x] Done First. [x] Done Second.. [x] Done Third. [x] Done Fourth..".split() + "[x] Done quit".split() * 2)
    assert all(any(task in one for task in ("First", "Second")) for one in said)
    assert count(channel, name) == 0
    channel.queue_delete(name)


def test_tutorial_3_publish_subscribe(tutorial):
    receivers = [tutorial(RECEIVE_LOGS, TYPE="fanout", KEYS=[""]) for _ in range(2)]
    for receiver in receivers:
        receiver.until("Waiting")
    tutorial(EMIT_LOG, TYPE="fanout", KEYS=["anything"]).wait()
    for receiver in receivers:
        receiver.until("anything:Hello World!")


def test_tutorial_4_routing(tutorial):
    receiver = tutorial(RECEIVE_LOGS, TYPE="direct", KEYS=["warning", "error"])
    receiver.until("Waiting")
    tutorial(EMIT_LOG, TYPE="direct", KEYS=["info", "error", "debug", "warning"]).wait()
    said = receiver.until("warning:Hello World!")
    assert "error:" in said and "info:" not in said and "debug:" not in said


def test_tutorial_5_topics(tutorial):
    receiver = tutorial(RECEIVE_LOGS, TYPE="topic", KEYS=["kern.*", "*.critical"])
    everything = tutorial(RECEIVE_LOGS, TYPE="topic", KEYS=["#"])
    receiver.until("Waiting")
    everything.until("Waiting")
    keys = ["kern.info", "auth.info", "auth.critical", "kern.a.b", "kern.critical"]
    tutorial(EMIT_LOG, TYPE="topic", KEYS=keys).wait()
    said = receiver.until("kern.critical:")
    assert [line.split()[1].split(":")[0] for line in said.splitlines() if "[x]" in line] == ["kern.info", "auth.critical", "kern.critical"]
    assert everything.until("kern.critical:").count("[x]") == 5


@pytest.mark.parametrize("reply", [None, "amq.rabbitmq.reply-to"], ids=["queue", "direct-reply-to"])
def test_tutorial_6_rpc(tutorial, reply):
    tutorial(RPC_SERVER).until("Awaiting")
    assert "Got [5, 55, 610]" in tutorial(RPC_CLIENT, REPLY=reply).wait()


def test_tutorial_7_confirms_one_by_one_and_in_batches(channel, queue):
    channel.confirm_delivery()
    for i in range(50):
        channel.basic_publish("", queue, str(i).encode(), pika.BasicProperties(delivery_mode=2), mandatory=True)
    assert count(channel, queue) == 50


class Select:
    """One run of the select adapter; a failing callback must not leave the loop turning."""

    def __init__(self, url, on_channel):
        self.on_channel, self.closed_with = on_channel, None
        parameters = pika.URLParameters(url)
        parameters.socket_timeout = 10
        self.connection = pika.SelectConnection(
            parameters,
            on_open_callback=lambda connection: connection.channel(on_open_callback=on_channel),
            on_open_error_callback=lambda connection, error: connection.ioloop.stop(),
            on_close_callback=self.on_close,
        )
        self.connection.ioloop.call_later(30, self.connection.ioloop.stop)

    def on_close(self, connection, reason):
        self.closed_with = reason
        connection.ioloop.stop()

    def run(self):
        self.connection.ioloop.start()
        assert self.connection.is_closed, "the loop was stopped by its watchdog"
        return self.closed_with


@pytest.mark.parametrize("number", [1, 1000])
def test_tutorial_7_confirms_handled_asynchronously(amqp_url, name, number):
    outstanding, answers = set(), []

    def on_channel(channel):
        def on_confirm(frame):
            answers.append(type(frame.method).__name__)
            tag = frame.method.delivery_tag
            outstanding.difference_update([t for t in outstanding if t <= tag] if frame.method.multiple else [tag])
            if not outstanding:
                channel.connection.close()

        def on_declared(_):
            channel.confirm_delivery(on_confirm, callback=lambda _: publish())

        def publish():
            outstanding.update(range(1, number + 1))
            for i in range(number):
                channel.basic_publish("", name, str(i).encode(), pika.BasicProperties(delivery_mode=2))

        channel.queue_declare(name, exclusive=True, callback=on_declared)

    assert isinstance(Select(amqp_url, on_channel).run(), pika.exceptions.ConnectionClosedByClient)
    assert not outstanding and set(answers) == {"Ack"}


def test_select_returns_nacks_cancels_and_channel_errors(amqp_url, name):
    seen = {}

    def on_channel(channel):
        def step_1(_):
            channel.add_on_return_callback(step_2)
            channel.basic_publish("", f"missing-{name}", b"lost", mandatory=True)

        def step_2(_, method, properties, body):
            seen["return"] = (method.reply_code, method.reply_text, body)
            channel.queue_declare(name, exclusive=True, arguments={"x-max-length": 0, "x-overflow": "reject-publish"}, callback=step_3)

        def step_3(_):
            channel.confirm_delivery(step_4, callback=lambda _: channel.basic_publish("", name, b"refused"))

        def step_4(frame):
            seen["confirm"] = type(frame.method).__name__
            channel.add_on_cancel_callback(step_6)
            channel.basic_consume(name, lambda *_: None, callback=lambda _: channel.queue_delete(name))

        def step_6(frame):
            seen["cancel"] = type(frame.method).__name__
            channel.add_on_close_callback(step_7)
            channel.queue_bind(name, "missing-exchange", callback=lambda _: None)

        def step_7(_, reason):
            seen["closed"] = (reason.reply_code, reason.reply_text)
            channel.connection.close()

        step_1(None)

    Select(amqp_url, on_channel).run()
    assert seen["return"] == (312, "NO_ROUTE", b"lost")
    assert seen["confirm"] == "Nack" and seen["cancel"] == "Cancel"
    code, text = seen["closed"]
    assert code == 404 and text in (f"NOT_FOUND - no queue '{name}' in vhost '/'", "NOT_FOUND - no exchange 'missing-exchange' in vhost '/'")


def test_asyncio_consumes_acknowledges_and_closes(amqp_url, name):
    async def run():
        loop, done, got = asyncio.get_running_loop(), asyncio.Event(), []

        def on_message(channel, method, properties, body):
            got.append((body, method.redelivered))
            if len(got) == 1:
                channel.basic_reject(method.delivery_tag, requeue=True)
            else:
                channel.basic_ack(method.delivery_tag, multiple=True)
            if len(got) == 4:
                channel.close()
                channel.connection.close()

        def on_channel(channel):
            channel.basic_qos(prefetch_count=1)
            channel.queue_declare(name, exclusive=True, callback=lambda _: on_declared(channel))

        def on_declared(channel):
            channel.basic_consume(name, on_message)
            for body in (b"0", b"1", b"2"):
                channel.basic_publish("", name, body)

        AsyncioConnection(
            pika.URLParameters(amqp_url),
            on_open_callback=lambda connection: connection.channel(on_open_callback=on_channel),
            on_open_error_callback=lambda *_: done.set(),
            on_close_callback=lambda *_: done.set(),
            custom_ioloop=loop,
        )
        await asyncio.wait_for(done.wait(), 20)
        return got

    assert asyncio.run(run()) == [(b"0", False), (b"0", True), (b"1", False), (b"2", False)]


def test_blocking_consume_generator_with_inactivity(channel, queue):
    channel.confirm_delivery()
    for i in range(3):
        channel.basic_publish("", queue, str(i).encode())
    got = []
    for method, _, body in channel.consume(queue, inactivity_timeout=0.5):
        if method is None:
            break
        got.append(body)
        if len(got) < 3:
            channel.basic_ack(method.delivery_tag)
    assert got == [b"0", b"1", b"2"]
    # What was delivered and not acknowledged goes back.
    assert channel.cancel() == 0
    channel.basic_recover(requeue=True)
    assert count(channel, queue) == 1
