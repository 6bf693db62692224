"""THE table of the Kafka door's admin answers: what Kafka 4.3.1 says to requests that libraries send, and to those that
they do not. A row is an API, a version, a request, and what the answer must hold: the fields named, and no more.

The same table is held against Kafka itself (conftest.py); `T` is a topic of the row's test, with one partition.
"""

import time
import uuid

import pytest

from kafka_wire import NOBODY, Connection

pytestmark = pytest.mark.usefixtures("kafka_address")


@pytest.fixture(scope="module")
def door(kafka_address):
    connection = Connection(kafka_address)
    yield connection
    connection.close()


@pytest.fixture
def topic(door):
    name = "rows-" + uuid.uuid4().hex[:8]
    create(door, name)
    # Kafka's broker hears of a topic after the answer.
    asked = [{"Name": name, "Partitions": [{"PartitionIndex": 0, "Timestamp": -1}]}]
    deadline = time.monotonic() + 10
    while door.call("ListOffsets", 7, ReplicaId=-1, Topics=asked)["Topics"][0]["Partitions"][0]["ErrorCode"]:
        assert time.monotonic() < deadline, "the topic is never there"
    yield name
    door.call("DeleteTopics", 6, Topics=[{"Name": name}], TimeoutMs=5000)


def create(door, name, **more):
    asked = {"Name": name, "NumPartitions": 1, "ReplicationFactor": 1, **more}
    return door.call("CreateTopics", 7, Topics=[asked], timeoutMs=5000)["Topics"][0]


def named(value, topic):
    """The value with the topic's name for `T`."""
    if isinstance(value, dict):
        return {key: named(one, topic) for key, one in value.items()}
    if isinstance(value, list):
        return [named(one, topic) for one in value]
    if isinstance(value, str):
        return value.replace("{T}", topic)
    return value


def holds(expected, found, path="answer"):
    """What is named is as it is named."""
    if isinstance(expected, dict):
        for key, value in expected.items():
            holds(value, found[key], f"{path}.{key}")
    elif isinstance(expected, list) and all(isinstance(one, dict) for one in expected):
        assert len(expected) == len(found), f"{path}: {found}"
        for at, value in enumerate(expected):
            holds(value, found[at], f"{path}[{at}]")
    else:
        assert found == expected, f"{path}: {found!r}, not {expected!r}"


def check(door, topic, rows):
    """Row by row. What describes is awaited: Kafka's brokers hear of a change only after its answer."""
    for api, version, asked, expected in rows:
        deadline = time.monotonic() + 10
        while True:
            try:
                holds(named(expected, topic), door.call(api, version, **named(asked, topic)))
                break
            except AssertionError as wrong:
                if not api.startswith("Describe") or time.monotonic() > deadline:
                    raise AssertionError(f"{api} {version} {asked}: {wrong}") from None


BAD_NAME = "contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
ONE_BROKER = (
    "Unable to replicate the partition 3 time(s): The target replication factor of 3 cannot be reached because only 1 "
    "broker(s) are registered or some brokers have all their log directories cordoned."
)
REPLICAS = "The manual partition assignment includes"


def making(error, text, **topic):
    asked = {"Name": "{T}-new", "NumPartitions": 1, "ReplicationFactor": 1, **topic}
    answer = {"Name": asked["Name"], "ErrorCode": error, "ErrorMessage": text}
    return "CreateTopics", 7, {"Topics": [asked], "validateOnly": True}, {"Topics": [answer]}


def with_config(name, value, text):
    return making(40 if text else 0, text, Configs=[{"Name": name, "Value": value}])


def by_hand(*replicas):
    assignments = [{"PartitionIndex": number, "BrokerIds": brokers} for number, brokers in replicas]
    return {"NumPartitions": -1, "ReplicationFactor": -1, "Assignments": assignments}


