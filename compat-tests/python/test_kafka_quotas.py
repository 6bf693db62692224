"""Client quotas: what Kafka 4.3.1 says to who sets and describes them, and that they hold."""

import time

import pytest

from batches import batch, record
from kafka_wire import Connection
from test_kafka_rows import check, door, topic  # noqa: F401

pytestmark = pytest.mark.usefixtures("kafka_address")

PRODUCED, CONSUMED = "producer_byte_rate", "consumer_byte_rate"


def entity(**parts):
    return [{"EntityType": kind.replace("_", "-"), "EntityName": name} for kind, name in parts.items()]


def altering(code, text, ops, version=1, validate=False, **parts):
    ops = [{"Key": key, "Value": value or 0.0, "Remove": value is None} for key, value in ops]
    asked = {"Entries": [{"Entity": entity(**parts), "Ops": ops}], "ValidateOnly": validate}
    return "AlterClientQuotas", version, asked, {"Entries": [{"ErrorCode": code, "ErrorMessage": text}]}


def describing(filters, *found, strict=True, version=1):
    components = [{"EntityType": kind, "MatchType": match, "Match": name} for kind, match, name in filters]
    found = [{"Entity": parts, "Values": [{"Key": key, "Value": value} for key, value in values]} for parts, values in found]
    asked = {"Components": components, "Strict": strict}
    return "DescribeClientQuotas", version, asked, {"ErrorCode": 0, "ErrorMessage": "", "Entries": found}


def refused(code, text, *filters):
    components = [{"EntityType": kind, "MatchType": match, "Match": name} for kind, match, name in filters]
    answer = {"ErrorCode": code, "ErrorMessage": text, "Entries": None}
    return "DescribeClientQuotas", 1, {"Components": components, "Strict": False}, answer


def test_quotas_are_set_and_described(door, topic):
    user, mine = {"user": "{T}"}, [("user", 0, "{T}")]
    both = [{"EntityType": "client-id", "EntityName": "c"}, {"EntityType": "user", "EntityName": "{T}"}]
    rows = [
        describing(mine),
        altering(0, None, [(PRODUCED, 1000.0)], **user),
        altering(0, None, [(PRODUCED, 9.0)], validate=True, **user),
        altering(0, None, [(PRODUCED, 2000.0), (CONSUMED, 3000.0)], user="{T}", client_id="c"),
        altering(0, None, [(CONSUMED, 1e15)], version=0, client_id=None),
        describing(mine, (entity(**user), [(PRODUCED, 1000.0)])),
        describing([*mine, ("client-id", 2, None)], (both, [(CONSUMED, 3000.0), (PRODUCED, 2000.0)]), version=0),
        describing([("client-id", 1, None)], (entity(client_id=None), [(CONSUMED, 1e15)])),
        altering(0, None, [(CONSUMED, None)], client_id=None),
        describing([("client-id", 1, None)]),
        altering(42, f"Quota {PRODUCED} must be greater than 0", [(PRODUCED, -1.0)], **user),
        altering(42, f"Quota {PRODUCED} must be greater than 0", [(PRODUCED, 0.0)], **user),
        altering(42, f"{PRODUCED} cannot be a fractional value.", [(PRODUCED, 1.5)], **user),
        altering(42, f"Proposed value for {PRODUCED} is too large for a LONG.", [(PRODUCED, 1e30)], **user),
        altering(42, "Invalid configuration key bogus", [("bogus", 1.0)], **user),
        altering(42, "Invalid configuration key connection_creation_rate", [("connection_creation_rate", 1.0)], **user),
        altering(42, f"Invalid configuration key {PRODUCED}", [(PRODUCED, 1.0)], ip="1.2.3.4"),
        altering(
            42,
            "Ignoring duplicate entity ClientQuotaEntity(entries={user={T}})",
            [(PRODUCED, 1.0), (PRODUCED, 2.0)],
            **user,
        ),
        altering(42, "Invalid empty client quota entity", [(PRODUCED, 1.0)]),
        altering(42, "Unhandled client quota entity type: foo", [(PRODUCED, 1.0)], foo="x"),
        altering(42, "Empty user not supported", [(PRODUCED, 1.0)], user=""),
        altering(
            42,
            "Invalid quota entity combination, IP entity shouldnot be combined with User or ClientId",
            [(PRODUCED, 1.0)],
            ip="1.2.3.4",
            user="x",
        ),
        refused(42, "Invalid empty entity type.", ("", 0, "u")),
        refused(42, "Entity type user cannot appear more than once in the filter.", ("user", 0, "u"), ("user", 0, "w")),
        refused(35, "Unsupported entity type foo", ("foo", 0, "u")),
        refused(42, "Request specified MATCH_TYPE_EXACT, but set match string to null.", ("user", 0, None)),
        refused(42, "Request specified MATCH_TYPE_DEFAULT, but also specified a match string.", ("user", 1, "x")),
        refused(42, "Request specified MATCH_TYPE_SPECIFIED, but also specified a match string.", ("user", 2, "x")),
        refused(42, "Unknown match type 3", ("user", 3, "x")),
        refused(
            42,
            "Invalid entity filter component combination. IP filter component should not be used with user or clientId "
            "filter component.",
            ("ip", 2, None),
            ("user", 2, None),
        ),
        altering(0, None, [(PRODUCED, None)], **user),
        altering(0, None, [(PRODUCED, None), (CONSUMED, None)], user="{T}", client_id="c"),
        describing(mine, strict=False),
    ]
    check(door, topic, rows)


