"""Dead-lettering, expiry and limits: what leaves a queue without being acknowledged, and where it goes."""

import datetime
import time

import pika
import pytest
from conftest import bodies, count, get_all, receive, refused, wait_for

FIRST = ["x-first-death-exchange", "x-first-death-queue", "x-first-death-reason"]
LAST = ["x-last-death-exchange", "x-last-death-queue", "x-last-death-reason"]
DEATH = ["count", "reason", "queue", "time", "exchange", "routing-keys"]


@pytest.fixture
def dead(channel):
    """Where the dead letters of a test go."""
    return channel.queue_declare("", exclusive=True).method.queue


@pytest.fixture
def source(channel, name, dead):
    """Declares the test's queue with `dead` as its end, and more arguments."""
    channel.confirm_delivery()

    def declare(dlx=True, **arguments):
        arguments = {f"x-{key.replace('_', '-')}": value for key, value in arguments.items()}
        if dlx:
            arguments |= {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
        return channel.queue_declare(name, exclusive=True, arguments=arguments).method.queue

    return declare


def letters(channel, queue, number):
    """So many dead letters, once they are there: (method, properties, body) of each."""
    wait_for(lambda: count(channel, queue) >= number, channel.connection)
    got = get_all(channel, queue)
    assert len(got) == number
    return got


def reject(channel, queue):
    method, _, _ = channel.basic_get(queue)
    channel.basic_reject(method.delivery_tag, requeue=False)


def headers_of(version):
    return ["x-death"] + FIRST + (LAST if version >= (3, 13) else [])


def test_a_rejected_message_says_how_it_died(channel, source, dead, version):
    queue = source()
    properties = pika.BasicProperties(headers={"z": 1, "a": "b"}, delivery_mode=2, content_type="text/plain", priority=3)
    channel.basic_publish("", queue, b"x", properties)
    before = int(time.time())
    reject(channel, queue)
    ((method, properties, body),) = letters(channel, dead, 1)
    assert (body, method.exchange, method.routing_key, method.redelivered) == (b"x", "", dead, False)
    assert (properties.delivery_mode, properties.content_type, properties.priority) == (2, "text/plain", 3)
    headers = properties.headers
    assert list(headers) == sorted(["a", "z"] + headers_of(version))
    (death,) = headers["x-death"]
    assert list(death) == DEATH
    assert (death["count"], death["reason"], death["queue"]) == (1, "rejected", queue)
    assert (death["exchange"], death["routing-keys"]) == ("", [queue])
    assert before - 1 <= death["time"].replace(tzinfo=datetime.timezone.utc).timestamp() <= before + 60
    for which in ["first"] + (["last"] if version >= (3, 13) else []):
        told = [headers[f"x-{which}-death-{what}"] for what in ("reason", "queue", "exchange")]
        assert told == ["rejected", queue, ""]


def test_many_nacked_at_once_keep_their_order(channel, source, dead):
    queue = source()
    for n in range(20):
        channel.basic_publish("", queue, str(n).encode())
    tags = [channel.basic_get(queue)[0].delivery_tag for _ in range(20)]
    channel.basic_nack(tags[-1], multiple=True, requeue=False)
    assert [body for _, _, body in letters(channel, dead, 20)] == [str(n).encode() for n in range(20)]


def test_an_expired_message_loses_its_expiration_and_remembers_it(channel, source, dead, version):
    queue = source()
    channel.basic_publish("", queue, b"x", pika.BasicProperties(expiration="50"))
    ((_, properties, _),) = letters(channel, dead, 1)
    (death,) = properties.headers["x-death"]
    original = ["original-expiration"]
    assert list(death) == (original + DEATH if version >= (3, 13) else DEATH + original)
    assert (death["reason"], death["original-expiration"], properties.expiration) == ("expired", "50", None)


def test_what_expires_by_its_queues_time_has_no_original_expiration(channel, source, dead):
    queue = source(message_ttl=50)
    channel.basic_publish("", queue, b"x")
    ((_, properties, _),) = letters(channel, dead, 1)
    (death,) = properties.headers["x-death"]
    assert (list(death), death["reason"]) == (DEATH, "expired")


def test_what_makes_room_in_a_full_queue_dies_of_its_length(channel, source, dead):
    queue = source(max_length=2)
    for body in (b"1", b"2", b"3", b"4"):
        channel.basic_publish("", queue, body)
    got = letters(channel, dead, 2)
    assert [body for _, _, body in got] == [b"1", b"2"]
    assert got[0][1].headers["x-death"][0]["reason"] == "maxlen"
    assert bodies(channel, queue) == [b"3", b"4"]


def test_reject_publish_dlx_refuses_the_new_message_and_dead_letters_it(channel, source, dead):
    queue = source(max_length=1, overflow="reject-publish-dlx")
    channel.basic_publish("", queue, b"old")
    with pytest.raises(pika.exceptions.NackError):
        channel.basic_publish("", queue, b"new")
    ((_, properties, body),) = letters(channel, dead, 1)
    death = properties.headers["x-death"][0]
    assert (body, death["reason"], death["count"]) == (b"new", "maxlen", 1)
    assert bodies(channel, queue) == [b"old"]


def test_reject_publish_refuses_and_dead_letters_nothing(channel, source, dead):
    queue = source(max_length=0, overflow="reject-publish")
    with pytest.raises(pika.exceptions.NackError):
        channel.basic_publish("", queue, b"new")
    assert (count(channel, dead), count(channel, queue)) == (0, 0)


def test_without_a_key_of_the_queue_the_messages_own_keys_lead_on(channel, name):
    channel.confirm_delivery()
    channel.exchange_declare(name, "direct", auto_delete=True)
    ends = {}
    for key in ("own", "copied", "hidden", "other"):
        ends[key] = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(ends[key], name, key)
    queue = channel.queue_declare("", exclusive=True, arguments={"x-dead-letter-exchange": name}).method.queue
    channel.queue_bind(queue, "amq.direct", "own")
    channel.basic_publish("amq.direct", "own", b"x", pika.BasicProperties(headers={"CC": ["copied"]}))
    reject(channel, queue)
    for key in ("own", "copied"):
        ((method, properties, _),) = letters(channel, ends[key], 1)
        assert (method.exchange, method.routing_key) == (name, "own")
        death = properties.headers["x-death"][0]
        assert (death["exchange"], death["routing-keys"]) == ("amq.direct", ["own", "copied"])
    assert count(channel, ends["other"]) == 0


def test_a_key_of_the_queue_takes_the_place_of_all_others(channel, source, dead, version):
    queue = source()
    copy = channel.queue_declare("", exclusive=True).method.queue
    channel.basic_publish("", queue, b"x", pika.BasicProperties(headers={"CC": [copy]}))
    assert bodies(channel, copy) == [b"x"]
    reject(channel, queue)
    ((method, properties, _),) = letters(channel, dead, 1)
    assert method.routing_key == dead
    assert ("CC" in properties.headers) == (version >= (3, 13))
    assert properties.headers["x-death"][0]["routing-keys"] == [queue, copy]
    assert count(channel, copy) == 0


def test_bcc_is_no_part_of_the_history(channel, source, dead):
    queue = source()
    copy = channel.queue_declare("", exclusive=True).method.queue
    channel.basic_publish("", queue, b"x", pika.BasicProperties(headers={"BCC": [copy]}))
    reject(channel, queue)
    ((_, properties, _),) = letters(channel, dead, 1)
    assert properties.headers["x-death"][0]["routing-keys"] == [queue]
    assert "BCC" not in properties.headers


def test_the_dead_letter_exchange_may_be_of_any_type(channel, name, dead):
    channel.confirm_delivery()
    channel.exchange_declare(name, "topic", auto_delete=True)
    channel.queue_bind(dead, name, "a.#")
    arguments = {"x-dead-letter-exchange": name, "x-dead-letter-routing-key": "a.b.c"}
    queue = channel.queue_declare("", exclusive=True, arguments=arguments).method.queue
    channel.basic_publish("", queue, b"x")
    reject(channel, queue)
    ((method, _, _),) = letters(channel, dead, 1)
    assert (method.exchange, method.routing_key) == (name, "a.b.c")


def test_without_the_exchange_dead_letters_are_lost(channel, name):
    channel.confirm_delivery()
    arguments = {"x-dead-letter-exchange": name, "x-max-length": 1}
    queue = channel.queue_declare("", exclusive=True, arguments=arguments).method.queue
    for body in (b"1", b"2"):
        channel.basic_publish("", queue, body)
    assert bodies(channel, queue) == [b"2"]


def test_a_second_death_of_the_same_kind_counts_and_comes_first(channel, source, dead, name):
    other = f"{name}-2"
    queue = source()
    # What dies in the second queue goes back to the first.
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue}
    channel.queue_declare(other, exclusive=True, arguments=arguments)
    channel.basic_publish("", other, b"x")
    reject(channel, other)
    wait_for(lambda: count(channel, queue) == 1)
    reject(channel, queue)
    ((_, properties, _),) = letters(channel, dead, 1)
    assert [(d["queue"], d["count"]) for d in properties.headers["x-death"]] == [(queue, 1), (other, 1)]
    assert properties.headers["x-first-death-queue"] == other


