"""A Redis list as AMQP sees it: queue `redis.<database>.<key>`, in both directions."""

import json
import os
import threading
import urllib.request

import pika
import pytest
import redis
from conftest import get_all, receive, refused, wait_for

pytestmark = pytest.mark.warren


@pytest.fixture
def client(redis_url):
    client = redis.Redis.from_url(redis_url)
    client.flushdb()
    return client


@pytest.fixture
def tasks(name):
    """The list's key, and its queue."""
    return name, f"redis.0.{name}"


def test_what_redis_pushes_amqp_gets_and_the_other_way_round(client, channel, tasks):
    key, queue = tasks
    client.lpush(key, "one", "two")
    declared = channel.queue_declare(queue, passive=True).method
    assert (declared.queue, declared.message_count, declared.consumer_count) == (queue, 2, 0)
    channel.confirm_delivery()
    channel.basic_publish("", queue, b"three", mandatory=True)
    assert client.lrange(key, 0, -1) == [b"three", b"two", b"one"]
    method, properties, body = channel.basic_get(queue, auto_ack=True)
    assert (method.exchange, method.routing_key, method.message_count, body) == ("", queue, 2, b"one")
    assert properties == pika.BasicProperties() and not method.redelivered
    assert client.brpop(key) == (key.encode(), b"two") and client.rpop(key) == b"three"
    assert channel.basic_get(queue) == (None, None, None)
    assert channel.queue_declare(queue, passive=True).method.message_count == 0, "an empty list is one"


def test_what_amqp_has_is_nobody_elses_until_it_comes_back(client, channel, tasks):
    key, queue = tasks
    client.lpush(key, *"abcd")
    got = [channel.basic_get(queue) for _ in range(3)]
    assert [body for _, _, body in got] == [b"a", b"b", b"c"] and client.lrange(key, 0, -1) == [b"d"]
    channel.basic_ack(got[1][0].delivery_tag)
    channel.basic_nack(0, multiple=True, requeue=True)
    wait_for(lambda: client.lrange(key, 0, -1) == [b"d", b"c", b"a"])
    method, _, body = channel.basic_get(queue)
    assert (body, method.redelivered) == (b"a", True)
    channel.basic_reject(method.delivery_tag, requeue=False)
    assert [body for _, _, body in get_all(channel, queue)] == [b"c", b"d"]


def test_what_a_closed_channel_had_comes_back(client, connection, tasks):
    key, queue = tasks
    client.lpush(key, "a", "b")
    channel = connection.channel()
    channel.basic_qos(prefetch_count=1)
    got = []
    channel.basic_consume(queue, lambda _, *message: got.append(message))
    wait_for(lambda: got, connection)
    assert client.lrange(key, 0, -1) == [b"b"], "one at a time"
    channel.close()
    assert client.lrange(key, 0, -1) == [b"b", b"a"]


def test_consumers_and_blocked_poppers_are_served_in_the_order_of_their_coming(client, connect, redis_url, tasks):
    key, queue = tasks
    popped = []

    def pop():
        popped.append(redis.Redis.from_url(redis_url).brpop(key)[1])

    def consumer():
        channel, got = connect().channel(), []
        channel.basic_consume(queue, lambda _, *message: got.append(message[2]))
        return channel, got

    first, first_got = consumer()
    blocked = client.info("clients")["blocked_clients"]
    popper = threading.Thread(target=pop, daemon=True)
    popper.start()
    wait_for(lambda: client.info("clients")["blocked_clients"] == blocked + 1)
    second, second_got = consumer()
    client.lpush(key, *"abcde")
    popper.join(timeout=10)
    wait_for(lambda: first_got == [b"a", b"d"], first.connection)
    wait_for(lambda: second_got == [b"c", b"e"], second.connection)
    assert popped == [b"b"] and client.exists(key) == 0


def test_a_long_list_is_consumed_in_order_with_and_without_acknowledgements(client, channel, tasks):
    key, queue = tasks
    for auto_ack in (False, True):
        bodies = [b"%d " % n * 100 for n in range(3_000)]
        with client.pipeline(transaction=False) as pipe:
            for body in bodies:
                pipe.lpush(key, body)
            pipe.execute()
        got = receive(channel, queue, 3_000, seconds=30, auto_ack=auto_ack)
        assert [body for _, _, body in got] == bodies
        if not auto_ack:
            channel.basic_ack(got[-1][0].delivery_tag, multiple=True)
    channel.queue_declare(queue, passive=True)
    assert client.exists(key) == 0