def test_topics_are_refused_in_kafkas_words(door, topic):
    at_least = "Invalid value {} for configuration {}: Value must be at least {}"
    rows = [
        making(36, "Topic '{T}' already exists.", Name="{T}"),
        making(38, ONE_BROKER, ReplicationFactor=3),
        making(38, "Replication factor must be larger than 0, or -1 to use the default value.", ReplicationFactor=0),
        making(37, "Number of partitions was set to an invalid non-positive value.", NumPartitions=0),
        making(44, "Excessively large number of partitions per request.", NumPartitions=20_000),
        making(17, "Topic name is invalid: the empty string is not allowed", Name=""),
        making(17, "Topic name is invalid: '.' is not allowed", Name="."),
        making(17, f"Topic name is invalid: 'a b' {BAD_NAME}", Name="a b"),
        making(42, "Creation of internal topic __cluster_metadata is prohibited.", Name="__cluster_metadata"),
        making(0, None, NumPartitions=-1, ReplicationFactor=-1),
        making(0, None, **by_hand((1, [1]), (0, [1]))),
        making(39, "partitions should be a consecutive 0-based integer sequence", **by_hand((0, [1]), (2, [1]))),
        making(39, "Found multiple manual partition assignments for partition 0", **by_hand((0, [1]), (0, [1]))),
        making(39, f"{REPLICAS} broker 2, but no such broker is registered.", **by_hand((0, [1, 2]))),
        making(39, f"{REPLICAS} the broker 1 more than once.", **by_hand((0, [1, 1]))),
        making(39, f"{REPLICAS} an empty replica list.", **by_hand((0, []))),
        with_config("foo.bar", "1", "Unknown topic config name: foo.bar"),
        with_config("retention.ms", None, "Null value not supported for topic configs: retention.ms"),
        with_config("retention.ms", "-2", at_least.format(-2, "retention.ms", -1)),
        with_config("segment.bytes", "10", at_least.format(10, "segment.bytes", 1048576)),
        with_config("retention.ms", " 5 ", None),
        with_config("unclean.leader.election.enable", "TRUE", None),
        with_config("min.insync.replicas", "2", None),
        with_config("internal.segment.bytes", "1048576", None),
        with_config(
            "compression.gzip.level",
            "0",
            "Invalid value 0 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1",
        ),
        with_config(
            "remote.storage.enable",
            "true",
            "Tiered Storage functionality is disabled in the broker. "
            "Topic cannot be configured with remote log storage.",
        ),
    ]
    check(door, topic, rows)


def test_a_topic_asked_for_twice_is_answered_once(door, topic):
    twice = [{"Name": "{T}-new", "NumPartitions": 1, "ReplicationFactor": 1}] * 2
    answer = {"ErrorCode": 42, "ErrorMessage": "Duplicate topic name."}
    grown = [{"Name": "{T}", "Count": 3, "Assignments": None}] * 2
    rows = [
        ("CreateTopics", 7, {"Topics": twice}, {"Topics": [answer | {"TopicId": NOBODY, "Configs": []}]}),
        ("DeleteTopics", 6, {"Topics": [{"Name": "{T}"}] * 2}, {"Responses": [answer]}),
        ("CreatePartitions", 3, {"Topics": grown}, {"Results": [answer]}),
    ]
    check(door, topic, rows)


def test_names_that_metrics_do_not_tell_apart_collide(door, topic):
    create(door, topic + ".x")
    try:
        text = f"Topic '{topic}_x' collides with existing topic: {topic}.x"
        check(door, topic, [making(17, text, Name="{T}_x"), making(0, None, Name="{T}-x")])
    finally:
        door.call("DeleteTopics", 6, Topics=[{"Name": topic + ".x"}])


def test_what_is_only_validated_has_configs_and_an_id_and_is_not_made(door, topic):
    asked = {"Name": topic + "-new", "NumPartitions": 3, "ReplicationFactor": 1}
    made = door.call("CreateTopics", 7, Topics=[asked], validateOnly=True)["Topics"][0]
    holds({"ErrorCode": 0, "NumPartitions": 3, "ReplicationFactor": 1}, made)
    assert made["TopicId"] != NOBODY and len(made["Configs"]) == 33
    absent = {"Responses": [{"ErrorCode": 3, "ErrorMessage": "This server does not host this topic-partition."}]}
    check(door, topic, [("DeleteTopics", 6, {"Topics": [{"Name": "{T}-new"}], "TimeoutMs": 5000}, absent)])


