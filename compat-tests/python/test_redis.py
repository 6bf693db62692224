"""redis-py, as its tutorials and queue users call it; the same against a real Redis (WARREN_ORACLE_REDIS)."""

import threading
import time

import pytest
import redis
from conftest import wait_for


@pytest.fixture
def client(redis_url):
    client = redis.Redis.from_url(redis_url)
    client.flushdb()
    yield client
    client.close()


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def either(request, redis_url):
    """A client in either version of the protocol."""
    client = redis.Redis.from_url(redis_url, protocol=request.param)
    client.flushdb()
    yield client
    client.close()


def waiting(client):
    return client.info("clients")["blocked_clients"]


def in_background(work):
    """Runs it in a thread; join it for its result."""
    results = []
    thread = threading.Thread(target=lambda: results.append(work()), daemon=True)
    thread.start()

    def join():
        thread.join(timeout=10)
        assert results, "it did not come back"
        return results[0]

    return join


def test_the_tutorial_producer_and_worker(client):
    for number in range(3):
        client.lpush("task_queue", f"task {number}")
    assert [client.rpop("task_queue") for _ in range(4)] == [b"task 0", b"task 1", b"task 2", None]


def test_the_tutorial_worker_that_waits(client):
    got = in_background(lambda: client.brpop("task_queue"))
    wait_for(lambda: waiting(client) == 1)
    client.lpush("task_queue", "task")
    assert got() == (b"task_queue", b"task")
    started = time.monotonic()
    assert client.brpop("task_queue", timeout=1) is None
    assert time.monotonic() - started >= 0.9


def test_the_tutorial_worker_that_acknowledges(client):
    client.lpush("task_queue", "one", "two", "three")
    task = client.rpoplpush("task_queue", "processing")
    assert (task, client.lrange("processing", 0, -1)) == (b"one", [b"one"])
    assert client.lrem("processing", 1, task) == 1
    assert client.llen("processing") == 0
    assert client.blmove("task_queue", "processing", 1, "RIGHT", "LEFT") == b"two"
    # The worker died: what it had goes back to where it is taken first.
    assert client.lmove("processing", "task_queue", "RIGHT", "RIGHT") == b"two"
    assert client.lrange("task_queue", 0, -1) == [b"three", b"two"]


def test_lists(either):
    assert either.rpush("l", "a", "b", "c") == 3
    assert either.linsert("l", "before", "b", "x") == 4
    assert either.lpos("l", "b") == 2
    assert either.lset("l", 0, "A") is True or either.lindex("l", 0) == b"A"
    assert either.ltrim("l", 0, 2)
    assert either.lrange("l", 0, -1) == [b"A", b"x", b"b"]
    assert either.lpop("l", 2) == [b"A", b"x"]
    assert either.lmpop(1, "l", direction="LEFT", count=5) == [b"l", [b"b"]]
    assert either.lpop("l", 2) is None and either.lpop("l") is None and either.blpop("l", 1) is None


def test_waiters_are_served_in_order(client, redis_url):
    results = []
    for number in range(4):
        join = in_background(lambda: redis.Redis.from_url(redis_url).blpop("q"))
        wait_for(lambda: waiting(client) == number + 1)
        results.append(join)
    client.rpush("q", "a", "b")
    client.rpush("q", "c", "d")
    assert [join()[1] for join in results] == [b"a", b"b", b"c", b"d"]


def test_what_waits_for_a_sorted_set_is_served_once(client, redis_url):
    joins = []
    for number in range(3):
        joins.append(in_background(lambda: redis.Redis.from_url(redis_url).bzpopmin(["other", "z"])))
        wait_for(lambda: waiting(client) == number + 1)
    client.set("other", "no sorted set")
    client.zadd("z", {"b": 2, "a": 1})
    wait_for(lambda: waiting(client) == 1 and not client.exists("z"))
    client.zadd("z", {"c": 3})
    assert sorted(join() for join in joins) == [(b"z", b"a", 1.0), (b"z", b"b", 2.0), (b"z", b"c", 3.0)]
    assert client.bzpopmax("z", timeout=1) is None