def test_what_is_rejected_may_come_back_for_ever_and_is_counted(channel, name, version):
    channel.confirm_delivery()
    queue = channel.queue_declare(name, exclusive=True, arguments={"x-dead-letter-exchange": ""}).method.queue
    channel.basic_publish("", queue, b"x")
    sorted_when_repeated = version < (3, 13)
    for n in range(1, 5):
        wait_for(lambda: count(channel, queue) == 1)
        method, properties, _ = channel.basic_get(queue)
        deaths = (properties.headers or {}).get("x-death", [])
        assert [d["count"] for d in deaths] == ([n - 1] if n > 1 else [])
        if n > 2:
            assert list(deaths[0]) == (sorted(DEATH) if sorted_when_repeated else DEATH)
        channel.basic_reject(method.delivery_tag, requeue=False)


def test_what_would_go_round_by_itself_is_dropped(channel, name):
    channel.confirm_delivery()
    arguments = {"x-dead-letter-exchange": "", "x-message-ttl": 20}
    queue = channel.queue_declare(name, exclusive=True, arguments=arguments).method.queue
    channel.basic_publish("", queue, b"x")
    wait_for(lambda: count(channel, queue) == 0, channel.connection)
    channel.connection.process_data_events(time_limit=0.1)
    assert count(channel, queue) == 0