def test_deleting_by_name_and_by_id(door, topic):
    def deleting(error, text, **asked):
        answer = {"Responses": [{"ErrorCode": error, "ErrorMessage": text}]}
        return "DeleteTopics", 6, {"Topics": [asked], "TimeoutMs": 5000}, answer

    unknown = uuid.uuid4()
    made = create(door, topic + "-id")["TopicId"]
    rows = [
        deleting(100, "This server does not host this topic ID.", Name=None, TopicId=unknown),
        deleting(42, "You may not specify both topic name and topic id.", Name="{T}", TopicId=unknown),
        deleting(42, "Neither topic name nor id were specified.", Name=None),
        deleting(0, None, Name=None, TopicId=made),
        deleting(100, "This server does not host this topic ID.", Name=None, TopicId=made),
    ]
    check(door, topic, rows)


def test_partitions_are_added_and_never_taken_away(door, topic):
    def growing(error, text, count, assignments=None, validate=True, name="{T}"):
        asked = {"Name": name, "Count": count, "Assignments": assignments and [{"BrokerIds": b} for b in assignments]}
        answer = {"Results": [{"Name": name, "ErrorCode": error, "ErrorMessage": text}]}
        return "CreatePartitions", 3, {"Topics": [asked], "ValidateOnly": validate, "TimeoutMs": 5000}, answer

    few = "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified."
    rows = [
        growing(37, "The topic {T} currently has 1 partition(s); 0 would not be an increase.", 0),
        growing(37, "Topic already has 1 partition(s).", 1),
        growing(3, None, 3, name="{T}-new"),
        growing(39, few, 3, [[1]]),
        growing(39, f"{REPLICAS} broker 2, but no such broker is registered.", 2, [[2]]),
        growing(39, f"{REPLICAS} an empty replica list.", 2, [[]]),
        growing(0, None, 2, [[1]]),
        growing(0, None, 3),
        growing(37, "Topic already has 1 partition(s).", 1),
        growing(0, None, 3, validate=False),
        growing(37, "Topic already has 3 partition(s).", 3),
    ]
    check(door, topic, rows)


TOPIC, BROKER, LOGGER = 2, 4, 8
SET, DELETE, APPEND, SUBTRACT = range(4)


def altering(error, text, *changes, kind=TOPIC, name="{T}", validate=False):
    configs = [{"Name": n, "ConfigOperation": operation, "Value": value} for n, operation, value in changes]
    resource = {"ResourceType": kind, "ResourceName": name}
    answer = resource | {"ErrorCode": error, "ErrorMessage": text}
    asked = {"Resources": [resource | {"Configs": configs}], "ValidateOnly": validate}
    return "IncrementalAlterConfigs", 1, asked, {"Responses": [answer]}


def replacing(error, text, *configs, kind=TOPIC, name="{T}"):
    resource = {"ResourceType": kind, "ResourceName": name}
    answer = resource | {"ErrorCode": error, "ErrorMessage": text}
    asked = {"Resources": [resource | {"Configs": [{"Name": n, "Value": value} for n, value in configs]}]}
    return "AlterConfigs", 2, asked, {"Responses": [answer]}


def describing(name, value, source, *synonyms, kind=TOPIC, resource="{T}"):
    asked = {"ResourceType": kind, "ResourceName": resource, "ConfigurationKeys": [name]}
    synonyms = [{"Name": n, "Value": v, "Source": s} for n, v, s in synonyms]
    config = {"Name": name, "Value": value, "ConfigSource": source, "Synonyms": synonyms, "IsSensitive": False}
    answer = {"ErrorCode": 0, "ErrorMessage": "", "Configs": [config]}
    return "DescribeConfigs", 4, {"Resources": [asked], "IncludeSynonyms": True}, {"Results": [answer]}


