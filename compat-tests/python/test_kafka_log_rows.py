"""The log on a raw socket: where offsets are, what a Fetch gives, what DeleteRecords leaves, and what a producer's sequence
is worth. Each row is Kafka 4.3.1's."""

import time

import pytest

from batches import TRANSACTIONAL, batch, batches, record
from kafka_wire import Connection
from test_kafka_rows import check, door, topic  # noqa: F401

pytestmark = pytest.mark.usefixtures("kafka_address")

NOW = int(time.time() * 1000)
OUT_OF_RANGE, UNKNOWN_TOPIC, UNSUPPORTED_VERSION, INVALID_REQUEST, OUT_OF_ORDER, OLD_EPOCH = 1, 3, 35, 42, 45, 47
INVALID_TXN_STATE, NO_SUCH_MAPPING, INVALID_TIMEOUT, NOT_ATTEMPTED, UNSTABLE = 48, 49, 50, 55, 88
INVALID_RECORD, FENCED, ABORTABLE, UNKNOWN_MEMBER = 87, 90, 120, 25
CONCURRENT_TRANSACTIONS = 51


def records(*delays, at=0, **fields):
    """A batch with a record for each delay after `at`."""
    kept = [record(b"k", b"v", n, timestamp_delta=delay) for n, delay in enumerate(delays)]
    return batch(kept, base_timestamp=NOW + at, max_timestamp=NOW + at + max(delays), **fields)


def producing(error, base_offset, data, version=9, transactional_id=None, **more):
    asked = {"Acks": -1, "TimeoutMs": 5_000, "TransactionalId": transactional_id,
             "TopicData": [{"Name": "{T}", "PartitionData": [{"Index": 0, "Records": data}]}]}
    found = {"ErrorCode": error, "BaseOffset": base_offset, **more}
    return "Produce", version, asked, {"Responses": [{"PartitionResponses": [found]}]}


def listing(timestamp, offset, found=-1, error=0, version=11, number=0, isolation=0):
    asked = {"PartitionIndex": number, "Timestamp": timestamp}
    answer = {"ErrorCode": error, "Offset": offset, "Timestamp": found, "LeaderEpoch": 0 if offset >= 0 else -1}
    return "ListOffsets", version, {
        "ReplicaId": -1, "IsolationLevel": isolation, "Topics": [{"Name": "{T}", "Partitions": [asked]}],
    }, {"Topics": [{"Partitions": [answer]}]}


def fetching(offset, number=0, name="{T}", partition_max=1 << 20, bytes_max=1 << 20, isolation=0, **expected):
    asked = {"Partition": number, "FetchOffset": offset, "PartitionMaxBytes": partition_max}
    return "Fetch", 12, {
        "MaxBytes": bytes_max, "IsolationLevel": isolation, "Topics": [{"Topic": name, "Partitions": [asked]}],
    }, {"Responses": [{"Partitions": [expected]}]}


def refused(error, aborted=None):
    return {"ErrorCode": error, "HighWatermark": -1, "LastStableOffset": -1, "LogStartOffset": -1,
            "AbortedTransactions": aborted, "Records": b""}


def deleting(offset, low_watermark, error=0, number=0, name="{T}"):
    asked = {"Name": name, "Partitions": [{"PartitionIndex": number, "Offset": offset}]}
    found = {"LowWatermark": low_watermark, "ErrorCode": error}
    return "DeleteRecords", 2, {"TimeoutMs": 5_000, "Topics": [asked]}, {"Topics": [{"Partitions": [found]}]}