def test_a_message_that_a_client_publishes_again(channel, source, dead, version):
    """Its x-death counts on for RabbitMQ 3, and for nothing since 4.0."""
    queue = source()
    channel.basic_publish("", queue, b"x")
    for expected in (1, 2, 3) if version < (4, 0) else (1, 1, 1):
        reject(channel, queue)
        ((_, properties, body),) = letters(channel, dead, 1)
        assert [d["count"] for d in properties.headers["x-death"]] == [expected]
        channel.basic_publish("", queue, body, properties)


def test_a_transaction_dead_letters_with_its_commit(connection, source, dead):
    queue = source()
    channel = connection.channel()
    channel.tx_select()
    channel.basic_publish("", queue, b"x")
    channel.tx_commit()
    method, _, _ = channel.basic_get(queue)
    channel.basic_reject(method.delivery_tag, requeue=False)
    assert count(channel, dead) == 0
    channel.tx_commit()
    assert len(letters(channel, dead, 1)) == 1


def test_purging_and_deleting_are_no_deaths(channel, source, dead):
    queue = source()
    channel.basic_publish("", queue, b"x")
    channel.queue_purge(queue)
    channel.basic_publish("", queue, b"x")
    channel.queue_delete(queue)
    assert count(channel, dead) == 0


def test_messages_expire_at_the_head_only(channel, source, dead):
    queue = source(dlx=False)
    for body, expiration in ((b"long", "60000"), (b"short", "20")):
        channel.basic_publish("", queue, body, pika.BasicProperties(expiration=expiration))
    channel.connection.process_data_events(time_limit=0.1)
    assert count(channel, queue) == 2
    # The head goes, and so what had expired behind it is not delivered.
    assert bodies(channel, queue) == [b"long"]