def test_a_waiter_that_is_killed_takes_nothing_with_it(client, redis_url):
    waiter = redis.Redis.from_url(redis_url, client_name="doomed", retry=None)
    outcome = in_background(lambda: pytest.raises(redis.ConnectionError, waiter.blpop, "q"))
    wait_for(lambda: waiting(client) == 1)
    [doomed] = [info for info in client.client_list() if info["name"] == "doomed"]
    assert doomed["flags"] == "b" and doomed["cmd"] == "blpop"
    assert client.client_kill_filter(_id=doomed["id"]) == 1
    outcome()
    wait_for(lambda: waiting(client) == 0)
    client.rpush("q", "a")
    assert client.lpop("q") == b"a"


def test_pipelines_and_transactions(either):
    with either.pipeline(transaction=False) as pipe:
        assert pipe.rpush("l", "a", "b").lpop("l").llen("l").execute() == [2, b"a", 1]
    with either.pipeline() as pipe:
        assert pipe.set("k", 1).incr("k").get("k").execute() == [True, 2, b"2"]
    with either.pipeline() as pipe:
        pipe.watch("k")
        either.set("k", "changed")
        pipe.multi()
        pipe.set("k", "lost")
        with pytest.raises(redis.WatchError):
            pipe.execute()
    assert either.get("k") == b"changed"
    with either.pipeline() as pipe:
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            pipe.set("k", 1).lpush("k", "a").set("after", 1).execute()
    assert either.get("after") == b"1", "what could be done is done"


def test_keys_and_their_time(either):
    either.set("k", "v", ex=100)
    assert either.ttl("k") == 100 and 99_000 < either.pttl("k") <= 100_000
    assert either.persist("k") and either.ttl("k") == -1
    assert either.pexpire("k", 30) and either.exists("k")
    wait_for(lambda: not either.exists("k"))
    for number in range(25):
        either.set(f"key:{number}", number)
    assert sorted(either.scan_iter("key:*", count=7)) == sorted(f"key:{n}".encode() for n in range(25))
    assert len(either.keys("key:1?")) == 10 and either.dbsize() == 25
    either.rename("key:1", "renamed")
    assert (either.get("renamed"), either.type("renamed"), either.get("key:1")) == (b"1", b"string", None)
    assert either.delete("renamed", "nothing") == 1


def test_strings(either):
    assert either.set("k", "v") and either.get("k") == b"v"
    assert either.set("k", "other", nx=True) is None and either.setnx("k", "other") == 0
    assert either.set("k", "new", get=True) == b"v"
    assert either.incr("n") == 1 and either.incr("n", 9) == 10 and either.decr("n", 3) == 7
    assert either.mset({"a": 1, "b": 2}) and either.mget("a", "b", "c") == [b"1", b"2", None]
    assert either.setex("s", 100, "v") and either.ttl("s") == 100
    assert either.getdel("s") == b"v" and either.get("s") is None
    large = b"\r\n\0" * 1_000_000
    assert either.set("large", large) and either.get("large") == large


def test_names_and_databases(redis_url):
    client = redis.Redis.from_url(redis_url, client_name="worker-1", decode_responses=True)
    assert client.client_getname() == "worker-1"
    info = client.client_info()
    assert info["name"] == "worker-1" and info["id"] == client.client_id()
    assert client.echo("hello") == "hello" and client.ping()
    assert client.info("server")["redis_version"].startswith("7.")
    assert client.info()["role"] == "master"
    other = redis.Redis.from_url(redis_url.rsplit("/", 1)[0] + "/1")
    client.flushdb(), other.flushdb()
    client.set("k", "here")
    assert other.get("k") is None and client.info("keyspace")["db0"]["keys"] == 1