def test_an_empty_log(door, topic):  # noqa: F811
    ends = {"HighWatermark": 0, "LastStableOffset": 0, "LogStartOffset": 0}
    check(door, topic, [
        listing(-1, 0), listing(-2, 0), listing(-3, -1), listing(-4, 0), listing(-5, -1), listing(-6, -1), listing(0, -1),
        listing(-7, -1, error=UNSUPPORTED_VERSION), listing(-3, -1, error=UNSUPPORTED_VERSION, version=6),
        listing(-4, -1, error=UNSUPPORTED_VERSION, version=7), listing(-5, -1, error=UNSUPPORTED_VERSION, version=8),
        listing(-6, -1, error=UNSUPPORTED_VERSION, version=10), listing(-1, -1, error=UNKNOWN_TOPIC, number=9),
        fetching(0, ErrorCode=0, Records=b"", AbortedTransactions=None, **ends),
        fetching(1, **refused(OUT_OF_RANGE)), fetching(-1, **refused(OUT_OF_RANGE)),
        fetching(0, number=9, **refused(UNKNOWN_TOPIC, aborted=[])),
        fetching(0, name="{T}-new", **refused(UNKNOWN_TOPIC, aborted=[])),
    ])


def test_offsets_by_time_and_batches_by_offset(door, topic):  # noqa: F811
    check(door, topic, [
        producing(0, 0, records(0, 10)), producing(0, 2, records(5, 50, 20, at=100)), producing(0, 5, records(0, at=50)),
        listing(-1, 6), listing(-2, 0), listing(-3, 3, NOW + 150), listing(-4, 0), listing(-5, -1), listing(0, 0, NOW),
        listing(NOW, 0, NOW), listing(NOW + 1, 1, NOW + 10), listing(NOW + 10, 1, NOW + 10),
        listing(NOW + 11, 2, NOW + 105), listing(NOW + 120, 3, NOW + 150), listing(NOW + 150, 3, NOW + 150),
        listing(NOW + 151, -1),
        fetching(6, ErrorCode=0, Records=b"", HighWatermark=6), fetching(7, **refused(OUT_OF_RANGE)),
    ])

    def bases(offset, partition_max=1 << 20, bytes_max=1 << 20):
        api, version, asked, _ = fetching(offset, name=topic, partition_max=partition_max, bytes_max=bytes_max)
        found = door.call(api, version, **asked)["Responses"][0]["Partitions"][0]["Records"]
        return [one["base_offset"] for one in batches(found)]

    assert bases(0) == bases(1) == [0, 2, 5] and bases(2) == bases(4) == [2, 5] and bases(5) == [5]
    # The first batch is whole, whatever the limits say.
    for limits in ({"partition_max": 1}, {"bytes_max": 1}, {"partition_max": 0}, {"bytes_max": 0}):
        assert bases(1, **limits)[0] == 0, limits


def test_what_is_deleted_is_out_of_range(door, topic):  # noqa: F811
    def ended(leader_epoch, epoch, end, error=0, number=0):
        asked = {"Partition": number, "CurrentLeaderEpoch": -1, "LeaderEpoch": leader_epoch}
        found = {"ErrorCode": error, "LeaderEpoch": epoch, "EndOffset": end}
        return "OffsetForLeaderEpoch", 4, {
            "ReplicaId": -1, "Topics": [{"Topic": "{T}", "Partitions": [asked]}],
        }, {"Topics": [{"Partitions": [found]}]}

    check(door, topic, [
        producing(0, 0, records(0, 10)), producing(0, 2, records(5, 50, 20, at=100)), producing(0, 5, records(0, at=50)),
        deleting(1, 1), deleting(1, -1, UNKNOWN_TOPIC, number=9), deleting(0, -1, UNKNOWN_TOPIC, name="{T}-new"),
        fetching(0, **refused(OUT_OF_RANGE)), fetching(1, ErrorCode=0, LogStartOffset=1, HighWatermark=6),
        listing(-2, 1), listing(-4, 1), listing(0, 1, NOW + 10), listing(-3, 3, NOW + 150),
        deleting(0, 1), deleting(100, -1, OUT_OF_RANGE), deleting(-2, -1, OUT_OF_RANGE), deleting(-1, 6),
        listing(-1, 6), listing(-2, 6), listing(-4, 6), listing(0, -1),
        ended(0, 0, 6), ended(5, -1, -1), ended(0, -1, -1, UNKNOWN_TOPIC, number=9),
    ])


