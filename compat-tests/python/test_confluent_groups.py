"""confluent-kafka (librdkafka) in groups of both protocols, and its admin client's view of them."""

import json
import time
import urllib.request
import uuid

import pytest
from confluent_kafka import Consumer, ConsumerGroupState, ConsumerGroupType, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic


@pytest.fixture
def servers(kafka_address):
    return {"bootstrap.servers": kafka_address}


@pytest.fixture
def admin(servers):
    return AdminClient(servers)


@pytest.fixture
def topic(admin):
    name = f"groups-{uuid.uuid4().hex[:8]}"
    admin.create_topics([NewTopic(name, 3, 1)])[name].result(10)
    return name


@pytest.fixture
def produce(servers):
    producer = Producer(servers)

    def produce(topic, values):
        for value in values:
            producer.produce(topic, str(value), partition=value % 3)
        assert producer.flush(10) == 0

    return produce


@pytest.fixture
def member(servers):
    """Makes members; what is still open is closed with the test."""
    opened = []

    def member(group, topics, protocol="consumer", **settings):
        conf = {
            **servers,
            "group.id": group,
            "group.protocol": protocol,
            "auto.offset.reset": "earliest",
            **{key.replace("_", "."): value for key, value in settings.items()},
        }
        if protocol == "classic":
            conf["partition.assignment.strategy"] = "cooperative-sticky"
        consumer = Consumer(conf)
        consumer.subscribe(topics)
        opened.append(consumer)
        return consumer

    yield member
    for consumer in opened:
        try:
            consumer.close()
        except RuntimeError:
            pass  # closed by the test


def poll_until(consumers, condition, seconds=40):
    """Polls all of them in turn; the records they got, as (consumer's place, record)."""
    got, deadline = [], time.monotonic() + seconds
    while not condition(got):
        assert time.monotonic() < deadline, f"got {len(got)}, assigned {[c.assignment() for c in consumers]}"
        for at, consumer in enumerate(consumers):
            record = consumer.poll(0.02)
            if record is not None and record.error() is None:
                got.append((at, record))
    return got


def values(got):
    return sorted(int(record.value()) for _, record in got)


def assigned(*consumers):
    return sorted(len(consumer.assignment()) for consumer in consumers)


def test_one_member_reads_everything_and_goes_on_where_it_was(topic, produce, member):
    produce(topic, range(30))
    first = member(topic, [topic])
    assert values(poll_until([first], lambda got: len(got) == 30)) == list(range(30))
    first.close()
    produce(topic, range(30, 40))
    again = member(topic, [topic])
    assert values(poll_until([again], lambda got: len(got) == 10)) == list(range(30, 40))


def test_members_share_and_take_over_without_a_record_lost_or_read_twice(topic, produce, member):
    first, second = member(topic, [topic]), member(topic, [topic])
    got = poll_until([first, second], lambda _: assigned(first, second) == [1, 2])
    produce(topic, range(60))
    got += poll_until([first, second], lambda more: len(got) + len(more) == 60)
    first.close()
    produce(topic, range(60, 90))
    got += poll_until([second], lambda more: len(got) + len(more) == 90)
    assert values(got) == list(range(90))


def test_the_groups_of_both_protocols_become_each_other_under_way(topic, produce, member):
    old = member(topic, [topic], protocol="classic", session_timeout_ms=6000, heartbeat_interval_ms=300)
    poll_until([old], lambda _: assigned(old) == [3])
    produce(topic, range(30))
    got = poll_until([old], lambda got: len(got) == 30)
    new = member(topic, [topic])
    poll_until([old, new], lambda _: assigned(old, new) == [1, 2])
    produce(topic, range(30, 60))
    got += poll_until([old, new], lambda more: len(got) + len(more) == 60)
    new.close()
    poll_until([old], lambda _: assigned(old) == [3])
    produce(topic, range(60, 90))
    got += poll_until([old], lambda more: len(got) + len(more) == 90)
    assert values(got) == list(range(90))


def test_a_pattern_finds_topics_that_come_later(admin, topic, produce, member):
    reader = member(topic, [f"^{topic}.*"])
    poll_until([reader], lambda _: assigned(reader) == [3])
    later = topic + "-later"
    admin.create_topics([NewTopic(later, 3, 1)])[later].result(10)
    produce(later, range(9))
    assert values(poll_until([reader], lambda got: len(got) == 9)) == list(range(9))


def test_a_static_member_comes_back_to_its_partitions(topic, member):
    first = member(topic, [topic], group_instance_id="one")
    other = member(topic, [topic], group_instance_id="two")
    poll_until([first, other], lambda _: assigned(first, other) == [1, 2])
    had = sorted(p.partition for p in first.assignment())
    first.close()
    again = member(topic, [topic], group_instance_id="one")
    poll_until([again, other], lambda _: assigned(again, other) == [1, 2])
    assert sorted(p.partition for p in again.assignment()) == had


@pytest.mark.parametrize("assignor", ["range", "uniform"])
def test_the_server_assigns_as_it_is_asked_to(topic, admin, member, assignor):
    reader = member(topic, [topic], group_remote_assignor=assignor)
    poll_until([reader], lambda _: assigned(reader) == [3])
    described = admin.describe_consumer_groups([topic])[topic].result(10)
    assert described.partition_assignor == assignor