def test_errors(client):
    client.set("k", "v")
    for work, text in [
        (lambda: client.lpush("k", "a"), "WRONGTYPE Operation against a key holding the wrong kind of value"),
        (lambda: client.incr("k"), "value is not an integer or out of range"),
        (lambda: client.execute_command("NOTHING", "a"), "unknown command 'NOTHING', with args beginning with: 'a' "),
        (lambda: client.execute_command("LPUSH"), "wrong number of arguments for 'lpush' command"),
        (lambda: client.rename("nothing", "k"), "no such key"),
    ]:
        with pytest.raises(redis.ResponseError) as caught:
            work()
        assert str(caught.value) == text
    with pytest.raises(redis.AuthenticationError):
        client.auth("x", "nobody")


@pytest.mark.warren
def test_users_of_the_broker_log_in(redis_url):
    for user, password in [("guest", "guest"), ("/:guest", "guest"), (None, "guest"), ("default", "guest")]:
        client = redis.Redis.from_url(redis_url, username=user, password=password)
        assert client.ping()
    with pytest.raises(redis.AuthenticationError):
        redis.Redis.from_url(redis_url, username="guest", password="wrong").ping()


@pytest.mark.warren
def test_what_was_confirmed_survives_kill_9(warren):
    client = redis.Redis.from_url(warren.redis_url)
    client.rpush("q", *range(100))
    assert client.lpop("q", 10)[-1] == b"9"
    client.set("gone", 1, px=100)
    client.set("k", "v", ex=1000)
    client.lrem("q", 1, 50)
    warren.restart()
    client = redis.Redis.from_url(warren.redis_url)
    assert [int(n) for n in client.lrange("q", 0, -1)] == [n for n in range(10, 100) if n != 50]
    assert client.ttl("k") > 900
    wait_for(lambda: client.dbsize() == 2)


def test_channels(either, redis_url):
    listener = redis.Redis.from_url(redis_url).pubsub()
    listener.subscribe("news")
    listener.psubscribe("n*")
    assert [listener.get_message(timeout=5)["type"] for _ in range(2)] == ["subscribe", "psubscribe"]
    assert either.publish("news", "hello") == 2
    heard = [listener.get_message(timeout=5) for _ in range(2)]
    assert [(m["type"], m["channel"], m["data"]) for m in heard] == [
        ("message", b"news", b"hello"),
        ("pmessage", b"news", b"hello"),
    ]
    assert either.pubsub_numsub("news") == [(b"news", 1)] and either.pubsub_numpat() == 1
    listener.unsubscribe()
    listener.punsubscribe()
    wait_for(lambda: either.publish("news", "nobody") == 0)
    listener.close()


def test_hashes_and_sets(either):
    assert either.hset("h", mapping={"a": 1, "b": 2}) == 2 and either.hget("h", "a") == b"1"
    assert either.hgetall("h") == {b"a": b"1", b"b": b"2"} and either.hincrby("h", "a", 4) == 5
    assert either.hmget("h", "a", "x") == [b"5", None] and either.hdel("h", "a", "b") == 2
    assert either.sadd("s", "a", "b") == 2 and either.smembers("s") == {b"a", b"b"}
    assert either.sismember("s", "a") and either.srem("s", "a") == 1 and either.scard("s") == 1
    assert either.zadd("z", {"a": 1.5, "b": 2, "c": 3}) == 3 and either.zscore("z", "a") == 1.5
    assert either.zrange("z", 0, -1) == [b"a", b"b", b"c"] and either.zrank("z", "b") == 1
    assert either.zrangebyscore("z", "-inf", "(3") == [b"a", b"b"]
    assert either.zrevrangebyscore("z", "+inf", 2, start=0, num=1) == [b"c"]
    assert [tuple(pair) for pair in either.zrange("z", 0, 0, withscores=True)] == [(b"a", 1.5)]
    assert either.zremrangebyscore("z", 0, 2) == 2 and either.zcard("z") == 1


