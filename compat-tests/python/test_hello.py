"""The tutorial programs, as people copy them: only the address comes from outside."""

import os
import subprocess
import sys
import threading

import pytest

SEND = """
import os, pika
connection = pika.BlockingConnection(pika.URLParameters(os.environ['AMQP_URL']))
channel = connection.channel()

channel.queue_declare('hello')

channel.basic_publish(exchange='', routing_key='hello', body='Hello World!')
print(" [x] Sent 'Hello World!'")
connection.close()
"""

RECEIVE = """
import os, pika, sys
connection = pika.BlockingConnection(pika.URLParameters(os.environ['AMQP_URL']))
channel = connection.channel()

channel.queue_declare('hello')

def callback(ch, method, properties, body):
    print(f" [x] Received {body}", flush=True)

channel.basic_consume(queue='hello', on_message_callback=callback, auto_ack=True)

print(' [*] Waiting for messages. To exit press CTRL+C', flush=True)
channel.start_consuming()
"""

KAFKA_SEND = """
import os
from kafka import KafkaProducer
producer = KafkaProducer(bootstrap_servers=os.environ['KAFKA'])
producer.send('hello', b'Hello from Kafka')
producer.flush()
"""

KAFKA_RECEIVE = """
import os
from kafka import KafkaConsumer
consumer = KafkaConsumer('hello', bootstrap_servers=os.environ['KAFKA'], **eval(os.environ['OPTIONS']))
for message in consumer:
    print(message.value, flush=True)
"""


class Program:
    """A program in a process of its own, its output read line by line."""

    def __init__(self, source, **environment):
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", source],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        # A program that never prints what is awaited ends by itself, and the test with it.
        self.watchdog = threading.Timer(40, self.process.kill)
        self.watchdog.start()

    def until(self, text):
        said = []
        for line in self.process.stdout:
            said.append(line)
            if text in line:
                return "".join(said)
        pytest.fail(f"{text!r} never came; the program said: {''.join(said)}")

    def wait(self):
        output = self.process.communicate()[0]
        self.watchdog.cancel()
        assert self.process.returncode == 0, output
        return output

    def stop(self):
        self.watchdog.cancel()
        self.process.kill()
        self.process.wait()


@pytest.fixture
def program():
    started = []

    def start(source, **environment):
        started.append(Program(source, **environment))
        return started[-1]

    yield start
    for one in started:
        one.stop()


def test_pika_hello_sent_before_and_after_the_receiver_starts(program, amqp_url):
    program(SEND, AMQP_URL=amqp_url).wait()
    receiver = program(RECEIVE, AMQP_URL=amqp_url)
    receiver.until("Received b'Hello World!'")
    assert "Sent 'Hello World!'" in program(SEND, AMQP_URL=amqp_url).wait()
    receiver.until("Received b'Hello World!'")


@pytest.mark.parametrize("first", ["topic", "queue"])
@pytest.mark.warren
def test_queue_hello_and_topic_hello_live_side_by_side(program, warren, first):
    """In both orders, each on a fresh broker; neither sees the other's messages."""
    sends = [lambda: program(KAFKA_SEND, KAFKA=warren.kafka).wait(), lambda: program(SEND, AMQP_URL=warren.amqp_url).wait()]
    for send in sends if first == "topic" else reversed(sends):
        send()
    receiver = program(RECEIVE, AMQP_URL=warren.amqp_url)
    assert "Kafka" not in receiver.until("Received b'Hello World!'")
    options = "dict(group_id='g', auto_offset_reset='earliest')"
    consumer = program(KAFKA_RECEIVE, KAFKA=warren.kafka, OPTIONS=options)
    assert "World" not in consumer.until("Hello from Kafka")


def test_kafka_hello_with_a_group_and_from_the_earliest_offset(program, kafka_address, name):
    program(KAFKA_SEND, KAFKA=kafka_address).wait()
    options = f"dict(group_id='{name}', auto_offset_reset='earliest')"
    program(KAFKA_RECEIVE, KAFKA=kafka_address, OPTIONS=options).until("Hello from Kafka")


def test_kafka_hello_without_a_group_sees_what_comes_after_it(program, kafka_address):
    program(KAFKA_SEND, KAFKA=kafka_address).wait()
    consumer = program(KAFKA_RECEIVE, KAFKA=kafka_address, OPTIONS="{}")
    # Nothing tells from outside when the consumer has its position, so it is sent to until it hears.
    heard = threading.Event()

    def keep_sending():
        while not heard.is_set():
            program(KAFKA_SEND, KAFKA=kafka_address).wait()

    sender = threading.Thread(target=keep_sending)
    sender.start()
    try:
        consumer.until("Hello from Kafka")
    finally:
        heard.set()
        sender.join()


def test_a_topic_is_created_on_first_use_with_no_error_seen(name, kafka_address):
    from kafka import KafkaProducer

    producer = KafkaProducer(bootstrap_servers=kafka_address)
    metadata = producer.send(name, b"first").get(timeout=20)
    producer.close()
    assert (metadata.topic, metadata.partition, metadata.offset) == (name, 0, 0)
