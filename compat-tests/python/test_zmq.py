"""pyzmq (libzmq), as its guide calls it: every pattern against the broker, alone and together with AMQP."""

import threading
import time
import uuid

import pika
import pytest
import zmq
import zmq.auth
from conftest import count, get_all, wait_for

pytestmark = pytest.mark.warren

TIMEOUT_MS = 20_000


@pytest.fixture
def context():
    context = zmq.Context()
    yield context
    context.destroy(linger=0)


@pytest.fixture
def socket(context, zmq_url):
    """Opens sockets that are closed with the test; keyword arguments set their options before they connect."""

    def open_one(kind, url=None, **options):
        opened = context.socket(kind)
        for name, value in {"linger": 0, "rcvtimeo": TIMEOUT_MS, "sndtimeo": TIMEOUT_MS, **options}.items():
            setattr(opened, name, value)
        opened.connect(url or zmq_url)
        return opened

    return open_one


def drain(channel, *queues):
    """Empties queues, which the tests of a broker share."""
    for queue in queues:
        channel.queue_delete(queue)


@pytest.fixture(autouse=True)
def empty(request):
    if "warren" not in request.fixturenames:
        drain(request.getfixturevalue("channel"), "zmq.queue", "zmq.req")


def subscribed(publisher, subscriber, topic=b""):
    """Waits until what is published is heard: a subscription is on its way for a while."""
    poller = zmq.Poller()
    poller.register(subscriber, zmq.POLLIN)
    token = topic + uuid.uuid4().hex.encode()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        publisher.send(token)
        if poller.poll(50):
            break
    else:
        raise AssertionError("it never heard anything")
    # Whatever was sent more often than heard.
    last = uuid.uuid4().hex.encode()
    publisher.send(topic + last)
    while not subscriber.recv_multipart()[0].endswith(last):
        pass


def test_a_request_is_answered_ok_and_stored(socket, channel):
    requester = socket(zmq.REQ)
    for n in range(3):
        requester.send(b"request %d" % n)
        assert requester.recv() == b"OK"
    requester.send_multipart([b"a", b"", b"b"])
    assert requester.recv() == b"OK"
    stored = get_all(channel, "zmq.req")
    assert [body for _, _, body in stored] == [b"request 0", b"request 1", b"request 2", b"b"]
    assert [properties.delivery_mode for _, properties, _ in stored] == [2] * 4
    assert stored[3][1].headers == {"zmq-parts": ["a", ""]}


def test_a_dealer_need_not_wait_and_gets_its_envelopes_back(socket):
    dealer = socket(zmq.DEALER, identity=b"me")
    for n in range(500):
        dealer.send_multipart([b"%d" % n, b"", b"request"])
    assert [dealer.recv_multipart() for _ in range(500)] == [[b"%d" % n, b"", b"OK"] for n in range(500)]
    dealer.send(b"without an envelope")
    assert dealer.recv_multipart() == [b"OK"]


def test_requests_beyond_the_queue_are_answered_with_an_error(socket, channel):
    arguments = {"x-max-length": 2, "x-overflow": "reject-publish"}
    channel.queue_declare("zmq.req", durable=True, arguments=arguments)
    requester = socket(zmq.REQ)
    answers = []
    for _ in range(3):
        requester.send(b"request")
        answers.append(requester.recv())
    assert answers == [b"OK", b"OK", b"ERR the queue of requests is full"]


def test_a_pipeline_keeps_order_and_parts(socket):
    push, pull = socket(zmq.PUSH), socket(zmq.PULL)
    messages = [[b"%d" % n] for n in range(2_000)] + [[b"a", b"", b"x" * 300], [b""], [b"y" * 200_000, b"z"]]
    for message in messages:
        push.send_multipart(message)
    assert [pull.recv_multipart() for _ in messages] == messages


def test_large_messages_of_any_parts_come_through(socket):
    push, pull = socket(zmq.PUSH), socket(zmq.PULL)
    messages = [[b"x" * (20 << 20)], [b"y" * (5 << 20), b"", b"z" * (5 << 20)]]
    for message in messages:
        push.send_multipart(message)
        assert pull.recv_multipart() == message