def test_configs_are_changed_one_by_one(door, topic):
    rows = [
        describing("retention.ms", "604800000", 5),
        describing("retention.bytes", "-1", 5, ("log.retention.bytes", "-1", 5)),
        describing("min.insync.replicas", "1", 3, ("min.insync.replicas", "1", 3), ("min.insync.replicas", "1", 5)),
        altering(0, None, ("retention.ms", SET, "5000"), ("retention.bytes", SET, "9")),
        describing("retention.ms", "5000", 1, ("retention.ms", "5000", 1)),
        describing("retention.bytes", "9", 1, ("retention.bytes", "9", 1), ("log.retention.bytes", "-1", 5)),
        altering(0, None, ("retention.ms", DELETE, None)),
        describing("retention.ms", "604800000", 5),
        altering(0, None, ("retention.ms", SET, "77"), validate=True),
        describing("retention.ms", "604800000", 5),
        altering(0, None),
        altering(0, None, ("foo", DELETE, None)),
        altering(40, "Unknown topic config name: foo", ("foo", SET, "1")),
        altering(40, "Invalid value x for configuration retention.ms: Not a number of type LONG",
                 ("retention.ms", SET, "x")),
        altering(40, "Can't APPEND to key retention.ms because its type is not LIST.", ("retention.ms", APPEND, "1")),
        altering(42, "Error due to duplicate config keys", ("retention.ms", SET, "1"), ("retention.ms", SET, "2")),
        altering(42, "Null value not supported for : retention.ms", ("retention.ms", SET, None)),
        altering(-1, None, ("retention.ms", 9, "1")),
        altering(3, "The topic '{T}-new' does not exist.", ("retention.ms", SET, "1"), name="{T}-new"),
        altering(17, f"Topic name is invalid: 'a b' {BAD_NAME}", ("retention.ms", SET, "1"), name="a b"),
        altering(42, "Default topic resources are not allowed.", ("retention.ms", SET, "1"), name=""),
        altering(42, "Unknown resource type 99", ("x", SET, "1"), kind=99),
        altering(40, "Invalid value shred for configuration cleanup.policy: String must be one of: compact, delete",
                 ("cleanup.policy", APPEND, "shred")),
        altering(0, None, ("leader.replication.throttled.replicas", APPEND, "0:1,0:2")),
        altering(0, None, ("leader.replication.throttled.replicas", SUBTRACT, "0:2")),
        describing("leader.replication.throttled.replicas", "0:1", 1,
                   ("leader.replication.throttled.replicas", "0:1", 1)),
    ]
    check(door, topic, rows)


def test_configs_are_replaced_all_at_once(door, topic):
    rows = [
        replacing(0, None, ("retention.ms", "1234"), ("retention.bytes", "5")),
        replacing(0, None, ("retention.bytes", "6")),
        describing("retention.ms", "604800000", 5),
        describing("retention.bytes", "6", 1, ("retention.bytes", "6", 1), ("log.retention.bytes", "-1", 5)),
        replacing(42, "Null value not supported for : retention.ms", ("retention.ms", None)),
        replacing(42, "Error due to duplicate config keys", ("retention.ms", "1"), ("retention.ms", "2")),
        replacing(3, "The topic '{T}-new' does not exist.", name="{T}-new"),
        replacing(0, None),
        describing("retention.bytes", "-1", 5, ("log.retention.bytes", "-1", 5)),
    ]
    check(door, topic, rows)


def test_the_brokers_configs_are_shown_and_refused(door, topic):
    rows = [
        describing("num.partitions", "1", 5, ("num.partitions", "1", 5), kind=BROKER, resource="1"),
        describing("min.insync.replicas", "1", 3, ("min.insync.replicas", "1", 3), kind=BROKER, resource=""),
        altering(42, "Cannot update these configs dynamically: [num.partitions]", ("num.partitions", SET, "3"),
                 kind=BROKER, name="1"),
        altering(42, "Unexpected broker id, expected 1, but received 2", ("num.partitions", SET, "3"), kind=BROKER,
                 name="2"),
        altering(42, "Node id must be an integer, but it is: x", ("num.partitions", SET, "3"), kind=BROKER, name="x"),
    ]
    check(door, topic, rows)