def test_a_producers_batches_are_known_again(door, topic):  # noqa: F811
    asked = {"TransactionalId": None, "TransactionTimeoutMs": 60_000}
    deadline = time.monotonic() + 20
    # Kafka asks for some ids first, and has none meanwhile.
    while (producer_id := door.call("InitProducerId", 4, **asked)["ProducerId"]) < 0:
        assert time.monotonic() < deadline

    def sent(error, base_offset, sequence, count=1, epoch=0, producer=producer_id, **more):
        data = records(*[0] * count, producer_id=producer, producer_epoch=epoch, base_sequence=sequence)
        return producing(error, base_offset, data, **more)

    other, last = producer_id + 1_000_000, producer_id + 2_000_000
    check(door, topic, [
        # One that is there already is answered with its time.
        sent(0, 0, 0, LogAppendTimeMs=-1), sent(0, 0, 0, LogAppendTimeMs=NOW), sent(0, 1, 1, count=2), sent(0, 3, 3), sent(0, 1, 1, count=2),
        # A gap, a part of a batch, and another cut of the same records.
        sent(OUT_OF_ORDER, -1, 5), sent(OUT_OF_ORDER, -1, 2), sent(OUT_OF_ORDER, -1, 1),
        sent(0, 4, 4), sent(0, 5, 5), sent(0, 6, 6), sent(0, 7, 7),
        # Only the last five batches are known.
        sent(OUT_OF_ORDER, -1, 0), sent(OUT_OF_ORDER, -1, 1, count=2), sent(0, 3, 3),
        # An epoch begins anew, and ends the one before.
        sent(OUT_OF_ORDER, -1, 3, epoch=1), sent(0, 8, 0, epoch=1), sent(OLD_EPOCH, -1, 8), sent(0, 9, 1, epoch=1),
        sent(0, 8, 0, epoch=1),
        # Of a producer that is not known any sequence is the first.
        sent(0, 10, 77, producer=other), sent(0, 11, 78, producer=other), sent(OUT_OF_ORDER, -1, 80, producer=other),
        # Behind the largest sequence comes 0.
        sent(0, 12, 2**31 - 2, producer=last), sent(0, 13, 2**31 - 1, count=2, producer=last), sent(0, 15, 1, producer=last),
        sent(INVALID_RECORD, -1, -1, producer=producer_id + 3_000_000),
    ])


def test_what_a_producer_may_not_ask_for(door, topic):  # noqa: F811
    def asking(error, transactional_id="{T}-x", timeout_ms=60_000, **more):
        asked = {"TransactionalId": transactional_id, "TransactionTimeoutMs": timeout_ms, **more}
        return "InitProducerId", 4, asked, {"ErrorCode": error} | ({"ProducerId": -1, "ProducerEpoch": -1} if error else {})

    check(door, topic, [
        asking(INVALID_REQUEST, ""), asking(INVALID_TIMEOUT, timeout_ms=0), asking(INVALID_TIMEOUT, timeout_ms=900_001),
        asking(INVALID_REQUEST, ProducerId=5, ProducerEpoch=-1), asking(0, None, timeout_ms=0),
    ])