def test_messages_are_spread_over_workers_and_each_goes_to_one(socket):
    workers = [socket(zmq.PULL) for _ in range(3)]
    push = socket(zmq.PUSH)
    poller = zmq.Poller()
    for worker in workers:
        poller.register(worker, zmq.POLLIN)
    # All are there before the work begins.
    got = {worker: 0 for worker in workers}
    while not all(got.values()):
        push.send(b"are you there?")
        for worker, _ in poller.poll(20):
            worker.recv()
            got[worker] += 1
    for n in range(300):
        push.send(b"%d" % n)
    seen = {worker: [] for worker in workers}
    while sum(map(len, seen.values())) < 300:
        for worker, _ in poller.poll(TIMEOUT_MS):
            body = worker.recv()
            if body.isdigit():
                seen[worker].append(int(body))
    assert sorted(n for all in seen.values() for n in all) == list(range(300))
    assert min(map(len, seen.values())) >= 50


def test_push_and_amqp_share_a_queue(socket, channel):
    push = socket(zmq.PUSH)
    push.send(b"plain")
    push.send_multipart([b"head", b"\xff", b"body"])
    push.send_multipart([b"x" * 70_000, b"tail"])
    wait_for(lambda: exists(channel.connection, "zmq.queue") and count(channel, "zmq.queue") == 3)
    plain, parts, sizes = get_all(channel, "zmq.queue")
    assert (plain[1].headers, plain[2]) == (None, b"plain")
    assert (parts[1].headers["zmq-parts"][0], parts[2]) == ("head", b"body")
    assert (sizes[1].headers, sizes[2]) == ({"zmq-sizes": [70_000, 4]}, b"x" * 70_000 + b"tail")
    pull = socket(zmq.PULL)
    channel.basic_publish("", "zmq.queue", b"by amqp", pika.BasicProperties(headers={"other": 1}))
    assert pull.recv_multipart() == [b"by amqp"]
    channel.basic_publish("", "zmq.queue", b"c", pika.BasicProperties(headers={"zmq-parts": ["a", b"b"]}))
    assert pull.recv_multipart() == [b"a", b"b", b"c"]


def test_a_full_queue_pushes_back_and_drops_nothing(socket, channel):
    arguments = {"x-max-length": 5, "x-overflow": "reject-publish"}
    channel.queue_declare("zmq.queue", durable=True, arguments=arguments)
    push = socket(zmq.PUSH, sndhwm=1, sndbuf=65_536)
    sent = 0
    block = b"x" * 200_000
    while True:
        try:
            push.sndtimeo = 500
            push.send(b"%06d" % sent + block)
            sent += 1
        except zmq.Again:
            break
        assert sent < 500, "nobody pushes back"
    assert sent > 5
    pull = socket(zmq.PULL)
    assert [int(pull.recv()[:6]) for _ in range(sent)] == list(range(sent))
    push.sndtimeo = TIMEOUT_MS
    push.send(b"more")
    assert pull.recv() == b"more"
    channel.queue_delete("zmq.queue")


def test_a_pull_that_is_killed_loses_nothing_that_it_was_not_sent(socket, zmq_url, channel):
    import os
    import signal
    import subprocess
    import sys

    push = socket(zmq.PUSH)
    script = f"""
import zmq
pull = zmq.Context().socket(zmq.PULL)
pull.rcvhwm = 1
pull.rcvbuf = 4096
pull.connect({zmq_url!r})
print(pull.recv(), flush=True)
import time
time.sleep(1000)
"""
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    block = b"x" * 100_000
    total = 200
    for n in range(total):
        push.send(b"%06d" % n + block)
    assert child.stdout.readline().startswith("b'000000")
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    # Or the next is served before the broker has noticed.
    wait_for(lambda: channel.queue_declare("zmq.queue", passive=True).method.consumer_count == 0)
    pull = socket(zmq.PULL)
    got = [int(pull.recv()[:6])]
    while got[-1] != total - 1:
        got.append(int(pull.recv()[:6]))
    # What was in the peer's socket is lost with it; everything behind that is here, in order.
    assert got == list(range(got[0], total))
    assert len(got) > total // 4
    wait_for(lambda: count(channel, "zmq.queue") == 0)