def test_the_brokers_configs_are_what_topics_do_not_say(door, topic):
    mine, everybodys = {"kind": BROKER, "name": "1"}, {"kind": BROKER, "name": ""}
    shown, shared = {"kind": BROKER, "resource": "1"}, {"kind": BROKER, "resource": ""}
    name, week = "log.retention.ms", ("log.retention.hours", "168", 5)
    limit = ("message.max.bytes", "1048588", 5)
    rows = [
        describing(name, None, 5, **shown),
        altering(0, None, (name, SET, "5000000"), **everybodys),
        describing(name, "5000000", 3, (name, "5000000", 3), **shared),
        describing(name, "5000000", 3, (name, "5000000", 3), week, **shown),
        describing("retention.ms", "5000000", 3, (name, "5000000", 3), week),
        altering(0, None, (name, SET, "6000000"), ("message.max.bytes", SET, "2000000"), **mine),
        describing("retention.ms", "6000000", 2, (name, "6000000", 2), (name, "5000000", 3), week),
        describing("max.message.bytes", "2000000", 2, ("message.max.bytes", "2000000", 2), limit),
        altering(0, None, ("retention.ms", SET, "7000000")),
        describing("retention.ms", "7000000", 1, ("retention.ms", "7000000", 1), (name, "6000000", 2),
                   (name, "5000000", 3), week),
        altering(0, None, (name, DELETE, None), ("foo", DELETE, None), **mine),
        describing(name, "5000000", 3, (name, "5000000", 3), week, **shown),
        altering(0, None, ("log.cleanup.policy", APPEND, "compact"), **mine),
        describing("cleanup.policy", "delete,compact", 2, ("log.cleanup.policy", "delete,compact", 2),
                   ("log.cleanup.policy", "delete", 5)),
        replacing(0, None, **mine),
        describing("cleanup.policy", "delete", 5, ("log.cleanup.policy", "delete", 5)),
        describing("max.message.bytes", "1048588", 5, limit),
        altering(0, None, (name, SET, "1"), validate=True, **everybodys),
        describing(name, "5000000", 3, (name, "5000000", 3), **shared),
        altering(0, None, (name, DELETE, None), **everybodys),
        describing(name, None, 5, **shown),
    ]
    check(door, topic, rows)


@pytest.mark.warren
def test_the_brokers_configs_outlive_a_kill(warren):
    def ask(*rows):
        client = Connection(warren.kafka)
        check(client, "t", rows)
        client.close()

    shown = {"kind": BROKER, "resource": "1"}
    rows = [
        describing("message.max.bytes", "2000", 2, ("message.max.bytes", "2000", 2), ("message.max.bytes", "3000", 3),
                   ("message.max.bytes", "1048588", 5), **shown),
        describing("min.insync.replicas", "2", 3, ("min.insync.replicas", "2", 3), ("min.insync.replicas", "1", 5),
                   **shown),
        describing("max.message.bytes", "2000", 2, ("message.max.bytes", "2000", 2), ("message.max.bytes", "3000", 3),
                   ("message.max.bytes", "1048588", 5)),
        describing("retention.bytes", "-1", 5, ("log.retention.bytes", "-1", 5)),
    ]
    ask(("CreateTopics", 7, {"Topics": [{"Name": "t", "NumPartitions": 1, "ReplicationFactor": 1}], "timeoutMs": 5000},
         {"Topics": [{"ErrorCode": 0}]}))
    ask(
        altering(0, None, ("message.max.bytes", SET, "3000"), ("min.insync.replicas", SET, "2"), kind=BROKER, name=""),
        altering(0, None, ("message.max.bytes", SET, "2000"), ("log.retention.bytes", SET, "9"), kind=BROKER, name="1"),
        altering(0, None, ("log.retention.bytes", DELETE, None), kind=BROKER, name="1"),
        *rows,
    )
    warren.restart()
    ask(*rows)