def test_streams(client, redis_url):
    first = client.xadd("s", {"task": "one"})
    client.xadd("s", {"task": "two"}, maxlen=10)
    assert [fields for _, fields in client.xrange("s")] == [{b"task": b"one"}, {b"task": b"two"}]
    client.xgroup_create("s", "workers", id="0")
    [(_, [(id, fields)])] = client.xreadgroup("workers", "alice", {"s": ">"}, count=1)
    assert (id, fields) == (first, {b"task": b"one"})
    [(_, [(other, _)])] = client.xreadgroup("workers", "bob", {"s": ">"})
    assert client.xpending("s", "workers")["pending"] == 2
    assert client.xack("s", "workers", id) == 1
    assert client.xclaim("s", "workers", "alice", 0, [other]) == [(other, {b"task": b"two"})]
    assert client.xautoclaim("s", "workers", "carol", 0)[1] == [(other, {b"task": b"two"})]
    got = in_background(lambda: redis.Redis.from_url(redis_url).xread({"s": "$"}, block=5000))
    wait_for(lambda: waiting(client) == 1)
    third = client.xadd("s", {"task": "three"})
    assert got() == [[b"s", [(third, {b"task": b"three"})]]]
    assert client.xreadgroup("workers", "bob", {"s": ">"}, block=10)[0][1][0][0] == third
    assert client.xreadgroup("workers", "bob", {"s": ">"}, block=10) in ([], {})
    assert client.xinfo_stream("s")["length"] == 3 and client.xlen("s") == 3


@pytest.mark.warren
def test_streams_and_groups_survive_kill_9(warren):
    client = redis.Redis.from_url(warren.redis_url)
    client.xgroup_create("s", "g", mkstream=True)
    ids = [client.xadd("s", {"n": n}) for n in range(5)]
    client.xreadgroup("g", "alice", {"s": ">"}, count=3)
    client.xack("s", "g", ids[0])
    client.xdel("s", ids[4])
    client.hset("h", "a", 1), client.sadd("m", "x"), client.zadd("z", {"y": 2.5})
    warren.restart()
    client = redis.Redis.from_url(warren.redis_url)
    assert [id for id, _ in client.xrange("s")] == ids[:4]
    assert client.xpending("s", "g")["pending"] == 2
    assert client.xreadgroup("g", "bob", {"s": ">"})[0][1] == [(ids[3], {b"n": b"3"})]
    assert client.hgetall("h") == {b"a": b"1"} and client.smembers("m") == {b"x"}
    assert client.zrange("z", 0, -1, withscores=True)[0][1] == 2.5


@pytest.mark.warren
def test_channels_are_an_exchange_and_streams_are_topics(warren):
    import pika
    from kafka import KafkaConsumer

    client = redis.Redis.from_url(warren.redis_url)
    listener = client.pubsub(ignore_subscribe_messages=True)
    listener.subscribe("news.local")
    connection = pika.BlockingConnection(pika.URLParameters(warren.amqp_url))
    channel = connection.channel()
    wait_for(lambda: client.pubsub_numsub("news.local")[0][1] == 1)
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, "redis.pubsub", "news.#")
    client.publish("news.local", "from redis")
    method, _, body = wait_for(lambda: (got := channel.basic_get(queue, auto_ack=True))[0] and got)
    assert (method.routing_key, body) == ("news.local", b"from redis")
    channel.basic_publish("redis.pubsub", "news.local", b"from amqp")
    heard = [wait_for(lambda: listener.get_message(timeout=1))["data"] for _ in range(2)]
    assert heard == [b"from redis", b"from amqp"]
    id = client.xadd("orders", {"item": "tea", "count": 2})
    consumer = KafkaConsumer(
        "redis.0.orders", bootstrap_servers=warren.kafka, auto_offset_reset="earliest", consumer_timeout_ms=20_000
    )
    record = next(consumer)
    assert (record.key, record.value) == (id, b'{"count":"2","item":"tea"}')
    assert record.headers == [("item", b"tea"), ("count", b"2")]
    consumer.close()
    connection.close()