def test_bcc_leads_dead_letters_too(channel, name):
    channel.confirm_delivery()
    channel.exchange_declare(name, "direct", auto_delete=True)
    hidden = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(hidden, name, "hidden")
    queue = channel.queue_declare("", exclusive=True, arguments={"x-dead-letter-exchange": name}).method.queue
    channel.basic_publish("", queue, b"x", pika.BasicProperties(headers={"BCC": ["hidden"]}))
    reject(channel, queue)
    ((method, properties, _),) = letters(channel, hidden, 1)
    assert method.routing_key == queue
    assert properties.headers["x-death"][0]["routing-keys"] == [queue]


@pytest.mark.parametrize("durable", [False, True])
def test_with_a_time_of_0_only_who_waits_gets_a_message(channel, name, durable):
    channel.confirm_delivery()
    mode = 2 if durable else 1
    channel.queue_declare(name, durable=durable, arguments={"x-message-ttl": 0})
    channel.basic_publish("", name, b"nobody", pika.BasicProperties(delivery_mode=mode))
    assert count(channel, name) == 0
    got = []
    channel.basic_consume(name, lambda _, *message: got.append(message), auto_ack=True)
    for n in range(3):
        channel.basic_publish("", name, b"somebody", pika.BasicProperties(delivery_mode=mode))
        wait_for(lambda: len(got) == n + 1, channel.connection)
    channel.queue_delete(name)


def test_a_message_that_comes_back_keeps_its_time(channel, source, dead):
    queue = source(message_ttl=300)
    channel.basic_publish("", queue, b"x")
    method, _, _ = channel.basic_get(queue)
    channel.connection.process_data_events(time_limit=0.4)
    assert count(channel, dead) == 0
    channel.basic_nack(method.delivery_tag, requeue=True)
    assert len(letters(channel, dead, 1)) == 1


def test_a_length_of_0_lets_through_what_a_consumer_takes(channel, source, dead):
    queue = source(max_length=0)
    channel.basic_publish("", queue, b"nobody")
    assert [body for _, _, body in letters(channel, dead, 1)] == [b"nobody"]
    got = []
    channel.basic_consume(queue, lambda _, *message: got.append(message[2]), auto_ack=True)
    channel.basic_publish("", queue, b"somebody")
    wait_for(lambda: got == [b"somebody"], channel.connection)


def missing(channel, name):
    try:
        channel.connection.channel().queue_declare(name, passive=True)
    except pika.exceptions.ChannelClosedByBroker as closed:
        assert (closed.reply_code, closed.reply_text) == (404, f"NOT_FOUND - no queue '{name}' in vhost '/'")
        return True
    return False


def gone_within(connect, name, seconds):
    """Whether the queue is gone by then; asking before would be a use."""
    connection = connect()
    connection.process_data_events(time_limit=seconds)
    return missing(connection.channel(), name)