def test_subscribers_hear_what_begins_with_their_prefixes(socket):
    publisher, news, all = socket(zmq.PUB), socket(zmq.SUB), socket(zmq.SUB)
    news.subscribe(b"news")
    all.subscribe(b"")
    subscribed(publisher, news, b"news")
    subscribed(publisher, all)
    publisher.send_multipart([b"weather", b"rain"])
    publisher.send_multipart([b"news.local", b"", b"cat"])
    assert news.recv_multipart() == [b"news.local", b"", b"cat"]
    heard = []
    while len(heard) < 2:
        message = all.recv_multipart()
        heard += [message] if len(message) > 1 else []
    assert heard == [[b"weather", b"rain"], [b"news.local", b"", b"cat"]]
    news.unsubscribe(b"news")
    news.subscribe(b"sport")
    subscribed(publisher, news, b"sport")
    publisher.send_multipart([b"news", b"unheard"])
    publisher.send_multipart([b"sport", b"heard"])
    assert news.recv_multipart() == [b"sport", b"heard"]


def test_topics_that_are_no_routing_keys_are_topics_all_the_same(socket):
    publisher, subscriber = socket(zmq.XPUB), socket(zmq.XSUB)
    long = b"t" * 1_000
    for prefix in (b"\xff\xfe", long):
        subscriber.send(b"\x01" + prefix)
        subscribed(publisher, subscriber, prefix)
        publisher.send_multipart([prefix + b"!", b"1"])
        assert subscriber.recv_multipart() == [prefix + b"!", b"1"]


def test_pubsub_and_amqp_share_an_exchange(socket, channel):
    publisher, subscriber = socket(zmq.PUB), socket(zmq.SUB)
    subscriber.subscribe(b"news")
    subscribed(publisher, subscriber, b"news")
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, "zmq.pubsub", "news.#")
    channel.basic_publish("zmq.pubsub", "news.world", b"by amqp")
    channel.basic_publish("zmq.pubsub", "other", b"unheard")
    assert subscriber.recv_multipart() == [b"news.world", b"by amqp"]
    publisher.send_multipart([b"news.local", b"by zmq"])
    publisher.send(b"news.alone")
    messages = []
    wait_for(lambda: messages.extend(get_all(channel, queue)) or len(messages) == 3)
    seen = [(method.routing_key, properties.headers, body) for method, properties, body in messages]
    assert seen == [
        ("news.world", None, b"by amqp"),
        ("news.local", {"zmq-parts": ["news.local"]}, b"by zmq"),
        ("news.alone", {"zmq-parts": []}, b"news.alone"),
    ]


def test_a_subscriber_that_does_not_read_holds_nobody_up(socket):
    publisher, slow, fast = socket(zmq.PUB, sndhwm=0), socket(zmq.SUB, rcvhwm=1), socket(zmq.SUB, rcvhwm=0)
    for subscriber in (slow, fast):
        subscriber.subscribe(b"")
        subscribed(publisher, subscriber)
    block = b"x" * 100_000
    for n in range(500):
        publisher.send_multipart([b"%d" % n, block])
    heard = []
    while len(heard) < 500:
        message = fast.recv_multipart()
        heard += [int(message[0])] if len(message) == 2 else []
    assert heard == list(range(500))


def test_plain_logs_in_with_the_users_of_the_broker(socket, context, zmq_url):
    push = socket(zmq.PUSH, plain_username=b"guest", plain_password=b"guest")
    push.send(b"hello")
    pull = socket(zmq.PULL, plain_username=b"/:guest", plain_password=b"guest")
    assert pull.recv() == b"hello"
    refused = context.socket(zmq.PUSH)
    refused.linger, refused.plain_username, refused.plain_password = 0, b"guest", b"wrong"
    monitor = refused.get_monitor_socket()
    monitor.rcvtimeo = TIMEOUT_MS
    refused.connect(zmq_url)
    assert handshake(monitor) == (zmq.EVENT_HANDSHAKE_FAILED_AUTH, 400)


def handshake(monitor):
    """How a handshake ends: the event and its value."""
    from zmq.utils.monitor import recv_monitor_message

    ends = (
        zmq.EVENT_HANDSHAKE_SUCCEEDED,
        zmq.EVENT_HANDSHAKE_FAILED_AUTH,
        zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL,
        zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL,
    )
    while True:
        event = recv_monitor_message(monitor)
        if event["event"] in ends:
            return event["event"], event["value"]


def test_heartbeats_keep_a_connection_and_show_a_dead_one(socket):
    requester = socket(zmq.REQ, heartbeat_ivl=50, heartbeat_timeout=5_000, heartbeat_ttl=5_000)
    requester.send(b"first")
    assert requester.recv() == b"OK"
    monitor = requester.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    assert not monitor.poll(500)
    requester.send(b"second")
    assert requester.recv() == b"OK"


