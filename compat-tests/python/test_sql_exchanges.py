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


def order_job(warren, what):
    """What `pause` or `resume` answers as the job's state."""
    request = admin(warren, f"api/streams/routed/{what}")
    request.method = "POST"
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["state"]


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


@pytest.fixture
def held(warren, tmp_path):
    """A channel, and a job that a full queue holds up in an epoch: of fifty orders the queue takes ten."""
    channel = pika.BlockingConnection(pika.URLParameters(warren.amqp_url)).channel()
    declare(channel, **{"x-max-length": 10, "x-overflow": "reject-publish"})
    for number in range(50):
        order(channel, number)
    run(warren, tmp_path, ORDERS + BUS)
    until(lambda: channel.queue_declare("europe", passive=True).method.message_count == 10)
    yield channel
    with contextlib.suppress(pika.exceptions.AMQPError):
        channel.connection.close()


def numbers(messages):
    return [number for _, number in messages]


def test_a_full_queue_holds_the_job_up_and_loses_nothing(warren, held):
    assert numbers(take(held, 50)) == list(range(50))


def test_a_job_that_a_full_queue_holds_up_is_pausing_and_then_paused(warren, held):
    assert (order_job(warren, "pause"), job(warren)["state"]) == ("pausing", "pausing")
    command = [os.environ["WARREN_BIN"], "sql", "list", "--url", f"http://{warren.doors['admin']}"]
    assert "routed  pausing  orders -> exchange:bus" in subprocess.check_output(command, text=True)
    order(held, 50)
    # The epoch that it has begun comes whole, and no other.
    got = []
    until(lambda: got.extend(take(held, 0)) or job(warren)["state"] == "paused")
    got += take(held, 0)
    assert numbers(got) == list(range(len(got))) and len(got) >= 10
    assert job(warren)["lag"] == 51 - len(got)
    assert order_job(warren, "resume") == "running"
    assert numbers(got + take(held, 51 - len(got))) == list(range(51))


def test_a_job_that_was_pausing_is_resumed_at_once(warren, held):
    assert (order_job(warren, "pause"), order_job(warren, "resume")) == ("pausing", "running")
    order(held, 50)
    assert numbers(take(held, 51)) == list(range(51))
    assert job(warren)["state"] == "running"


def test_a_pause_that_waits_for_a_full_queue_outlives_a_kill(warren, held):
    assert order_job(warren, "pause") == "pausing"
    warren.restart()
    assert job(warren)["state"] == "paused", "nothing holds it up any more"
    channel = pika.BlockingConnection(pika.URLParameters(warren.amqp_url)).channel()
    # Of what was not committed nothing is left.
    got = take(channel, 0)
    assert order_job(warren, "resume") == "running"
    assert numbers(got + take(channel, 50 - len(got))) == list(range(50))
    # And so does one that was taken back.
    for number in range(50, 100):
        order(channel, number)
    until(lambda: channel.queue_declare("europe", passive=True).method.message_count == 10)
    assert (order_job(warren, "pause"), order_job(warren, "resume")) == ("pausing", "running")
    warren.restart()
    assert job(warren)["state"] == "running"
    channel = pika.BlockingConnection(pika.URLParameters(warren.amqp_url)).channel()
    assert numbers(take(channel, 50)) == list(range(50, 100))
    channel.connection.close()


def test_a_pause_outlives_a_kill_behind_the_epoch_that_was_held_up(warren, held):
    assert order_job(warren, "pause") == "pausing"
    got = []
    until(lambda: got.extend(take(held, 0)) or job(warren)["state"] == "paused")
    warren.restart()
    assert job(warren)["state"] == "paused"
    channel = pika.BlockingConnection(pika.URLParameters(warren.amqp_url)).channel()
    got += take(channel, 0)
    assert order_job(warren, "resume") == "running"
    assert numbers(got + take(channel, 50 - len(got))) == list(range(50))
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
    assert order_job(warren, "resume") == "running"
    assert [number for _, number in take(channel, 2)] == [0, 1]


def test_an_exchange_that_is_deleted_stops_the_job_until_it_is_there_again(warren, channel, tmp_path):
    run(warren, tmp_path, ORDERS + BUS)
    channel.exchange_delete("bus")
    order(channel, 0)
    until(lambda: job(warren)["state"] == "failed")
    assert "no exchange 'bus'" in job(warren)["error"]
    declare(channel)
    order_job(warren, "resume")
    assert [number for _, number in take(channel, 1)] == [0]