def test_the_admin_client_sees_groups_of_both_types(admin, topic, produce, member):
    produce(topic, range(3))
    new = member(topic, [topic])
    old = member(topic + "-old", [topic], protocol="classic")
    poll_until([new, old], lambda got: len(got) == 6)
    new.commit(asynchronous=False)
    listed = admin.list_consumer_groups(types={ConsumerGroupType.CONSUMER}).result(10).valid
    mine = [group for group in listed if group.group_id == topic]
    assert [(group.type, group.state) for group in mine] == [(ConsumerGroupType.CONSUMER, ConsumerGroupState.STABLE)]
    assert topic + "-old" not in {group.group_id for group in listed}
    described = admin.describe_consumer_groups([topic])[topic].result(10)
    assert described.state == ConsumerGroupState.STABLE
    assert [len(m.assignment.topic_partitions) for m in described.members] == [3]
    [offsets] = [f.result(10) for f in admin.list_consumer_group_offsets([_of(topic)]).values()]
    assert sorted(p.offset for p in offsets.topic_partitions) == [1, 1, 1]
    with pytest.raises(KafkaException) as refused:
        admin.delete_consumer_groups([topic])[topic].result(10)
    assert refused.value.args[0].code() == KafkaError.NON_EMPTY_GROUP
    new.close()
    admin.delete_consumer_groups([topic])[topic].result(10)


def _of(group):
    from confluent_kafka import ConsumerGroupTopicPartitions

    return ConsumerGroupTopicPartitions(group)


def test_an_offset_can_be_set_from_outside_only_while_nobody_is_in_the_group(admin, topic, produce, member):
    from confluent_kafka import ConsumerGroupTopicPartitions

    produce(topic, range(9))
    reader = member(topic, [topic])
    poll_until([reader], lambda got: len(got) == 9)
    to = ConsumerGroupTopicPartitions(topic, [TopicPartition(topic, 0, 1)])
    with pytest.raises(KafkaException) as refused:
        done = admin.alter_consumer_group_offsets([to])[topic].result(10)
        raise KafkaException(done.topic_partitions[0].error)
    assert refused.value.args[0].code() == KafkaError.UNKNOWN_MEMBER_ID
    reader.close()
    done = admin.alter_consumer_group_offsets([to])[topic].result(10)
    assert done.topic_partitions[0].error is None
    again = member(topic, [topic])
    assert values(poll_until([again], lambda got: len(got) == 2)) == [3, 6]


@pytest.mark.warren
def test_members_and_epochs_survive_a_kill(warren):
    servers = {"bootstrap.servers": warren.kafka}
    admin, name = AdminClient(servers), "survives"
    admin.create_topics([NewTopic(name, 2, 1)])[name].result(10)
    reader = Consumer({**servers, "group.id": name, "group.protocol": "consumer", "auto.offset.reset": "earliest"})
    reader.subscribe([name])
    producer = Producer(servers)
    producer.produce(name, b"0", partition=0)
    assert producer.flush(10) == 0
    poll_until([reader], lambda got: len(got) == 1)
    before = [p.partition for p in reader.assignment()]
    warren.kill()
    warren.start()
    producer.produce(name, b"1", partition=1)
    assert producer.flush(20) == 0
    assert values(poll_until([reader], lambda got: len(got) == 1)) == [1]
    assert [p.partition for p in reader.assignment()] == before, "nobody had to join again"
    reader.close()


@pytest.mark.warren
def test_groups_and_their_lag_are_shown_over_http(warren):
    servers = {"bootstrap.servers": warren.kafka}
    admin, name = AdminClient(servers), "lagging"
    admin.create_topics([NewTopic(name, 2, 1)])[name].result(10)
    producer = Producer(servers)
    for partition in (0, 0, 1):
        producer.produce(name, b"x", partition=partition)
    assert producer.flush(10) == 0
    for protocol in ("consumer", "classic"):
        conf = {"group.id": protocol, "group.protocol": protocol, "auto.offset.reset": "earliest", "client.id": "me"}
        reader = Consumer({**servers, **conf})
        reader.subscribe([name])
        poll_until([reader], lambda got: len(got) == 3)
        reader.commit(offsets=[TopicPartition(name, 0, 1)], asynchronous=False)
        group = _get(warren, f"/api/groups/%2F/{protocol}")
        assert (group["type"], group["state"], group["lag"]) == (protocol, "Stable", 1)
        assert group["partitions"] == [{"topic": name, "partition": 0, "offset": 1, "log_end_offset": 2, "lag": 1}]
        [member] = group["members"]
        assert (member["client_id"], member["client_host"]) == ("me", "127.0.0.1")
        assert member["partitions"] == [{"topic": name, "partition": 0}, {"topic": name, "partition": 1}]
        assert group in _get(warren, "/api/groups")
        reader.close()


def _get(warren, path):
    request = urllib.request.Request(f"http://{warren.doors['admin']}{path}")
    request.add_header("Authorization", "Basic Z3Vlc3Q6Z3Vlc3Q=")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)
