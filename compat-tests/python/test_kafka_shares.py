"""What a share group lends of records that come back again and again, on a raw socket: the same on Kafka 4.3.1."""

import time
import uuid

import pytest

from batches import batch, record
from kafka_wire import Connection
from test_kafka_rows import SET, altering, check, door, topic  # noqa: F401

pytestmark = pytest.mark.usefixtures("kafka_address")

GROUP = 32
RELEASE = 2


class Member:
    """One member of a share group that reads one partition."""

    def __init__(self, address, topic, topic_id):
        self.connection, self.topic_id = Connection(address), topic_id
        self.me = {"GroupId": topic, "MemberId": str(uuid.uuid4())}
        self.epoch = 0
        # Whoever asks first makes Kafka's coordinator.
        self.connection.call("FindCoordinator", 4, KeyType=0, CoordinatorKeys=[topic])
        self.beat(0, [topic])

    def beat(self, epoch, topics=None):
        deadline = time.monotonic() + 30
        while True:
            beat = self.connection.call("ShareGroupHeartbeat", 1, MemberEpoch=epoch, SubscribedTopicNames=topics, **self.me)
            if beat["ErrorCode"] == 0:
                epoch = beat["MemberEpoch"]
                if epoch < 0 or (beat["Assignment"] and beat["Assignment"]["TopicPartitions"]):
                    return
            assert time.monotonic() < deadline, beat
            topics = topics if beat["ErrorCode"] else None
            time.sleep(0.05)

    def partition(self, answer):
        assert answer["ErrorCode"] == 0, answer
        self.epoch += 1
        return [one for topic in answer["Responses"] for one in topic["Partitions"]]

    def fetch(self, most=16):
        """(first, last, delivery count) of what is lent now."""
        partitions = [{"PartitionIndex": 0, "AcknowledgementBatches": []}]
        answer = self.connection.call(
            "ShareFetch", 1, ShareSessionEpoch=self.epoch, MaxWaitMs=500, MinBytes=1, MaxRecords=most, BatchSize=most,
            Topics=[{"TopicId": self.topic_id, "Partitions": partitions}], **self.me)
        found = self.partition(answer)
        assert all(one["ErrorCode"] == 0 for one in found), found
        return [(a["FirstOffset"], a["LastOffset"], a["DeliveryCount"]) for one in found for a in one["AcquiredRecords"]]

    def release(self, lent):
        """Gives it back, and waits for the answer: Kafka lends it again only then."""
        back = [{"FirstOffset": first, "LastOffset": last, "AcknowledgeTypes": [RELEASE]} for first, last, _ in lent]
        partitions = [{"PartitionIndex": 0, "AcknowledgementBatches": back}]
        answer = self.connection.call(
            "ShareAcknowledge", 1, ShareSessionEpoch=self.epoch,
            Topics=[{"TopicId": self.topic_id, "Partitions": partitions}], **self.me)
        assert [one["ErrorCode"] for one in self.partition(answer)] == [0], answer

    def close(self):
        self.beat(-1)
        self.connection.close()


@pytest.fixture
def member(kafka_address, door, topic):
    """A member of a group of the topic's name, which begins at the topic's start."""
    asked = [{"Name": topic}]
    topic_id = door.call("Metadata", 12, Topics=asked, AllowAutoTopicCreation=False)["Topics"][0]["TopicId"]
    check(door, topic, [altering(0, None, ("share.auto.offset.reset", SET, "earliest"), kind=GROUP)])
    member = Member(kafka_address, topic, topic_id)
    yield member
    member.close()


def produce(door, topic, count):
    records = batch([record(b"k", b"%d" % n, offset_delta=n) for n in range(count)], count)
    data = [{"Name": topic, "PartitionData": [{"Index": 0, "Records": records}]}]
    answer = door.call("Produce", 9, Acks=-1, TimeoutMs=5000, TopicData=data)
    assert answer["Responses"][0]["PartitionResponses"][0]["ErrorCode"] == 0


def alone(count, *offsets):
    return [[(offset, offset, count)] for offset in offsets]


def whole(*counts):
    return [[(0, 15, count)] for count in counts]


@pytest.mark.parametrize("limit, expected", [
    (2, whole(1, 2)),
    (3, whole(1, 2) + alone(3, *range(16))),
    (4, whole(1, 2) + [[(0, 7, 3)]] + alone(4, *range(8)) + [[(8, 15, 3)]] + alone(4, *range(8, 16))),
    (6, whole(1, 2, 3) + [[(0, 7, 4)], [(0, 3, 5)]] + alone(6, *range(4)) + [[(4, 7, 5)]] + alone(6, *range(4, 8))
     + [[(8, 15, 4)], [(8, 11, 5)]] + alone(6, *range(8, 12)) + [[(12, 15, 5)]] + alone(6, *range(12, 16))),
])
def test_what_is_released_again_and_again_is_lent_in_ever_smaller_parts(door, topic, member, limit, expected):
    check(door, topic, [altering(0, None, ("share.delivery.count.limit", SET, str(limit)), kind=GROUP)])
    produce(door, topic, 16)
    deadline, found = time.monotonic() + 30, []
    while len(found) < len(expected):
        assert time.monotonic() < deadline, found
        # Kafka's partition may not be ready yet.
        if lent := member.fetch():
            found.append(lent)
            member.release(lent)
    assert found == expected
    assert member.fetch() == [], "all have been lent often enough"
