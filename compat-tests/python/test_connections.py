"""Connections: what the broker says of itself, logins, vhosts, tuning, heartbeats, many channels."""

import time

import pika
import pytest
from conftest import ORACLE, bodies


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def test_server_properties_are_those_clients_branch_on(connection):
    properties = connection._impl.server_properties
    assert text(properties["product"]) == "RabbitMQ"
    assert text(properties["version"])[0].isdigit()
    assert set(properties["capabilities"]) >= {
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "consumer_priorities",
        "authentication_failure_close",
        "per_consumer_qos",
        "direct_reply_to",
    }
    assert all(value is True for value in properties["capabilities"].values())
    if not ORACLE:
        assert "warren" in properties


def test_tuning_is_the_originals(connection):
    parameters = connection._impl.params
    assert (parameters.channel_max, parameters.frame_max) == (2047, 131072)


def test_a_wrong_password_is_refused_at_once(connect):
    with pytest.raises(pika.exceptions.ProbableAuthenticationError) as caught:
        connect(credentials=pika.PlainCredentials("guest", "wrong"))
    expected = "Login was refused using authentication mechanism PLAIN. For details see the broker logfile."
    assert f"(403) 'ACCESS_REFUSED - {expected}'" in str(caught.value)


def test_an_unknown_user_is_refused_alike(connect):
    with pytest.raises(pika.exceptions.ProbableAuthenticationError) as caught:
        connect(credentials=pika.PlainCredentials("nobody", "guest"))
    assert "(403) 'ACCESS_REFUSED - Login was refused" in str(caught.value)


def test_a_missing_vhost_is_refused(connect):
    with pytest.raises((pika.exceptions.ProbableAccessDeniedError, pika.exceptions.ConnectionClosedByBroker)) as caught:
        connect(virtual_host="nope")
    assert "(530) 'NOT_ALLOWED - vhost nope not found'" in str(caught.value)


def test_heartbeats_keep_an_idle_connection_and_the_broker_sends_them(connect):
    connection = connect(heartbeat=1)
    channel = connection.channel()
    received = connection._impl.bytes_received
    until = time.monotonic() + 4
    # The client answers for itself while it is in here; after 4 s of silence a dead peer would be dropped.
    while time.monotonic() < until:
        connection.process_data_events(time_limit=0.5)
    assert connection.is_open
    assert connection._impl.bytes_received >= received + 2 * 8
    assert channel.queue_declare("", exclusive=True).method.queue


def test_a_silent_client_is_dropped_after_two_heartbeats(connect):
    connection = connect(heartbeat=1)
    started = time.monotonic()
    # Nothing is read or sent while the test sleeps: the broker has to notice.
    time.sleep(4)
    with pytest.raises(pika.exceptions.AMQPError):
        while time.monotonic() < started + 10:
            connection.channel()
            connection.process_data_events(time_limit=0.1)


def test_many_channels_on_one_connection(connection):
    channels = [connection.channel() for _ in range(100)]
    queue = channels[0].queue_declare("", exclusive=True).method.queue
    for i, channel in enumerate(channels):
        channel.basic_publish("", queue, str(i).encode())
    channels[-1].queue_declare(queue, passive=True)
    for channel in channels[1:]:
        channel.close()
    assert len(bodies(channels[0], queue)) == 100


def test_many_connections_come_and_go(connect):
    for _ in range(30):
        connection = connect()
        connection.channel().queue_declare("", exclusive=True)
        connection.close()


def test_frames_of_a_small_frame_max(connect):
    connection = connect(frame_max=8192)
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.confirm_delivery()
    body = bytes(range(256)) * 200
    channel.basic_publish("", queue, body)
    assert bodies(channel, queue) == [body]