class Transactional:
    """A transactional producer; what must wait for the end of a transaction is asked again."""

    def __init__(self, door, topic):  # noqa: F811
        self.door, self.topic, self.name = door, topic, topic + "-x"
        self.id, self.epoch = self.begin()

    def call(self, api, version, **body):
        deadline = time.monotonic() + 20
        while True:
            answer = self.door.call(api, version, **body)
            codes = [answer.get("ErrorCode")]
            for one in answer.get("ResultsByTopicV3AndBelow", []):
                codes += [partition["PartitionErrorCode"] for partition in one["ResultsByPartition"]]
            if not {14, 15, 16, CONCURRENT_TRANSACTIONS} & set(codes):
                return answer
            assert time.monotonic() < deadline, answer
            time.sleep(0.05)

    def begin(self, **more):
        answer = self.call("InitProducerId", 4, TransactionalId=self.name, TransactionTimeoutMs=60_000, **more)
        return (answer["ProducerId"], answer["ProducerEpoch"]) if answer["ErrorCode"] == 0 else answer["ErrorCode"]

    def end(self, committed, version=4, **other):
        asked = {"TransactionalId": self.name, "ProducerId": self.id, "ProducerEpoch": self.epoch, "Committed": committed}
        answer = self.call("EndTxn", version, **asked | other)
        if version >= 5 and answer["ErrorCode"] == 0:
            self.id, self.epoch = answer["ProducerId"], answer["ProducerEpoch"]
        return answer["ErrorCode"]

    def add(self, name=None, partitions=(0,), **other):
        asked = {"V3AndBelowTransactionalId": self.name, "V3AndBelowProducerId": self.id,
                 "V3AndBelowProducerEpoch": self.epoch, **{"V3AndBelow" + key: value for key, value in other.items()}}
        topics = [{"Name": name or self.topic, "Partitions": list(partitions)}]
        answer = self.call("AddPartitionsToTxn", 3, **asked, V3AndBelowTopics=topics)
        [found] = answer["ResultsByTopicV3AndBelow"]
        return {one["PartitionIndex"]: one["PartitionErrorCode"] for one in found["ResultsByPartition"]}

    def send(self, error, base_offset, sequence, version=11, attributes=TRANSACTIONAL, epoch=None):
        producer = {"producer_id": self.id, "producer_epoch": self.epoch if epoch is None else epoch}
        data = records(0, base_sequence=sequence, attributes=attributes, **producer)
        check(self.door, self.topic, [producing(error, base_offset, data, version, self.name)])

    def commit_offset(self, version=3, group="{T}-g", **other):
        one = {"PartitionIndex": 0, "CommittedOffset": 3, "CommittedMetadata": other.pop("Metadata", "m")}
        topics = [{"Name": other.pop("Topic", self.topic), "Partitions": [one]}]
        asked = {"TransactionalId": self.name, "GroupId": group.replace("{T}", self.topic), "ProducerId": self.id,
                 "ProducerEpoch": self.epoch, "Topics": topics}
        return self.call("TxnOffsetCommit", version, **asked | other)["Topics"][0]["Partitions"][0]["ErrorCode"]

    def committed(self, stable):
        topics = [{"Name": self.topic, "PartitionIndexes": [0]}]
        answer = self.call("OffsetFetch", 7, GroupId=self.topic + "-g", Topics=topics, RequireStable=stable)
        found = answer["Topics"][0]["Partitions"][0]
        return found["CommittedOffset"], found["ErrorCode"]


@pytest.fixture
def producer(kafka_address, topic):  # noqa: F811
    """On a connection of its own: Kafka makes the log of transactions first, which takes its time."""
    connection = Connection(kafka_address)
    yield Transactional(connection, topic)
    connection.close()


def test_a_transaction_in_the_first_protocol(door, topic, producer):  # noqa: F811
    assert (producer.end(True), producer.end(False)) == (INVALID_TXN_STATE, INVALID_TXN_STATE)
    assert producer.end(True, TransactionalId=topic + "-nobody") == NO_SUCH_MAPPING
    assert (producer.end(True, ProducerEpoch=7), producer.end(True, ProducerId=producer.id + 1)) == (FENCED, NO_SUCH_MAPPING)
    assert producer.add(TransactionalId=topic + "-nobody") == {0: NO_SUCH_MAPPING}
    assert (producer.add(ProducerEpoch=7), producer.add(ProducerId=producer.id + 1)) == ({0: FENCED}, {0: NO_SUCH_MAPPING})
    assert producer.add(topic + "-new") == {0: UNKNOWN_TOPIC}
    assert producer.add(partitions=(0, 9)) == {0: NOT_ATTEMPTED, 9: UNKNOWN_TOPIC}
    producer.send(ABORTABLE, -1, 0)
    producer.send(INVALID_TXN_STATE, -1, 0, version=9)
    assert producer.add() == {0: 0}
    producer.send(0, 0, 0)
    producer.send(0, 0, 0)
    producer.send(OUT_OF_ORDER, -1, 5)
    producer.send(INVALID_TXN_STATE, -1, 1, attributes=0)
    check(door, topic, [
        listing(-1, 1), listing(-1, 0, isolation=1),
        fetching(0, isolation=1, ErrorCode=0, HighWatermark=1, LastStableOffset=0, Records=b"", AbortedTransactions=[]),
        fetching(0, ErrorCode=0, HighWatermark=1, LastStableOffset=0, AbortedTransactions=None),
    ])
    assert producer.end(True) == 0
    assert (producer.end(True), producer.end(False)) == (0, INVALID_TXN_STATE)
    assert producer.add() == {0: 0}
    check(door, topic, [listing(-1, 2, isolation=1)])
    producer.send(0, 2, 1)
    assert (producer.end(False), producer.end(False), producer.end(True)) == (0, 0, INVALID_TXN_STATE)
    producer.add()  # Waits for the marker.
    aborted = [{"ProducerId": producer.id, "FirstOffset": 2}]
    check(door, topic, [fetching(0, isolation=1, HighWatermark=4, LastStableOffset=4, AbortedTransactions=aborted)])


