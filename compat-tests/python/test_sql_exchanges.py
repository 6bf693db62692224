"""A stream job whose output goes to an AMQP exchange: routing keys, properties, exactly once, and what waits."""

import contextlib
import json
import os
import subprocess
import time
import urllib.request

import pika
import pytest

pytestmark = pytest.mark.warren

ORDERS = """
CREATE TABLE orders (id BIGINT, region STRING) WITH ('connector'='kafka', 'topic'='orders', 'format'='json',
  'properties.bootstrap.servers'='localhost:9092', 'scan.startup.mode'='earliest-offset');
"""
BUS = """
CREATE TABLE bus (
  id BIGINT,
  rk STRING METADATA FROM 'routing-key',
  priority INT METADATA,
  `message-id` STRING METADATA,
  headers MAP<STRING, BYTES> METADATA
)
WITH ('connector'='rabbitmq', 'exchange'='bus', 'format'='json');
SET 'pipeline.name' = 'routed';
INSERT INTO bus SELECT id, 'orders.' || region, 3, CAST(id AS STRING), MAP['region', CAST(region AS BYTES)]
FROM orders;
"""


@pytest.fixture
def channel(warren):
    """A channel with the exchange, a queue for Europe, and the stream that the job reads."""
    connection = pika.BlockingConnection(pika.URLParameters(warren.amqp_url))
    channel = connection.channel()
    declare(channel)
    yield channel
    with contextlib.suppress(pika.exceptions.AMQPError):
        # The broker may have been killed meanwhile.
        connection.close()


def declare(channel, **arguments):
    channel.confirm_delivery()
    channel.exchange_declare("bus", "topic", durable=True)
    channel.queue_declare("europe", durable=True, arguments=arguments)
    channel.queue_bind("europe", "bus", "orders.eu")
    channel.queue_declare("orders", durable=True, arguments={"x-queue-type": "stream"})


def order(channel, number, region="eu"):
    channel.basic_publish("", "orders", json.dumps({"id": number, "region": region}).encode())


def run(warren, tmp_path, text):
    file = tmp_path / "job.sql"
    file.write_text(text)
    return warren.sql(file)


def take(channel, count, queue="europe", seconds=20):
    """Messages of a queue as (properties, id), once so many are there; and no more are."""
    got, deadline, quiet = [], time.monotonic() + seconds, 0
    while len(got) < count or quiet < 3:
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            quiet += 1
            assert time.monotonic() < deadline, f"{len(got)} of {count} came"
            channel.connection.process_data_events(0.1)
        else:
            got.append((properties, json.loads(body)["id"]))
    return got


def job(warren, name="routed"):
    with urllib.request.urlopen(admin(warren, f"api/streams/{name}")) as answer:
        return json.load(answer)


def admin(warren, path):
    return urllib.request.Request(
        f"http://{warren.doors['admin']}/{path}", headers={"Authorization": "Basic Z3Vlc3Q6Z3Vlc3Q="}
    )


def counter(warren, name):
    with urllib.request.urlopen(f"http://{warren.doors['metrics']}/metrics") as answer:
        lines = [line for line in answer.read().decode().splitlines() if line.startswith(name)]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_rows_are_routed_by_their_key_with_their_properties(warren, channel, tmp_path):
    run(warren, tmp_path, ORDERS + BUS)
    for number, region in enumerate(["eu", "us", "eu"]):
        order(channel, number, region)
    got = take(channel, 2)
    assert [number for _, number in got] == [0, 2]
    properties = got[1][0]
    assert (properties.content_type, properties.delivery_mode, properties.priority) == ("application/json", 2, 3)
    assert (properties.message_id, properties.headers) == ("2", {"region": "eu"})
    dropped = "rabbitmq_global_messages_unroutable_dropped_total"
    assert counter(warren, dropped) == 1, "the one for the US"
    assert job(warren)["outputs"] == ["exchange:bus"]


def test_each_message_comes_once_through_kills(warren, channel, tmp_path):
    run(warren, tmp_path, ORDERS + BUS)
    sent = 0
    for _ in range(3):
        for _ in range(300):
            order(channel, sent)
            sent += 1
        warren.restart()
        channel = pika.BlockingConnection(pika.URLParameters(warren.amqp_url)).channel()
        channel.confirm_delivery()
    assert [number for _, number in take(channel, sent)] == list(range(sent))
    channel.connection.close()


def test_a_full_queue_holds_the_job_up_and_loses_nothing(warren, tmp_path):
    channel = pika.BlockingConnection(pika.URLParameters(warren.amqp_url)).channel()
    declare(channel, **{"x-max-length": 10, "x-overflow": "reject-publish"})
    for number in range(50):
        order(channel, number)
    file = tmp_path / "job.sql"
    file.write_text(ORDERS + BUS)
    # The job runs once its first epoch is committed, and that is held up.
    command = [os.environ["WARREN_BIN"], "sql", "run", str(file), "--url", f"http://{warren.doors['admin']}"]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    until(lambda: channel.queue_declare("europe", passive=True).method.message_count == 10)
    assert [number for _, number in take(channel, 50)] == list(range(50))
    assert running.wait(20) == 0
    channel.connection.close()


def test_a_missing_exchange_is_refused_where_it_stands(warren, tmp_path):
    file = tmp_path / "job.sql"
    file.write_text(ORDERS + BUS)
    command = [os.environ["WARREN_BIN"], "sql", "run", str(file), "--url", f"http://{warren.doors['admin']}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    said = done.stdout + done.stderr
    assert done.returncode != 0 and "12:1: no exchange 'bus' in vhost '/'" in said, said


def test_a_mandatory_message_that_nobody_takes_stops_the_job_until_somebody_does(warren, channel, tmp_path):
    run(warren, tmp_path, ORDERS + BUS.replace("'format'='json')", "'format'='json', 'mandatory'='true')"))
    order(channel, 0)
    until(lambda: job(warren)["records_out"] == 1)
    order(channel, 1, "us")
    until(lambda: job(warren)["state"] == "failed")
    assert "NO_ROUTE" in job(warren)["error"]
    channel.queue_bind("europe", "bus", "orders.us")
    request = admin(warren, "api/streams/routed/resume")
    request.method = "POST"
    with urllib.request.urlopen(request) as answer:
        assert json.load(answer)["state"] == "running"
    assert [number for _, number in take(channel, 2)] == [0, 1]


def test_an_exchange_that_is_deleted_stops_the_job_until_it_is_there_again(warren, channel, tmp_path):
    run(warren, tmp_path, ORDERS + BUS)
    channel.exchange_delete("bus")
    order(channel, 0)
    until(lambda: job(warren)["state"] == "failed")
    assert "no exchange 'bus'" in job(warren)["error"]
    declare(channel)
    request = admin(warren, "api/streams/routed/resume")
    request.method = "POST"
    urllib.request.urlopen(request).close()
    assert [number for _, number in take(channel, 1)] == [0]