@pytest.mark.warren
def test_what_is_not_enforced_is_refused(door, topic):
    def text(key):
        return f"This broker does not enforce quotas of {key}"

    rows = [
        altering(42, text(key), [(key, 1.0)], user="{T}") for key in ("request_percentage", "controller_mutation_rate")
    ]
    rows.append(altering(42, text("connection_creation_rate"), [("connection_creation_rate", 1.0)], ip="1.2.3.4"))
    check(door, topic, rows)


@pytest.mark.warren
def test_quotas_outlive_a_kill(warren):
    def ask(*rows):
        client = Connection(warren.kafka)
        check(client, "", rows)
        client.close()

    ask(altering(0, None, [(PRODUCED, 5.0)], user=None, client_id="c"), altering(0, None, [(CONSUMED, 7.0)], user="u"))
    ask(altering(0, None, [(PRODUCED, 9.0)], user="gone"), altering(0, None, [(PRODUCED, None)], user="gone"))
    warren.restart()
    of_both = [{"EntityType": "client-id", "EntityName": "c"}, {"EntityType": "user", "EntityName": None}]
    ask(describing([], (of_both, [(PRODUCED, 5.0)]), (entity(user="u"), [(CONSUMED, 7.0)]), strict=False))


class Client(Connection):
    """With a client id of its own, so that it has a quota of its own."""

    def produce(self, topic, size):
        records = batch([record(None, bytes(size))])
        data = [{"Name": topic, "PartitionData": [{"Index": 0, "Records": records}]}]
        answer = self.call("Produce", 9, Acks=-1, TimeoutMs=5000, TopicData=data)
        assert answer["Responses"][0]["PartitionResponses"][0]["ErrorCode"] == 0
        return answer["ThrottleTimeMs"]

    def fetch(self, topic, offset=0):
        partition = {"Partition": 0, "FetchOffset": offset, "PartitionMaxBytes": 61_000}
        asked = [{"Topic": topic, "Partitions": [partition]}]
        answer = self.call("Fetch", 12, MaxBytes=1 << 20, MinBytes=1, MaxWaitMs=500, SessionEpoch=-1, Topics=asked)
        found = [one["Partitions"][0] for one in answer["Responses"]]
        return answer["ThrottleTimeMs"], bool(found and found[0]["Records"])


@pytest.fixture
def limited(kafka_address, door, topic):
    """Sets a quota of the topic's name as a client id, and takes it back."""
    client = Client(kafka_address, topic)

    def limit(key, rate):
        check(door, topic, [altering(0, None, [(key, rate)], client_id="{T}")])
        check(door, topic, [describing([("client-id", 0, "{T}")], (entity(client_id="{T}"), [(key, rate)]))])
        return client

    yield limit
    check(door, topic, [altering(0, None, [(PRODUCED, None), (CONSUMED, None)], client_id="{T}")])
    client.close()


def test_who_produces_too_much_is_told_and_not_heard_for_a_while(limited, kafka_address, topic):
    client, other = limited(PRODUCED, 10_000.0), Client(kafka_address, "other")
    assert client.produce(topic, 50_000) == 0, "ten seconds' worth may come at once"
    ms = client.produce(topic, 60_000)
    assert 0 < ms < 5_000
    began = time.monotonic()
    assert other.produce(topic, 200_000) == 0, "others are not held up"
    assert client.call("ApiVersions", 0)["ErrorCode"] == 0
    assert time.monotonic() - began > ms / 1000 * 0.8
    other.close()


def test_who_consumes_too_much_gets_nothing_for_a_while(limited, kafka_address, topic):
    other = Client(kafka_address, "other")
    for _ in range(3):
        other.produce(topic, 60_000)
    client = limited(CONSUMED, 10_000.0)
    assert client.fetch(topic, 0) == (0, True)
    ms, has_records = client.fetch(topic, 1)
    assert ms > 0 and not has_records
    while ms:
        ms, has_records = client.fetch(topic, 1)
    assert has_records, "once it may"
    other.close()