def test_what_a_list_is_not_is_refused(client, connect, tasks):
    key, queue = tasks
    connection = connect()

    def inequivalent(arg, received, current):
        return (
            f"PRECONDITION_FAILED - inequivalent arg '{arg}' for queue '{queue}' in vhost '/': "
            f"received {received} but current is {current}"
        )

    def not_supported(what):
        return f"PRECONDITION_FAILED - {what} not supported by list queue '{queue}' in vhost '/'"

    declare = "queue_declare"
    for code, text, method, arguments in [
        (406, inequivalent("durable", "'false'", "'true'"), declare, {}),
        (406, inequivalent("auto_delete", "'true'", "'false'"), declare, {"durable": True, "auto_delete": True}),
        (406, not_supported("binding"), "queue_bind", {"exchange": "amq.direct"}),
        (406, not_supported("basic.consume with arguments"), "basic_consume", {"arguments": {"x-priority": 1}}),
    ]:
        channel = connection.channel()
        more = {"on_message_callback": lambda *_: None} if method == "basic_consume" else {}
        refused(channel, code, text, lambda: getattr(channel, method)(queue, **arguments, **more))
    channel = connection.channel()
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="PRECONDITION_FAILED - invalid arg 'x-message-ttl'"):
        channel.queue_declare(queue, durable=True, arguments={"x-message-ttl": 5})
    channel = connection.channel()
    channel.tx_select()
    refused(channel, 406, not_supported("tx.select"), lambda: channel.basic_get(queue))
    channel = connection.channel()
    assert channel.queue_declare(queue, durable=True).method.message_count == 0
    client.set(key, "text")
    refused(channel, 404, f"NOT_FOUND - no queue '{queue}' in vhost '/'", lambda: channel.queue_declare(queue, passive=True))
    channel = connection.channel()
    channel.confirm_delivery()
    with pytest.raises(pika.exceptions.UnroutableError):
        channel.basic_publish("", queue, b"to a string", mandatory=True)


def test_purging_and_deleting(client, channel, tasks):
    key, queue = tasks
    client.lpush(key, *"abc")
    channel.basic_get(queue)
    assert channel.queue_purge(queue).method.message_count == 2 and client.exists(key) == 0
    channel.basic_nack(1)
    wait_for(lambda: client.lrange(key, 0, -1) == [b"a"])
    text = f"PRECONDITION_FAILED - queue '{queue}' in vhost '/' not empty"
    other = channel.connection.channel()
    refused(other, 406, text, lambda: other.queue_delete(queue, if_empty=True))
    assert channel.queue_delete(queue).method.message_count == 1 and client.exists(key) == 0


def test_the_management_api_lists_it(client, channel, tasks):
    key, queue = tasks
    client.lpush(key, *"abc")
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(queue, lambda *_: None, consumer_tag="mine")
    request = urllib.request.Request(f"{os.environ['WARREN_ADMIN']}/api/queues/%2F/{queue}")
    request.add_header("Authorization", "Basic Z3Vlc3Q6Z3Vlc3Q=")
    row = json.load(urllib.request.urlopen(request))
    shown = {name: row[name] for name in ("type", "durable", "messages_ready", "messages_unacknowledged", "consumers")}
    assert shown == {
        "type": "list",
        "durable": True,
        "messages_ready": 2,
        "messages_unacknowledged": 1,
        "consumers": 1,
    }
    assert [consumer["consumer_tag"] for consumer in row["consumer_details"]] == ["mine"]


def test_the_management_api_shows_what_a_client_calls_itself(redis_url, name):
    client = redis.Redis.from_url(redis_url, client_name=name)
    client.ping()

    def shown():
        request = urllib.request.Request(f"{os.environ['WARREN_ADMIN']}/api/connections")
        request.add_header("Authorization", "Basic Z3Vlc3Q6Z3Vlc3Q=")
        rows = json.load(urllib.request.urlopen(request))
        return [row for row in rows if row["user_provided_name"] in (name, "renamed-" + name)]

    [row] = wait_for(shown)
    assert (row["protocol"], row["user"], row["client_properties"]["product"]) == ("Redis", "guest", "redis-py")
    connected_at = row["connected_at"]
    client.client_setname("renamed-" + name)
    [row] = wait_for(shown)
    assert (row["user_provided_name"], row["connected_at"]) == ("renamed-" + name, connected_at)