def test_what_the_broker_cannot_be_told_at_run_time(door, topic):
    mine, everybodys = {"kind": BROKER, "name": "1"}, {"kind": BROKER, "name": ""}
    number = "Invalid value x for configuration message.max.bytes: Not a number of type INT"
    insync = "min.insync.replicas cannot be"
    rows = [
        altering(42, "Cannot update these configs dynamically: [node.id, process.roles]", ("process.roles", SET, "x"),
                 ("node.id", SET, "3"), ("message.max.bytes", SET, "7"), **everybodys),
        altering(42, number, ("message.max.bytes", SET, "x"), **everybodys),
        altering(42, number, ("message.max.bytes", SET, "x"), **mine),
        altering(42, "Invalid value bogus for configuration compression.type: String must be one of: uncompressed, zstd, "
                 "lz4, snappy, gzip, producer", ("compression.type", SET, "bogus"), **everybodys),
        altering(40, "Config value append is not allowed for config key: message.max.bytes",
                 ("message.max.bytes", APPEND, "3"), **everybodys),
        altering(42, "Error due to duplicate config keys", ("log.retention.ms", SET, "7"),
                 ("log.retention.ms", SET, "8"), **everybodys),
        altering(42, "Null value not supported for : log.retention.ms", ("log.retention.ms", SET, None), **everybodys),
        altering(40, f"Cluster-level {insync} removed while ELR is enabled.", ("min.insync.replicas", DELETE, None),
                 **everybodys),
        altering(40, f"Broker-level {insync} altered while ELR is enabled.", ("min.insync.replicas", SET, "1"), **mine),
        altering(0, None, ("min.insync.replicas", SET, "2"), **everybodys),
        describing("min.insync.replicas", "2", 3, ("min.insync.replicas", "2", 3), ("min.insync.replicas", "1", 5)),
        altering(0, None, ("min.insync.replicas", SET, "1"), **everybodys),
        describing("min.insync.replicas", "1", 3, ("min.insync.replicas", "1", 3), ("min.insync.replicas", "1", 5)),
    ]
    check(door, topic, rows)


def test_loggers_have_levels(door, topic):
    def logging(level):
        asked = {"ResourceType": LOGGER, "ResourceName": "1", "ConfigurationKeys": ["root"]}
        config = {"Name": "root", "Value": level, "ConfigSource": 6, "ReadOnly": False, "Synonyms": [], "ConfigType": 0}
        answer = {"ErrorCode": 0, "ErrorMessage": "", "Configs": [config]}
        return "DescribeConfigs", 4, {"Resources": [asked], "IncludeSynonyms": True}, {"Results": [answer]}

    def setting(error, text, *changes, name="1", **more):
        return altering(error, text, *changes, kind=LOGGER, name=name, **more)

    asked = {"Resources": [{"ResourceType": LOGGER, "ResourceName": "1", "ConfigurationKeys": ["root"]}]}
    before = door.call("DescribeConfigs", 4, **asked)["Results"][0]["Configs"][0]["Value"]
    levels = "is not a supported log level. Valid log levels are DEBUG, ERROR, FATAL, INFO, TRACE, WARN"
    allowed = "operation is not allowed for the BROKER_LOGGER resource"
    rows = [
        setting(0, None, ("root", SET, "ERROR")),
        logging("ERROR"),
        setting(0, None, ("root", SET, "FATAL"), validate=True),
        logging("ERROR"),
        setting(40, f"Cannot set the log level of root to debug as it {levels}", ("root", SET, "debug")),
        setting(40, f"Cannot set the log level of root to OFF as it {levels}", ("root", SET, "OFF")),
        setting(40, "Logger nope does not exist!", ("root", SET, "WARN"), ("nope", SET, "INFO")),
        setting(40, "Logger nope does not exist!", ("nope", DELETE, None)),
        setting(42, "Removing the log level of the root logger is not allowed", ("root", DELETE, None)),
        setting(42, f"APPEND {allowed}", ("nope", APPEND, "INFO")),
        setting(42, f"SUBTRACT {allowed}", ("root", SUBTRACT, "INFO")),
        setting(42, "Node id must be an integer, but it is: ", ("root", SET, "INFO"), name=""),
        setting(42, "Unexpected node id. Expected 1, but received 2", ("root", SET, "INFO"), name="2"),
        logging("ERROR"),
        setting(0, None, ("root", SET, before)),
        replacing(42, "Unknown resource type 8", ("root", "INFO"), kind=LOGGER, name="1"),
        ("ListConfigResources", 1, {"ResourceTypes": [LOGGER]},
         {"ErrorCode": 0, "ConfigResources": [{"ResourceName": "1", "ResourceType": LOGGER}]}),
    ]
    check(door, topic, rows)