def test_an_unused_queue_expires_and_its_messages_are_lost(channel, name, dead, connect):
    channel.confirm_delivery()
    arguments = {"x-expires": 300, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    channel.queue_declare(name, arguments=arguments)
    channel.basic_publish("", name, b"x")
    assert gone_within(connect, name, 0.8)
    assert count(channel, dead) == 0


def test_a_queue_that_is_used_does_not_expire(channel, connection, name, connect):
    channel.queue_declare(name, arguments={"x-expires": 700})
    for use in (
        lambda: channel.queue_declare(name, passive=True),
        lambda: channel.queue_declare(name, arguments={"x-expires": 700}),
        lambda: channel.basic_get(name),
    ):
        connection.process_data_events(time_limit=0.45)
        use()
    tag = channel.basic_consume(name, lambda *_: None)
    connection.process_data_events(time_limit=1.2)
    channel.basic_cancel(tag)
    connection.process_data_events(time_limit=0.3)
    channel.queue_declare(name, passive=True)
    assert gone_within(connect, name, 1.4)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"x-dead-letter-exchange": 5}, "invalid type 'signedint' for arg 'x-dead-letter-exchange' in {}"),
        ({"x-dead-letter-routing-key": "k"}, "invalid arg 'x-dead-letter-routing-key' for {}: routing_key_but_no_dlx_defined"),
        (
            {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": 5},
            "invalid arg 'x-dead-letter-routing-key' for {}: {{unacceptable_type,signedint}}",
        ),
        ({"x-expires": -1}, "invalid arg 'x-expires' for {}: {{value_negative,-1}}"),
        ({"x-expires": 315360000001}, "invalid arg 'x-expires' for {}: {{value_too_large,315360000001}}"),
        ({"x-expires": "a"}, "invalid arg 'x-expires' for {}: \"expected integer, got longstr\""),
        ({"x-message-ttl": 315360000001}, "invalid arg 'x-message-ttl' for {}: {{value_too_large,315360000001}}"),
        ({"x-overflow": "zzz"}, "invalid arg 'x-overflow' for {}: invalid_overflow"),
    ],
)
def test_arguments_of_a_wrong_kind_are_refused(channel, name, arguments, text):
    text = "PRECONDITION_FAILED - " + text.format(f"queue '{name}' in vhost '/'")
    refused(channel, 406, text, lambda: channel.queue_declare(name, exclusive=True, arguments=arguments))


def test_a_redeclaration_compares_these_arguments(channel, name):
    channel.queue_declare(name, exclusive=True, arguments={"x-dead-letter-exchange": "a"})
    text = (
        f"PRECONDITION_FAILED - inequivalent arg 'x-dead-letter-exchange' for queue '{name}' in vhost '/': "
        "received 'b' but current is 'a'"
    )
    arguments = {"x-dead-letter-exchange": "b"}
    refused(channel, 406, text, lambda: channel.queue_declare(name, exclusive=True, arguments=arguments))


@pytest.mark.warren
def test_what_a_full_target_refuses_is_kept_over_a_kill_and_moves_once_there_is_room(warren):
    arguments = {
        "x-queue-type": "quorum",
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "dead",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    narrow = {"x-max-length": 1, "x-overflow": "reject-publish"}

    def open_channel():
        channel = pika.BlockingConnection(pika.URLParameters(warren.amqp_url)).channel()
        channel.confirm_delivery()
        return channel

    channel = open_channel()
    channel.queue_declare("source", durable=True, arguments=arguments)
    channel.queue_declare("dead", durable=True, arguments=narrow)
    for body in (b"a", b"b", b"c"):
        channel.basic_publish("", "source", body, pika.BasicProperties(delivery_mode=2))
    for _ in range(3):
        reject(channel, "source")
    wait_for(lambda: count(channel, "dead") == 1, channel.connection)
    # Confirmed behind the notes of what died, which therefore are in the log.
    channel.queue_declare("other", durable=True)
    channel.basic_publish("", "other", b"x", pika.BasicProperties(delivery_mode=2))
    time.sleep(0.1)
    warren.restart()
    channel = open_channel()
    assert channel.basic_get("source")[0] is None
    for body in (b"a", b"b", b"c"):
        wait_for(lambda: count(channel, "dead") == 1, channel.connection)
        _, properties, got = channel.basic_get("dead", auto_ack=True)
        assert (got, properties.headers["x-first-death-reason"]) == (body, "rejected")
    assert count(channel, "source") == 0