def test_permissions_name_it_as_they_name_keys(warren):
    client = redis.Redis.from_url(warren.redis_url)
    client.lpush("mine", "a"), client.lpush("yours", "b")

    def put(path, body):
        request = urllib.request.Request(f"http://{warren.doors['admin']}/api/{path}", json.dumps(body).encode(), method="PUT")
        request.add_header("Authorization", "Basic Z3Vlc3Q6Z3Vlc3Q=")
        request.add_header("Content-Type", "application/json")
        urllib.request.urlopen(request)

    put("users/u", {"password": "p", "tags": ""})
    put("permissions/%2F/u", {"configure": "^$", "write": "^$", "read": r"^redis\.0\.mine$"})
    connection = pika.BlockingConnection(pika.URLParameters(warren.amqp_url.replace("guest:guest", "u:p")))
    assert connection.channel().basic_get("redis.0.mine")[2] == b"a"
    channel = connection.channel()
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="ACCESS_REFUSED - read access to queue 'redis.0.yours'"):
        channel.basic_get("redis.0.yours")
    connection.close()


def test_what_was_not_acknowledged_is_there_after_kill_9(warren):
    client = redis.Redis.from_url(warren.redis_url)
    client.lpush("tasks", *range(20))
    connection = pika.BlockingConnection(pika.URLParameters(warren.amqp_url))
    channel = connection.channel()
    channel.confirm_delivery()
    channel.basic_publish("", "redis.0.tasks", b"20")
    channel.basic_qos(prefetch_count=10)
    got = receive(channel, "redis.0.tasks", 10)
    assert [int(body) for _, _, body in got] == list(range(10))
    for method, _, _ in got[:5]:
        channel.basic_ack(method.delivery_tag)
    # What is acknowledged waits for somebody's turn of the log: this is one.
    channel.basic_publish("", "redis.0.tasks", b"21")
    warren.restart()
    client = redis.Redis.from_url(warren.redis_url)
    assert [int(body) for body in reversed(client.lrange("tasks", 0, -1))] == list(range(5, 22))
    connection = pika.BlockingConnection(pika.URLParameters(warren.amqp_url))
    got = get_all(connection.channel(), "redis.0.tasks")
    assert [(int(body), method.redelivered) for method, _, body in got] == [(n, n < 10) for n in range(5, 22)]
    connection.close()


def test_metrics_count_keys_elements_and_commands(warren):
    client = redis.Redis.from_url(warren.redis_url, client_name="counted")
    client.lpush("tasks", "a", "b", "c")
    redis.Redis.from_url(warren.redis_url.removesuffix("0") + "3").set("k", "v")
    with pytest.raises(redis.ResponseError):
        client.incr("tasks")
    connection = pika.BlockingConnection(pika.URLParameters(warren.amqp_url))
    connection.channel().basic_get("redis.0.tasks")
    waiter = threading.Thread(target=lambda: redis.Redis.from_url(warren.redis_url).blpop("nothing", 20), daemon=True)
    waiter.start()

    def scraped():
        page = urllib.request.urlopen(f"http://{warren.doors['metrics']}/metrics").read().decode()
        return dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))

    page = wait_for(lambda: (page := scraped())["redis_blocked_clients"] == "1" and page)
    shown = {
        "redis_db_keys{db=\"db0\"}": "1",
        "redis_db_keys{db=\"db3\"}": "1",
        "redis_commands_total{cmd=\"lpush\"}": "1",
        "redis_errors_total{err=\"WRONGTYPE\"}": "1",
        "warren_list_elements_ready": "2",
        "warren_list_elements_unacked": "1",
        "rabbitmq_queue_messages_ready": "2",
        "rabbitmq_queue_messages_unacked": "1",
    }
    assert {name: page.get(name) for name in shown} == shown
    client.rpush("nothing", "x")
    connection.close()
