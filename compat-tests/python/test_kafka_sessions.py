"""Fetch sessions (KIP-227), request by request: what an incremental fetch answers, and when a session is not one."""

import pytest

from kafka_wire import Connection
from test_kafka_rows import door, topic  # noqa: F401

pytestmark = pytest.mark.usefixtures("kafka_address")

VERSION = 12
OFFSET_OUT_OF_RANGE, ID_NOT_FOUND, INVALID_EPOCH, TOPIC_ID_ERROR = 1, 70, 71, 106


@pytest.fixture
def produce(kafka_address, topic):
    from kafka import KafkaProducer

    producer = KafkaProducer(bootstrap_servers=kafka_address, acks="all")
    yield lambda: producer.send(topic, b"x").get(timeout=20)
    producer.close(timeout=5)


class Session:
    def __init__(self, door, topic):
        self.door, self.topic, self.id = door, topic, 0

    def fetch(self, epoch, offsets=None, forget=(), version=VERSION, id=None):
        """The error, and the partitions answered: number, error, whether there are records."""
        partitions = [
            {"Partition": number, "FetchOffset": offset, "PartitionMaxBytes": 1 << 20}
            for number, offset in (offsets or {}).items()
        ]
        asked = {"SessionId": self.id if id is None else id, "SessionEpoch": epoch, "MaxBytes": 1 << 20}
        asked |= {"MinBytes": 0, "MaxWaitMs": 0}
        if version <= 12:
            asked["Topics"] = [{"Topic": self.topic, "Partitions": partitions}] if partitions else []
            asked["ForgottenTopicsData"] = [{"Topic": self.topic, "Partitions": list(forget)}] if forget else []
        answer = self.door.call("Fetch", version, **asked)
        if epoch == 0:
            self.id = answer["SessionId"]
        found = [partition for one in answer["Responses"] for partition in one["Partitions"]]
        found = [(one["PartitionIndex"], one["ErrorCode"], bool(one["Records"])) for one in found]
        return answer["ErrorCode"], answer["SessionId"], found


def test_an_incremental_answer_has_what_changed(door, topic, produce):
    produce()
    session = Session(door, topic)
    error, session_id, found = session.fetch(0, {0: 1})
    assert (error, found) == (0, [(0, 0, False)]) and session_id > 0
    assert session.fetch(1) == (0, session_id, []), "nothing has changed"
    produce()
    assert session.fetch(2) == (0, session_id, [(0, 0, True)]), "a record has come"
    assert session.fetch(3) == (0, session_id, [(0, 0, True)]), "the client still asks for the same"
    assert session.fetch(4, {0: 2}) == (0, session_id, []), "it has it now"
    assert session.fetch(5, {0: 99}) == (0, session_id, [(0, OFFSET_OUT_OF_RANGE, False)])
    assert session.fetch(6) == (0, session_id, [(0, OFFSET_OUT_OF_RANGE, False)]), "errors are told each time"
    assert session.fetch(7, {0: 2}) == (0, session_id, [(0, 0, False)]), "and their end"
    assert session.fetch(8) == (0, session_id, [])


def test_a_session_needs_its_id_and_the_next_epoch(door, topic, produce):
    produce()
    session = Session(door, topic)
    assert session.fetch(0, {0: 1})[0] == 0
    assert session.fetch(2) == (INVALID_EPOCH, 0, [])
    assert session.fetch(1, version=13) == (TOPIC_ID_ERROR, 0, [])
    assert session.fetch(1) == (0, session.id, []), "an error does not end it"
    assert session.fetch(2, id=session.id ^ 1) == (ID_NOT_FOUND, 0, [])
    assert session.fetch(-1, {0: 1}) == (0, 0, [(0, 0, False)]), "closed, and answered in full"
    assert session.fetch(2) == (ID_NOT_FOUND, 0, [])


def test_a_session_without_partitions_ends(door, topic):
    session = Session(door, topic)
    assert session.fetch(0, {0: 0})[0] == 0
    assert session.fetch(1, forget=[0]) == (0, 0, [])
    assert session.fetch(2) == (ID_NOT_FOUND, 0, [])


def test_a_session_outlives_its_connection(door, topic, produce, kafka_address):
    produce()
    session = Session(door, topic)
    assert session.fetch(0, {0: 1})[0] == 0
    session.door = Connection(kafka_address)
    assert session.fetch(1) == (0, session.id, [])
    session.door.close()