def test_a_worker_over_amqp_answers_by_reply_to(warren_zmq, socket):
    broker = warren_zmq(mode="reply")
    connection = pika.BlockingConnection(pika.URLParameters(broker.amqp_url))
    channel = connection.channel()
    channel.queue_declare("zmq.req", durable=True, arguments={"x-max-length": 100_000, "x-overflow": "reject-publish"})
    stop = threading.Event()

    def work():
        for method, properties, body in channel.consume("zmq.req", inactivity_timeout=0.1):
            if method is not None:
                reply = pika.BasicProperties(correlation_id=properties.correlation_id)
                channel.basic_publish("", properties.reply_to, body.upper(), reply)
                channel.basic_ack(method.delivery_tag)
            if stop.is_set():
                return

    worker = threading.Thread(target=work)
    worker.start()
    try:
        requesters = [socket(zmq.REQ, broker.zmq_url) for _ in range(3)]
        for round in range(20):
            for n, requester in enumerate(requesters):
                requester.send(b"%d from %d" % (round, n))
            for n, requester in enumerate(requesters):
                assert requester.recv() == b"%d FROM %d" % (round, n)
        dealer = socket(zmq.DEALER, broker.zmq_url)
        for n in range(50):
            dealer.send_multipart([b"%d" % n, b"", b"x%d" % n])
        assert sorted(int(dealer.recv_multipart()[0]) for _ in range(50)) == list(range(50))
    finally:
        stop.set()
        worker.join()
        connection.close()


def test_workers_of_zmq_answer_and_one_that_dies_is_replaced(warren_zmq, socket, context):
    broker = warren_zmq(mode="reply")
    requester = socket(zmq.REQ, broker.zmq_url)
    dies = socket(zmq.REP, broker.zmq_url)
    requester.send_multipart([b"two", b"parts"])
    assert dies.recv_multipart() == [b"two", b"parts"]
    dies.close(linger=0)
    lives = socket(zmq.REP, broker.zmq_url)
    assert lives.recv_multipart() == [b"two", b"parts"]
    lives.send_multipart([b"an", b"answer"])
    assert requester.recv_multipart() == [b"an", b"answer"]
    router = socket(zmq.ROUTER, broker.zmq_url)
    lives.close(linger=0)
    requester.send(b"next")
    *envelope, request = router.recv_multipart()
    assert request == b"next"
    router.send_multipart([*envelope, b"by a router"])
    assert requester.recv() == b"by a router"


def test_a_worker_of_zmq_answers_a_client_of_amqp(warren_zmq, socket):
    broker = warren_zmq(mode="reply")
    worker = socket(zmq.REP, broker.zmq_url)
    connection = pika.BlockingConnection(pika.URLParameters(broker.amqp_url))
    channel = connection.channel()
    wait_for(lambda: exists(connection, "zmq.req"), connection)
    replies = []
    channel.basic_consume("amq.rabbitmq.reply-to", lambda *reply: replies.append(reply), auto_ack=True)
    properties = pika.BasicProperties(reply_to="amq.rabbitmq.reply-to", correlation_id="7")
    channel.basic_publish("", "zmq.req", b"question", properties)
    assert worker.recv() == b"question"
    worker.send(b"answer")
    wait_for(lambda: replies, connection)
    assert (replies[0][2].correlation_id, replies[0][3]) == ("7", b"answer")
    connection.close()


def exists(connection, queue):
    channel = connection.channel()
    try:
        channel.queue_declare(queue, passive=True)
        channel.close()
        return True
    except pika.exceptions.ChannelClosedByBroker:
        return False


def test_endpoints_have_mappings_of_their_own(warren_zmq, socket):
    broker = warren_zmq(
        file="""
[zmq.mapping]
queue = "first"
[[zmq.endpoints]]
address = "127.0.0.1:0"
mapping = { queue = "second", mode = "reply", requests = "rpc" }
"""
    )
    first, second = socket(zmq.PUSH, broker.zmq_url), socket(zmq.PUSH, broker.url("zmq.0"))
    first.send(b"1"), second.send(b"2")
    assert socket(zmq.PULL, broker.url("zmq.0")).recv() == b"2"
    assert socket(zmq.PULL, broker.zmq_url).recv() == b"1"
    requester, worker = socket(zmq.REQ, broker.url("zmq.0")), socket(zmq.REP, broker.url("zmq.0"))
    requester.send(b"?")
    assert worker.recv() == b"?"
    worker.send(b"!")
    assert requester.recv() == b"!"


