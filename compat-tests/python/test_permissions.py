"""Users, permissions, limits, policies and vhosts as AMQP clients feel them (rows 20, 21, 49, 50, 52-54, 79), set over the
management API, and still there after a kill -9."""

import ast
import base64
import json
import re
import urllib.error
import urllib.parse
import urllib.request

import pika
import pytest

from conftest import count, wait_for

pytestmark = pytest.mark.warren


def api(broker, method, path, body=None, user="guest:guest", headers=()):
    """Status and JSON of one call."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{broker.doors['admin']}/api/{path}", data=data, method=method)
    request.add_header("Authorization", "Basic " + base64.b64encode(user.encode()).decode())
    for name, value in headers:
        request.add_header(name, value)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            status, text = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read()
    return status, json.loads(text) if text else None


def put(broker, path, body=None):
    status, answer = api(broker, "PUT", path, body)
    assert status in (201, 204), answer


def add_user(broker, configure=".*", write=".*", read=".*", vhost="%2F", name="u", tags=""):
    put(broker, f"users/{name}", {"password": "p", "tags": tags})
    put(broker, f"permissions/{vhost}/{name}", {"configure": configure, "write": write, "read": read})


def connect(broker, user="u", password="p", vhost="/"):
    parameters = pika.URLParameters(broker.amqp_url)
    parameters.credentials = pika.PlainCredentials(user, password)
    parameters.virtual_host = vhost
    parameters.socket_timeout = 10
    return pika.BlockingConnection(parameters)


def refused(connection, act):
    """What a fresh channel is closed with."""
    channel = connection.channel()
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as error:
        act(channel)
        # A publish is refused without an answer of its own.
        channel.queue_declare("", exclusive=True)
    return error.value.reply_code, error.value.reply_text


def not_opened(broker, **settings):
    # pika wraps what the broker said in an exception of its own.
    with pytest.raises(pika.exceptions.AMQPConnectionError) as error:
        connect(broker, **settings)
    code, text = re.search(r"\((\d+)\) (.*)$", str(error.value)).groups()
    return int(code), ast.literal_eval(text)


def test_each_access_is_refused_in_rabbitmqs_words(warren):
    add_user(warren, configure="^mine", write="^mine", read="^mine")
    connection = connect(warren)
    channel = connection.channel()
    channel.queue_declare("mine")
    text = "ACCESS_REFUSED - {} access to {} in vhost '/' refused for user 'u'"
    for act, wanted, on in [
        (lambda c: c.queue_declare("yours"), "configure", "queue 'yours'"),
        (lambda c: c.queue_delete("yours"), "configure", "queue 'yours'"),
        (lambda c: c.exchange_declare("yours"), "configure", "exchange 'yours'"),
        (lambda c: c.basic_get("yours"), "read", "queue 'yours'"),
        (lambda c: c.queue_purge("yours"), "read", "queue 'yours'"),
        (lambda c: c.basic_publish("yours", "k", b""), "write", "exchange 'yours'"),
        (lambda c: c.basic_publish("", "mine", b""), "write", "exchange 'amq.default'"),
        (lambda c: c.queue_bind("mine", "amq.topic", "k"), "read", "exchange 'amq.topic'"),
    ]:
        assert refused(connection, act) == (403, text.format(wanted, on))
    connection.close()


def test_a_change_of_permissions_counts_at_once(warren):
    add_user(warren)
    connection = connect(warren)
    channel = connection.channel()
    channel.queue_declare("q")
    channel.basic_publish("", "q", b"1")
    assert wait_for(lambda: count(channel, "q") == 1)
    put(warren, "permissions/%2F/u", {"configure": ".*", "write": "^$", "read": ".*"})
    code, text = refused(connection, lambda c: c.basic_publish("", "q", b"2"))
    assert (code, "write access to exchange 'amq.default'" in text) == (403, True)
    connection.close()


def test_topic_permissions_know_their_user(warren):
    add_user(warren)
    put(warren, "topic-permissions/%2F/u", {"exchange": "amq.topic", "write": "^{username}\\.", "read": "^a"})
    connection = connect(warren)
    channel = connection.channel()
    channel.queue_declare("q")
    channel.queue_bind("q", "amq.topic", "a.#")
    channel.basic_publish("amq.topic", "u.x", b"")
    text = "ACCESS_REFUSED - {} access to topic '{}' in exchange 'amq.topic' in vhost '/' refused for user 'u'"
    assert refused(connection, lambda c: c.basic_publish("amq.topic", "x.u", b"")) == (403, text.format("write", "x.u"))
    assert refused(connection, lambda c: c.queue_bind("q", "amq.topic", "b")) == (403, text.format("read", "b"))
    connection.close()


def test_a_vhost_that_is_missing_or_closed_is_refused(warren):
    put(warren, "users/u", {"password": "p", "tags": ""})
    assert not_opened(warren, vhost="nope") == (530, "NOT_ALLOWED - vhost nope not found")
    assert not_opened(warren) == (530, "NOT_ALLOWED - access to vhost '/' refused for user 'u'")


def test_limits_are_kept(warren):
    add_user(warren)
    put(warren, "user-limits/u/max-connections", {"value": 1})
    put(warren, "user-limits/u/max-channels", {"value": 1})
    connection = connect(warren)
    assert not_opened(warren) == (
        530, "NOT_ALLOWED - connection refused for user 'u': user connection limit (1) is reached")
    channel = connection.channel()
    put(warren, "vhost-limits/%2F/max-queues", {"value": 1})
    channel.queue_declare("a")
    channel.queue_declare("a")
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as error:
        channel.queue_declare("b")
    assert error.value.reply_text == (
        "PRECONDITION_FAILED - cannot declare queue 'b': queue limit in vhost '/' (1) is reached")
    connection.channel()
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as error:
        connection.channel()
    assert error.value.reply_text == (
        "NOT_ALLOWED - number of channels opened for user 'u' has reached the maximum allowed user limit of 1")
    put(warren, "vhost-limits/%2F/max-connections", {"value": 0})
    assert not_opened(warren) == (
        530, "NOT_ALLOWED - access to vhost '/' refused for user 'u': connection limit (0) is reached")


def test_a_policy_counts_live_and_goes_again(warren):
    connection = connect(warren, "guest", "guest")
    channel = connection.channel()
    channel.queue_declare("pq", durable=True)
    for n in range(5):
        channel.basic_publish("", "pq", str(n))
    assert wait_for(lambda: count(channel, "pq") == 5)
    put(warren, "policies/%2F/short", {"pattern": "^p", "definition": {"max-length": 2}, "apply-to": "queues"})
    assert count(channel, "pq") == 2
    queue = api(warren, "GET", "queues/%2F/pq")[1]
    assert (queue["policy"], queue["effective_policy_definition"]) == ("short", {"max-length": 2})
    assert api(warren, "DELETE", "policies/%2F/short")[0] == 204
    channel.basic_publish("", "pq", "more")
    assert wait_for(lambda: count(channel, "pq") == 3)
    connection.close()


def test_a_queue_tells_how_long_its_messages_are(warren):
    """The figures are RabbitMQ 3.10.8's of the same messages, which shows a stream's by number only."""
    channel = connect(warren, "guest", "guest").channel()
    channel.confirm_delivery()
    kinds = {"classic": {}, "quorum": {"x-queue-type": "quorum"}, "stream": {"x-queue-type": "stream"}}
    for name, arguments in kinds.items():
        channel.queue_declare(name, durable=True, arguments=arguments)
        for n in (1, 2, 3):
            mode = pika.BasicProperties(delivery_mode=1 if n == 1 else 2, timestamp=1_500_000_000 + n)
            channel.basic_publish("", name, b"x" * 10 * n, mode)
        if name != "stream":
            channel.basic_get(name)
    seen = {name: api(warren, "GET", f"queues/%2F/{name}")[1] for name in kinds}
    lengths = {
        "message_bytes": 60, "message_bytes_ready": 50, "message_bytes_unacknowledged": 10, "message_bytes_ram": 60,
        "messages_ram": 3, "message_bytes_persistent": 50, "messages_persistent": 2, "messages_ready_ram": 2,
        "messages_unacknowledged_ram": 1, "messages_paged_out": 0, "message_bytes_paged_out": 0,
        "head_message_timestamp": 1_500_000_002,
    }
    assert {key: seen["classic"][key] for key in lengths} == lengths
    quorum = seen["quorum"]
    assert (quorum["message_bytes"], quorum["message_bytes_persistent"], quorum["messages_persistent"]) == (60, 60, 3)
    assert (quorum["messages_ram"], quorum["message_bytes_ram"]) == (0, 0)
    assert seen["stream"]["messages"] == 3
    absent = {
        "quorum": ("messages_ready_ram", "head_message_timestamp"),
        "stream": ("message_bytes", "messages_ram", "head_message_timestamp"),
    }
    for kind, names in absent.items():
        assert not set(names) & set(seen[kind])


def test_the_consumer_that_is_served_is_named_where_only_one_is(warren):
    channel = connect(warren, "guest", "guest").channel()
    for queue, arguments in [("one", {"x-single-active-consumer": True}), ("several", {})]:
        channel.queue_declare(queue, durable=True, arguments=arguments)
        for tag in ("first", "second"):
            channel.basic_consume(queue, lambda *_: None, consumer_tag=f"{queue}-{tag}")
    tags = [api(warren, "GET", f"queues/%2F/{queue}")[1]["single_active_consumer_tag"] for queue in ("one", "several")]
    assert tags == ["one-first", None]
    channel.basic_cancel("one-first")
    assert api(warren, "GET", "queues/%2F/one")[1]["single_active_consumer_tag"] == "one-second"


def test_an_alternate_exchange_by_policy_takes_what_is_unroutable(warren):
    channel = connect(warren, "guest", "guest").channel()
    channel.exchange_declare("ax", "direct")
    channel.queue_declare("rest")
    channel.queue_bind("rest", "amq.fanout")
    channel.basic_publish("ax", "k", b"lost")
    # Answered behind the publish, so that the policy comes after both.
    assert count(channel, "rest") == 0
    put(warren, "policies/%2F/ae", {"pattern": "^ax$", "definition": {"alternate-exchange": "amq.fanout"}})
    channel.basic_publish("ax", "k", b"kept")
    assert wait_for(lambda: count(channel, "rest") == 1)


def test_who_is_deleted_is_let_go(warren):
    put(warren, "vhosts/v")
    add_user(warren, vhost="v")
    for path, reason in [("users/u", "user 'u' is deleted"), ("vhosts/v", "vhost 'v' is deleted")]:
        connection = connect(warren, vhost="v")
        channel = connection.channel()
        channel.queue_declare("q", durable=True)
        assert api(warren, "DELETE", path)[0] == 204
        with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as error:
            while True:
                connection.process_data_events(time_limit=1)
        assert (error.value.reply_code, error.value.reply_text) == (320, f"CONNECTION_FORCED - {reason}")
        add_user(warren, vhost="v") if path == "users/u" else None
    assert not_opened(warren, vhost="v")[0] == 530


def test_an_operator_closes_a_connection(warren):
    connection = connect(warren, "guest", "guest")
    name = wait_for(lambda: api(warren, "GET", "connections")[1])[0]["name"]
    path = "connections/" + urllib.parse.quote(name, safe="")
    assert api(warren, "DELETE", path, headers=[("X-Reason", "test over")])[0] == 204
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as error:
        while True:
            connection.process_data_events(time_limit=1)
    assert (error.value.reply_code, error.value.reply_text) == (320, "CONNECTION_FORCED - test over")


def test_everything_administered_survives_a_kill(warren):
    put(warren, "vhosts/v", {"description": "d", "tags": "a,b", "tracing": True})
    add_user(warren, configure="^c", vhost="v", tags="monitoring")
    put(warren, "users/root", {"password": "r", "tags": "administrator"})
    put(warren, "topic-permissions/v/u", {"exchange": "amq.topic", "write": "^a", "read": ".*"})
    put(warren, "user-limits/u/max-channels", {"value": 7})
    put(warren, "vhost-limits/v/max-queues", {"value": 9})
    put(warren, "policies/v/p", {"pattern": "^(?!amq\\.)", "definition": {"max-length": 1}, "priority": 3})
    put(warren, "operator-policies/v/o", {"pattern": "^q", "definition": {"message-ttl": 60000}})
    put(warren, "global-parameters/g", {"value": {"x": [1, None, True]}})
    put(warren, "vhosts/gone")
    assert api(warren, "DELETE", "vhosts/gone")[0] == 204
    assert api(warren, "DELETE", "users/guest")[0] == 204
    before = api(warren, "GET", "definitions", user="root:r")[1]
    warren.kill()
    warren.restart()
    assert api(warren, "GET", "whoami")[0] == 401
    after = api(warren, "GET", "definitions", user="root:r")[1]
    assert after == before
    assert {vhost["name"] for vhost in after["vhosts"]} == {"/", "v"}
    connect(warren, vhost="v").close()


def test_definitions_go_from_one_broker_to_the_next(warren):
    put(warren, "vhosts/v")
    add_user(warren, vhost="v")
    put(warren, "exchanges/v/x", {"type": "topic"})
    put(warren, "queues/v/q", {"durable": True, "arguments": {"x-max-length": 3}})
    status, _ = api(warren, "POST", "bindings/v/e/x/q/q", {"routing_key": "a.#", "arguments": {"n": 1}})
    assert status == 201
    for source in ["amq.topic", "amq.fanout", "amq.match", "amq.direct"]:
        assert api(warren, "POST", f"bindings/v/e/{source}/e/x", {"routing_key": ""})[0] == 201
    definitions = api(warren, "GET", "definitions")[1]
    assert api(warren, "DELETE", "vhosts/v")[0] == 204
    assert api(warren, "DELETE", "users/u")[0] == 204
    assert api(warren, "POST", "definitions", definitions)[0] == 204
    again = api(warren, "GET", "definitions")[1]
    assert again == definitions
    connect(warren, vhost="v").close()


def test_events_tell_who_administered_what(warren):
    channel = connect(warren, "guest", "guest").channel()
    events = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(events, "amq.rabbitmq.event", "#")
    put(warren, "users/root", {"password": "r", "tags": "administrator"})
    told = []

    def told_of(method, path, body=None):
        """The keys of all events of one call, and the headers of the last; `root` did it."""
        status, answer = api(warren, method, path, body, user="root:r")
        assert status in (201, 204), answer
        channel.basic_publish("", events, b"over")
        told.clear()
        while not told or told[-1][0] != events:
            method, properties, _ = channel.basic_get(events, auto_ack=True)
            if method:
                told.append((method.routing_key, properties.headers))
        told.pop()
        assert {headers["user_who_performed_action"] for _, headers in told} == {"root"}
        return [key for key, _ in told], told[-1][1]

    put(warren, "global-parameters/flush", {"value": 1})
    channel.queue_purge(events)
    keys, last = told_of("PUT", "vhosts/v", {"description": "d", "tags": "a,b"})
    assert keys[-2:] == ["vhost.created", "permission.created"] and keys.count("exchange.created") == 7
    assert last["user"] == "root" and (last["configure"], last["write"], last["read"]) == (".*",) * 3
    assert told[-2][1]["description"] == "d" and told[-2][1]["tags"] == ["a", "b"]
    policy = {"pattern": "^q", "definition": {"max-length": 5}, "priority": 1, "apply-to": "queues"}
    permission = {"configure": ".*", "write": "w", "read": ""}
    topic = {"exchange": "amq.topic", "write": "w", "read": ""}
    for method, path, body, expected in [
        ("PUT", "vhosts/v", {"tracing": True}, ["vhost.updated"]),
        ("PUT", "users/u", {"password": "p", "tags": "management"}, ["user.created", "user.tags.set"]),
        ("PUT", "users/u", {"password": "q", "tags": ""}, ["user.password.changed", "user.tags.set"]),
        ("PUT", "permissions/v/u", permission, ["permission.created"]),
        ("PUT", "topic-permissions/v/u", topic, ["topic.permission.created"]),
        ("DELETE", "topic-permissions/v/u", None, ["topic.permission.deleted"]),
        ("DELETE", "permissions/v/u", None, ["permission.deleted"]),
        ("PUT", "user-limits/u/max-channels", {"value": 1}, ["user.limits.set"]),
        ("DELETE", "user-limits/u/max-channels", None, ["user.limits.cleared"]),
        ("PUT", "policies/v/p", policy, ["policy.set"]),
        ("PUT", "operator-policies/v/o", policy, ["parameter.set", "policy.set"]),
        ("DELETE", "operator-policies/v/o", None, ["parameter.cleared", "operator.policy.cleared"]),
        ("DELETE", "policies/v/p", None, ["policy.cleared"]),
        ("PUT", "vhost-limits/v/max-queues", {"value": 9}, ["parameter.set", "vhost.limits.set"]),
        ("PUT", "global-parameters/g", {"value": {"a": 1}}, ["parameter.set"]),
        ("PUT", "queues/v/q", {"durable": True}, ["queue.created"]),
        ("PUT", "exchanges/v/x", {"type": "topic"}, ["exchange.created"]),
        ("POST", "bindings/v/e/x/q/q", {"routing_key": "k"}, ["binding.created"]),
        ("DELETE", "exchanges/v/x", None, ["binding.deleted", "exchange.deleted"]),
        ("DELETE", "queues/v/q", None, ["queue.deleted"]),
        ("DELETE", "users/u", None, ["user.deleted"]),
    ]:
        assert told_of(method, path, body)[0] == expected, (method, path)
    assert told_of("DELETE", "vhosts/v")[0][-1] == "vhost.deleted"
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        connect(warren, "root", "wrong")
    wait_for(lambda: count(channel, events) > 0)
    method, properties, _ = channel.basic_get(events, auto_ack=True)
    assert method.routing_key == "user.authentication.failure"
    assert (properties.headers["name"], properties.headers["auth_mechanism"]) == ("root", "PLAIN")


def test_what_is_published_over_http_is_checked_as_on_a_channel(warren):
    put(warren, "queues/%2F/q", {"durable": True})
    add_user(warren, write="^(amq.default|amq.topic|q)$", tags="management")
    put(warren, "topic-permissions/%2F/u", {"exchange": "amq.topic", "write": "^a", "read": "^b"})
    message = {"payload": "m", "payload_encoding": "string", "properties": {}, "routing_key": "q"}

    def publish(exchange="amq.default", **changed):
        return api(warren, "POST", f"exchanges/%2F/{exchange}/publish", message | changed, user="u:p")

    def of(**properties):
        return {"properties": properties}

    for changed, status, expected in [
        (of(user_id="other"), 400, "user_id property set to 'other' but authenticated user was 'u'"),
        (of(expiration="9" * 17), 400, "invalid expiration '99999999999999999': {value_too_large,99999999999999999}"),
        (of(reply_to="amq.rabbitmq.reply-to"), 400, "fast reply consumer does not exist"),
        (of(headers={"CC": "q"}), 400, 'invalid message: {unacceptable_type_in_header,"CC",longstr}'),
    ]:
        answer = publish(**changed)
        assert answer == (status, {"error": "bad_request", "reason": f"406 PRECONDITION_FAILED - {expected}"})
    assert publish(**of(message_id=5)) == (400, {"error": "bad_request", "reason": ["not_string", "message_id"]})
    assert publish(routing_key="k" * 256)[0] == 400
    assert api(warren, "PUT", "queues/%2F/" + "q" * 256, {})[1]["reason"].startswith("queue should be less than")
    assert publish("amq.topic", routing_key="a.b")[0] == 200
    assert publish("amq.topic", routing_key="b.a")[0] == 401
    assert publish("amq.topic", routing_key="a.b", **of(headers={"BCC": ["b.a"]}))[0] == 401
    for key, status in [("b.c", 201), ("a.c", 401)]:
        bound = api(warren, "POST", "bindings/%2F/e/amq.topic/q/q", {"routing_key": key}, user="u:p")
        assert bound[0] == status
    copies = of(user_id="u", headers={"CC": ["q"], "BCC": ["nowhere"], "h": 1})
    assert publish(routing_key="nowhere", **copies) == (200, {"routed": True})
    method, properties, body = connect(warren, "guest", "guest").channel().basic_get("q", auto_ack=True)
    assert (method.routing_key, properties.user_id, body) == ("nowhere", "u", b"m")
    assert properties.headers == {"CC": ["q"], "h": 1}
    assert publish(**of(delivery_mode=2)) == (200, {"routed": True})
    warren.kill()
    warren.restart()
    assert count(connect(warren, "guest", "guest").channel(), "q") == 1, "an answer means on disk"


def test_what_is_rejected_over_http_is_dead_lettered(warren):
    put(warren, "queues/%2F/dead", {"durable": True})
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
    put(warren, "queues/%2F/q", {"durable": True, "arguments": arguments})
    channel = connect(warren, "guest", "guest").channel()
    channel.confirm_delivery()
    for n in range(3):
        channel.basic_publish("", "q", b"%d" % n)

    def get(mode, count=1):
        body = {"count": count, "ackmode": mode, "encoding": "auto"}
        return [row["payload"] for row in api(warren, "POST", "queues/%2F/q/get", body)[1]]

    assert get("ack_requeue_true", 5) == ["0", "1", "2"]
    assert get("reject_requeue_false") == ["0"]
    assert get("ack_requeue_false") == ["1"]
    assert (count(channel, "q"), count(channel, "dead")) == (1, 1)
    _, properties, body = channel.basic_get("dead", auto_ack=True)
    assert body == b"0" and properties.headers["x-death"][0]["reason"] == "rejected"


def test_over_http_too_a_declaration_needs_what_its_arguments_reach(warren):
    add_user(warren, write="^mine", tags="management")

    def declare(path, arguments):
        return api(warren, "PUT", path, {"arguments": arguments}, user="u:p")[0]

    assert declare("queues/%2F/mine-1", {"x-dead-letter-exchange": "other"}) == 401
    assert declare("queues/%2F/mine-1", {"x-dead-letter-exchange": "mine"}) == 201
    assert declare("exchanges/%2F/mine-2", {"alternate-exchange": "other"}) == 401
    assert declare("exchanges/%2F/mine-2", {"alternate-exchange": "mine"}) == 201


def test_an_exclusive_queue_is_its_connections_alone_over_http_too(warren):
    channel = connect(warren, "guest", "guest").channel()
    channel.queue_declare("q", exclusive=True)
    get = {"count": 1, "ackmode": "ack_requeue_false", "encoding": "auto"}
    for method, path, body in [
        ("DELETE", "queues/%2F/q/contents", None),
        ("POST", "bindings/%2F/e/amq.direct/q/q", {"routing_key": "k"}),
        ("POST", "queues/%2F/q/get", get),
        ("PUT", "queues/%2F/q", {}),
        ("DELETE", "queues/%2F/q", None),
    ]:
        status, answer = api(warren, method, path, body)
        assert (status, "exclusive access to locked queue 'q'" in answer["reason"]) == (400, True), (method, path)
    assert api(warren, "GET", "bindings/%2F/e/amq.direct/q/q")[0] == 200, "looking is allowed"
    assert count(channel, "q") == 0