def test_what_cannot_be_described(door, topic):
    def failing(error, text, kind, name):
        asked = {"ResourceType": kind, "ResourceName": name, "ConfigurationKeys": None}
        answer = {"ErrorCode": error, "ErrorMessage": text, "Configs": []}
        return "DescribeConfigs", 4, {"Resources": [asked]}, {"Results": [answer]}

    malformed = (
        "This most likely occurs because of a request being malformed by the client library or the message was sent to "
        "an incompatible broker. See the broker logs for more details."
    )
    rows = [
        failing(3, "", TOPIC, "{T}-new"),
        failing(17, f"Topic name is invalid: 'a b' {BAD_NAME}", TOPIC, "a b"),
        failing(42, "Unexpected broker id, expected 1 or empty string, but received 2", BROKER, "2"),
        failing(42, "Broker id must be an integer, but it is: x", BROKER, "x"),
        failing(42, "Broker id must not be empty", LOGGER, ""),
        failing(42, "Broker id must be an integer, but it is: x", LOGGER, "x"),
        failing(42, "Unexpected broker id, expected 1 but received 2", LOGGER, "2"),
        failing(42, malformed, 3, "x"),
    ]
    check(door, topic, rows)


def test_a_page_of_partitions_begins_where_the_cursor_says(door, topic):
    def describing(expected, cursor=None, names=("{T}",), limit=2_000, following=None):
        asked = {"Topics": [{"Name": name} for name in names], "ResponsePartitionLimit": limit}
        if cursor:
            asked["Cursor"] = {"TopicName": cursor[0], "PartitionIndex": cursor[1]}
        topics = []
        for error, partitions in expected:
            pages = [{"PartitionIndex": number} for number in partitions]
            operations = -(2**31) if error == 42 else 3576
            topics.append({"ErrorCode": error, "Partitions": pages, "TopicAuthorizedOperations": operations})
        return "DescribeTopicPartitions", 0, asked, {"Topics": topics, "NextCursor": following}

    def making(count):
        asked = {"Topics": [{"Name": "{T}", "Count": count, "Assignments": None}], "TimeoutMs": 5_000}
        return "CreatePartitions", 3, asked, {"Results": [{"ErrorCode": 0}]}

    check(door, topic, [
        making(3), describing([(0, [0, 1, 2])]), describing([(0, [1, 2])], ("{T}", 1)), describing([(0, [])], ("{T}", 9)),
        describing([(0, [0])], limit=1, following={"TopicName": "{T}", "PartitionIndex": 1}),
        describing([(17, []), (0, [0, 1, 2]), (3, [])], names=("{T}", "a b", "{T}-new")),
        describing([(3, [])], ("{T}-new", 0), names=("{T}", "{T}-new")),
        # A cursor that was never given.
        describing([(42, [])], ("aaa", 0)), describing([(42, [])], ("zzz", 0)), describing([(42, [])], ("{T}", -1)),
    ])


def test_no_names_ask_for_every_config(door, topic):
    for names in (None, []):
        asked = {"ResourceType": TOPIC, "ResourceName": topic, "ConfigurationKeys": names}
        answer = door.call("DescribeConfigs", 4, Resources=[asked], IncludeDocumentation=True)["Results"][0]
        assert len(answer["Configs"]) == 33 and all(config["Documentation"] for config in answer["Configs"])


def test_resources_are_listed_by_kind(door, topic):
    def kinds(version, **asked):
        answer = door.call("ListConfigResources", version, **asked)
        assert answer["ErrorCode"] == 0
        return {(one.get("ResourceType"), one["ResourceName"]) for one in answer["ConfigResources"]}

    assert {(TOPIC, topic), (BROKER, "1")} <= kinds(1, ResourceTypes=[])
    assert kinds(1, ResourceTypes=[BROKER]) == {(BROKER, "1")}
    assert (TOPIC, topic) not in kinds(0)
    rows = [("ListConfigResources", 1, {"ResourceTypes": [99]}, {"ErrorCode": 35, "ConfigResources": []})]
    check(door, topic, rows)


def test_log_directories_have_sizes(door, topic):
    asked = [{"Topic": topic, "Partitions": [0, 7]}, {"Topic": topic + "-new", "Partitions": [0]}]
    for version in range(1, 6):
        answer = door.call("DescribeLogDirs", version, Topics=asked)
        assert [topic] == [one["Name"] for one in answer["Results"][0]["Topics"]]
        partition = {"PartitionIndex": 0, "PartitionSize": 0, "OffsetLag": 0, "IsFutureKey": False}
        holds({"Topics": [{"Partitions": [partition]}]}, answer["Results"][0])
        if version >= 4:
            assert answer["Results"][0]["TotalBytes"] > answer["Results"][0]["UsableBytes"] > 0