def test_curve_knows_the_server_and_its_clients(warren_zmq, socket, context, tmp_path):
    _, server_secret = zmq.auth.create_certificates(tmp_path, "server")
    clients = tmp_path / "clients"
    clients.mkdir()
    _, known = zmq.auth.create_certificates(clients, "guest")
    _, unknown = zmq.auth.create_certificates(tmp_path, "unknown")
    broker = warren_zmq(
        options=["--set", f"zmq.curve_key_file={server_secret}", "--set", f"zmq.curve_clients_dir={clients}"]
    )
    server_key, _ = zmq.auth.load_certificate(server_secret)

    def sealed(secret):
        public_key, secret_key = zmq.auth.load_certificate(secret)
        return {"curve_serverkey": server_key, "curve_publickey": public_key, "curve_secretkey": secret_key}

    push = socket(zmq.PUSH, broker.zmq_url, **sealed(known))
    messages = [[b"secret"], [b"a", b"", b"x" * 100_000]]
    for message in messages:
        push.send_multipart(message)
    pull = socket(zmq.PULL, broker.zmq_url, **sealed(known))
    assert [pull.recv_multipart() for _ in messages] == messages
    publisher, subscriber = (socket(kind, broker.zmq_url, **sealed(known)) for kind in (zmq.PUB, zmq.SUB))
    subscriber.subscribe(b"t")
    subscribed(publisher, subscriber, b"t")
    refused = context.socket(zmq.PUSH)
    refused.linger = 0
    for name, value in sealed(unknown).items():
        setattr(refused, name, value)
    monitor = refused.get_monitor_socket()
    monitor.rcvtimeo = TIMEOUT_MS
    refused.connect(broker.zmq_url)
    assert handshake(monitor) == (zmq.EVENT_HANDSHAKE_FAILED_AUTH, 400)


def test_sockets_connect_again_and_what_was_ok_survives_kill_9(warren_zmq, socket):
    broker = warren_zmq()
    requester = socket(zmq.REQ, broker.zmq_url, req_relaxed=True, req_correlate=True)
    push = socket(zmq.PUSH, broker.zmq_url)
    confirmed = []
    for round in range(3):
        for n in range(100):
            requester.send(b"%d" % (round * 100 + n))
            assert requester.recv() == b"OK"
            confirmed.append(round * 100 + n)
        broker.restart()
        push.send(b"after %d" % round)
    connection = pika.BlockingConnection(pika.URLParameters(broker.amqp_url))
    channel = connection.channel()
    stored = [int(body) for _, _, body in get_all(channel, "zmq.req")]
    assert set(confirmed) <= set(stored)
    pull = socket(zmq.PULL, broker.zmq_url)
    while pull.recv() != b"after 2":
        pass
    connection.close()


def test_the_connection_is_shown_and_can_be_closed(warren_zmq, socket):
    import base64
    import json
    import urllib.request

    broker = warren_zmq()
    pull = socket(zmq.PULL, broker.zmq_url, plain_username=b"guest", plain_password=b"guest")
    push = socket(zmq.PUSH, broker.zmq_url)
    push.send(b"hello")
    assert pull.recv() == b"hello"
    url = f"http://{broker.doors['admin']}/api/connections"
    login = {"Authorization": "Basic " + base64.b64encode(b"guest:guest").decode()}

    def shown():
        with urllib.request.urlopen(urllib.request.Request(url, headers=login)) as answer:
            return {row["client_properties"]["Socket-Type"]: row for row in json.load(answer)}

    rows = wait_for(lambda: len(rows := shown()) == 2 and rows)
    assert (rows["PULL"]["protocol"], rows["PULL"]["auth_mechanism"]) == ("ZMTP 3.1", "PLAIN")
    assert (rows["PUSH"]["user"], rows["PUSH"]["auth_mechanism"]) == ("guest", "NULL")
    name = urllib.request.quote(rows["PULL"]["name"], safe="")
    urllib.request.urlopen(urllib.request.Request(f"{url}/{name}", method="DELETE", headers=login))
    wait_for(lambda: shown().get("PULL", {}).get("name") != rows["PULL"]["name"])
    push.send(b"it is back")
    assert pull.recv() == b"it is back"
