"""Where brokers that are not Kafka go wrong: versions, leader epochs, acks, ids. Each row is held against Kafka too."""

import struct
import uuid

import pytest

from batches import batch, record
from kafka_wire import Closed, Connection, Message
from test_kafka_rows import check, door, holds, topic  # noqa: F401

pytestmark = pytest.mark.usefixtures("kafka_address")


@pytest.fixture
def lone(kafka_address):
    """A connection that may be closed."""
    connection = Connection(kafka_address)
    yield connection
    connection.close()


def test_a_newer_api_versions_is_answered_in_version_0_with_its_own_versions(lone):
    lone.send("ApiVersions", 4, header_version=99, ClientSoftwareName="rows", ClientSoftwareVersion="1")
    answer = Message("ApiVersionsResponse").decode(lone.frame()[4:], 0)
    assert answer == {"ErrorCode": 35, "ApiKeys": [{"ApiKey": 18, "MinVersion": 0, "MaxVersion": 4}]}
    again = lone.call("ApiVersions", 4, ClientSoftwareName="rows", ClientSoftwareVersion="1")
    assert again["ErrorCode"] == 0 and len(again["ApiKeys"]) > 30


def test_a_software_name_is_letters_digits_dots_and_dashes(door, topic):
    for name, error in (("librdkafka", 0), ("a-b.c", 0), ("", 42), ("-a", 42), ("a b", 42)):
        answer = door.call("ApiVersions", 4, ClientSoftwareName=name, ClientSoftwareVersion="1")
        assert answer["ErrorCode"] == error, name


def test_telemetry_is_not_advertised_and_old_versions_are_where_librdkafka_looks_for_them(door, topic):
    listed = {one["ApiKey"]: one["MinVersion"] for one in door.call("ApiVersions", 0)["ApiKeys"]}
    assert not {71, 72} & set(listed)
    assert [listed[key] for key in (0, 10, 11, 12, 13, 14)] == [0] * 6


def test_what_is_not_spoken_closes_the_connection(kafka_address):
    for key, version in ((1, 3), (3, 99), (999, 0)):
        connection = Connection(kafka_address)
        head = struct.pack(">hhihh", key, version, 1, 0, 0)
        connection.socket.sendall(struct.pack(">i", len(head)) + head)
        with pytest.raises(Closed):
            connection.frame()
        connection.close()


def test_the_only_leader_epoch_is_the_first(door, topic):
    def epochs(epoch, error):
        fetched = {"Partition": 0, "CurrentLeaderEpoch": epoch, "FetchOffset": 0, "PartitionMaxBytes": 1}
        listed = {"PartitionIndex": 0, "CurrentLeaderEpoch": epoch, "Timestamp": -1}
        ended = {"Partition": 0, "CurrentLeaderEpoch": epoch, "LeaderEpoch": 0}
        failed = {"Partitions": [{"ErrorCode": error}]}
        return [
            ("Fetch", 12, {"Topics": [{"Topic": "{T}", "Partitions": [fetched]}], "MaxBytes": 1},
             {"ErrorCode": 0, "Responses": [failed]}),
            ("ListOffsets", 7, {"Topics": [{"Name": "{T}", "Partitions": [listed]}], "ReplicaId": -1},
             {"Topics": [failed]}),
            ("OffsetForLeaderEpoch", 4, {"Topics": [{"Topic": "{T}", "Partitions": [ended]}], "ReplicaId": -1},
             {"Topics": [failed]}),
        ]

    check(door, topic, epochs(-1, 0) + epochs(0, 0) + epochs(5, 75))


def produce(records, acks=1, name="{T}", number=0):
    return {"Acks": acks, "TimeoutMs": 5000,
            "TopicData": [{"Name": name, "PartitionData": [{"Index": number, "Records": records}]}]}


def test_produce_is_refused_in_the_answer_and_with_acks_0_by_a_closed_connection(door, topic, lone):
    def failing(error, **asked):
        failed = {"Responses": [{"PartitionResponses": [{"ErrorCode": error}]}]}
        return "Produce", 9, produce(batch([record(b"k", b"v")]), **asked), failed

    rows = [failing(3, name="{T}-new"), failing(3, number=7), failing(21, acks=2), failing(21, acks=-2)]
    check(door, topic, rows)
    lone.send("Produce", 9, **produce(b"", acks=0, name=topic + "-new"))
    with pytest.raises(Closed):
        lone.frame()


def test_topics_by_ids_that_nobody_has(door, topic):
    unknown = uuid.uuid4()
    partition = {"Partition": 0, "FetchOffset": 0, "PartitionMaxBytes": 1}
    rows = [
        ("Metadata", 12, {"Topics": [{"TopicId": unknown, "Name": None}]},
         {"Topics": [{"ErrorCode": 100, "TopicId": unknown, "Name": None}]}),
        ("Fetch", 13, {"Topics": [{"TopicId": unknown, "Partitions": [partition]}], "MaxBytes": 1},
         {"Responses": [{"TopicId": unknown, "Partitions": [{"ErrorCode": 100}]}]}),
        ("Produce", 13, {"Acks": 1, "TimeoutMs": 5000, "TopicData": [
            {"TopicId": unknown, "PartitionData": [{"Index": 0, "Records": b""}]}]},
         {"Responses": [{"TopicId": unknown, "PartitionResponses": [{"ErrorCode": 100}]}]}),
    ]
    check(door, topic, rows)


def test_no_topics_are_none_and_null_is_all(door, topic):
    def names(version, topics):
        asked = {"Topics": topics} | ({"AllowAutoTopicCreation": False} if version >= 4 else {})
        return {one["Name"]: one["ErrorCode"] for one in door.call("Metadata", version, **asked)["Topics"]}

    assert topic in names(0, []) and topic in names(1, None) and names(1, []) == {}
    assert names(9, [{"Name": topic + "-new"}]) == {topic + "-new": 3}
    assert names(9, [{"Name": "a b"}]) == {"a b": 17}


def test_operations_are_told_to_whoever_asks(door, topic):
    asked = {"Topics": [{"Name": topic}]}
    silent = door.call("Metadata", 9, **asked)
    holds({"Topics": [{"TopicAuthorizedOperations": -(2**31)}]}, silent)
    told = door.call("Metadata", 9, **asked, IncludeTopicAuthorizedOperations=True)
    holds({"Topics": [{"TopicAuthorizedOperations": 3576}]}, told)