def test_offsets_in_a_transaction(door, topic, producer):  # noqa: F811
    def adding(error, **other):
        asked = {"TransactionalId": producer.name, "ProducerId": producer.id, "ProducerEpoch": producer.epoch,
                 "GroupId": topic + "-g"}
        assert producer.call("AddOffsetsToTxn", 3, **asked | other)["ErrorCode"] == error, other

    adding(0)
    adding(NO_SUCH_MAPPING, ProducerId=producer.id + 1)
    adding(FENCED, ProducerEpoch=producer.epoch + 1)
    assert producer.commit_offset() == 0
    assert producer.commit_offset(GenerationId=1, MemberId="m") == UNKNOWN_MEMBER
    assert producer.commit_offset(Metadata="x" * 5_000) == 12
    assert producer.commit_offset(ProducerEpoch=9) == OLD_EPOCH
    assert producer.commit_offset(group="") == 24
    assert producer.commit_offset(Topic=topic + "-new") == UNKNOWN_TOPIC
    assert (producer.committed(stable=True), producer.committed(stable=False)) == ((-1, UNSTABLE), (-1, 0))
    assert producer.end(True) == 0
    deadline = time.monotonic() + 10
    while producer.committed(stable=True) != (3, 0):
        assert time.monotonic() < deadline


def test_a_new_instance_fences_the_one_before(door, topic, producer):  # noqa: F811
    producer.add()
    producer.send(0, 0, 0)
    assert producer.end(True) == 0
    old = producer.epoch
    _, producer.epoch = producer.begin()
    assert producer.epoch == old + 1
    assert producer.end(True, ProducerEpoch=old) == FENCED
    assert producer.add(ProducerEpoch=old) == {0: FENCED}
    assert producer.begin(ProducerId=producer.id, ProducerEpoch=old) == FENCED
    assert producer.begin(ProducerId=producer.id + 5, ProducerEpoch=producer.epoch) == FENCED
    _, again = producer.begin(ProducerId=producer.id, ProducerEpoch=producer.epoch)
    assert again == producer.epoch + 1


def test_a_transaction_in_the_second_protocol(door, topic, producer):  # noqa: F811
    first = producer.epoch
    producer.send(0, 0, 0, version=12)
    asked = {"ProducerEpoch": first}
    assert producer.end(True, version=5) == 0 and producer.epoch == first + 1
    # A retry gets the same answer.
    assert producer.end(True, version=5, **asked) == 0 and producer.epoch == first + 1
    producer.send(0, 2, 0, version=12)
    assert producer.end(False, version=5) == 0 and producer.epoch == first + 2
    # One that is empty may be aborted, and not committed.
    assert producer.end(False, version=5) == 0 and producer.epoch == first + 3
    assert producer.end(True, version=5) == INVALID_TXN_STATE
    producer.send(OLD_EPOCH, -1, 0, version=11, epoch=first)
    producer.send(OLD_EPOCH, -1, 0, version=12, epoch=first)
    check(door, topic, [fetching(0, isolation=1, LastStableOffset=4,
                                 AbortedTransactions=[{"ProducerId": producer.id, "FirstOffset": 2}])])
