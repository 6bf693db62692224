"""What a broker makes of batches that no client library writes: every answer is Kafka 4.3's, seen on the wire."""

import time

import pytest
from batches import (
    CONTROL, GZIP, LOG_APPEND_TIME, LZ4, SNAPPY, TRANSACTIONAL, ZSTD, Raw, batch, batches, gzip, record,
)  # fmt: skip
from kafka import KafkaAdminClient
from kafka.admin import NewTopic

NOW = int(time.time() * 1000)
LATE = 4_000_000  # more than an hour

OK, UNEXPECTED, CORRUPT_MESSAGE, MESSAGE_TOO_LARGE, INVALID_TIMESTAMP, INVALID_RECORD = 0, -1, 2, 10, 32, 87
TRANSACTIONAL_ID_AUTHORIZATION_FAILED, UNSUPPORTED_COMPRESSION_TYPE = 53, 76


def kv(offset_delta=0, **fields):
    return record(b"k", b"v", offset_delta, **fields)


def no_key(offset_delta=0):
    return record(None, b"v", offset_delta)


@pytest.fixture
def raw(kafka_address):
    raw = Raw(kafka_address)
    yield raw
    raw.close()


@pytest.fixture
def make(kafka_address, name):
    """Makes a topic with these configs."""
    admin = KafkaAdminClient(bootstrap_servers=kafka_address)
    made = []

    def topic(**configs):
        made.append(f"{name}-{len(made)}")
        configs = {key.replace("_", "."): value for key, value in configs.items()}
        admin.create_topics([NewTopic(made[-1], num_partitions=1, replication_factor=1, topic_configs=configs)])
        return made[-1]

    yield topic
    admin.delete_topics(made)
    admin.close()


def produce(raw, topic, records, **options):
    """Again while the partition of a new topic has no leader yet."""
    while (answer := raw.produce(topic, records, **options))[0] in (3, 6):
        time.sleep(0.05)
    return answer


@pytest.mark.parametrize(
    "what, records, code",
    [
        ("no batch", b"", INVALID_RECORD),
        ("less than a header", batch([kv()])[:40], INVALID_RECORD),
        ("less than it says", batch([kv()])[:-2], INVALID_RECORD),
        ("something short behind it", batch([kv()]) + b"abc", OK),
        ("a negative length", batch([kv()], length=-1), CORRUPT_MESSAGE),
        ("a length below every format's", batch([kv()], length=10), CORRUPT_MESSAGE),
        ("a length below the header's", batch([kv()], length=48), CORRUPT_MESSAGE),
        ("magic 1", batch([kv()], magic=1), INVALID_RECORD),
        ("magic 3", batch([kv()], magic=3), CORRUPT_MESSAGE),
        ("a wrong checksum", batch([kv()], crc=1), CORRUPT_MESSAGE),
        ("two batches", batch([kv()]) + batch([kv()]), INVALID_RECORD),
        ("a base offset", batch([kv()], base_offset=5), INVALID_RECORD),
        ("no records", batch(b"", count=0, last_offset_delta=0), INVALID_RECORD),
        ("a negative count", batch([kv()], count=-1, last_offset_delta=0), INVALID_RECORD),
        ("a count over its records", batch([kv()], count=2), INVALID_RECORD),
        ("a count under its records", batch([kv(), kv(1)], count=1), INVALID_RECORD),
        ("a last offset delta over its count", batch([kv()], last_offset_delta=3), INVALID_RECORD),
        ("a last offset delta below 0", batch([kv()], last_offset_delta=-1), INVALID_RECORD),
        ("offset deltas that fall", batch([kv(1), kv()]), OK),
        ("compressed, offset deltas that stay", batch(gzip(kv() + kv()), count=2, attributes=GZIP), UNEXPECTED),
        ("a control batch", batch([record(b"\0" * 4, b"\0" * 6)], attributes=CONTROL), INVALID_RECORD),
        ("a producer without a sequence", batch([kv()], producer_id=4, producer_epoch=0), INVALID_RECORD),
        ("codec 5", batch([kv()], attributes=5), UNEXPECTED),
        ("codec 7", batch([kv()], attributes=7), UNEXPECTED),
        ("gzip that is none", batch(b"junkjunk", count=1, attributes=GZIP), UNEXPECTED),
        ("snappy that is none", batch(b"junkjunk", count=1, attributes=SNAPPY), UNEXPECTED),
        ("lz4 that is none", batch(b"junkjunk", count=1, attributes=LZ4), UNEXPECTED),
        ("zstd that is none", batch(b"junkjunk", count=1, attributes=ZSTD), UNEXPECTED),
        ("gzip, a count over its records", batch(gzip(kv()), count=2, attributes=GZIP), INVALID_RECORD),
        ("gzip, a count under its records", batch(gzip(kv() + kv(1)), count=1, attributes=GZIP), INVALID_RECORD),
        ("gzip", batch(gzip(kv() + kv(1)), count=2, attributes=GZIP), OK),
        ("a record cut short", batch(b"\x10\0\0", count=1), INVALID_RECORD),
        ("a record of negative length", batch(b"\x01\0\0", count=1), INVALID_RECORD),
        ("a record longer than its fields", batch(b"\x12\0\0\0\x02k\x02v\0Z", count=1), INVALID_RECORD),
        ("a negative number of headers", batch(b"\x10\0\0\0\x02k\x02v\x01", count=1), INVALID_RECORD),
        ("a header without a name", batch([record(b"k", b"v", headers=[(None, b"x")])]), INVALID_RECORD),
        ("attributes of a record", batch([kv(attributes=3)]), OK),
        ("a transaction of nobody", batch([kv()], attributes=TRANSACTIONAL, producer_id=1, producer_epoch=0, base_sequence=0), TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
        ("no time", batch([kv()], base_timestamp=-1, max_timestamp=-1), OK),
    ],
)  # fmt: skip
def test_a_batch_that_is_not_as_it_must_be(raw, make, what, records, code):
    topic = make()
    answer = produce(raw, topic, records)
    assert answer[0] == code, what
    assert answer[2] == [], what
    assert answer[1] == (0 if code == OK else -1), what


def test_the_two_texts_of_damaged_bytes(raw, make):
    topic = make()
    assert produce(raw, topic, batch([kv()], length=10))[3] == "Record size 10 is less than the minimum record overhead (14)"
    assert produce(raw, topic, batch([kv()], magic=3))[3] == "Invalid magic found in record: 3"


def test_zstd_came_with_version_7(raw, make):
    assert produce(raw, make(), batch([kv()], attributes=ZSTD), version=6)[0] == UNSUPPORTED_COMPRESSION_TYPE


def test_a_batch_over_the_limit_is_refused_before_its_checksum(raw, make):
    topic = make(max_message_bytes="200")
    assert produce(raw, topic, batch([record(b"k", b"v" * 300)], crc=4))[0] == MESSAGE_TOO_LARGE
    assert produce(raw, topic, batch([record(b"k", b"v" * 100)]))[0] == OK


def test_a_compacted_topic_names_every_record_without_a_key(raw, make):
    topic = make(cleanup_policy="compact")
    text = f"Compacted topic cannot accept message without key in topic partition {topic}-0"
    records = [kv(), no_key(1), kv(2), no_key(3), no_key(4), no_key(5)]
    shown = ", ".join(f"RecordError(batchIndex={n}, message='{text}')" for n in (1, 3, 4))
    message = f"One or more records have been rejected due to 4 record errors in total, and only showing the first three errors at most: [{shown}]"
    refused = (INVALID_RECORD, -1, [(n, text) for n in (1, 3, 4, 5)], message)
    assert produce(raw, topic, batch(records)) == refused
    assert produce(raw, topic, batch(gzip(b"".join(records)), count=6, attributes=GZIP)) == refused
    assert produce(raw, topic, batch([record(b"k", None)]))[0] == OK


def test_a_time_too_far_ahead_is_told_for_each_record(raw, make):
    topic = make(message_timestamp_before_max_ms="600000")
    late = batch([kv(), kv(1, timestamp_delta=LATE), kv(2, timestamp_delta=-LATE)], base_timestamp=NOW, max_timestamp=NOW)
    code, _, errors, message = produce(raw, topic, late)
    assert (code, message) == (INVALID_TIMESTAMP, "One or more records have been rejected due to invalid timestamp")
    assert [index for index, _ in errors] == [1, 2]
    assert errors[0][1].startswith(f"Timestamp {NOW + LATE} of message with offset 1 is out of range. The timestamp should be within [")
    within = errors[0][1].rpartition("[")[2].rstrip("]")
    low, high = (int(n) for n in within.split(", "))
    assert high - low == 4_200_000


def test_only_the_broker_may_say_that_a_time_is_its_own(raw, make):
    topic = make(message_timestamp_type="LogAppendTime")
    code, _, errors, message = produce(raw, topic, batch([kv()], attributes=LOG_APPEND_TIME, max_timestamp=NOW))
    text = f"Invalid timestamp type in message DefaultRecord(offset=0, timestamp={NOW}, key=1 bytes, value=1 bytes). Producer should not set timestamp type to LogAppendTime."
    assert (code, errors) == (INVALID_TIMESTAMP, [(0, text)])
    assert message == "One or more records have been rejected due to invalid timestamp"


def test_a_batch_is_kept_as_it_came_but_for_what_is_not_so(raw, make):
    topic = make()
    sent = [
        batch([kv(), kv(1, timestamp_delta=7)], base_timestamp=NOW, max_timestamp=5),
        batch([kv(timestamp_delta=9), kv(1, timestamp_delta=7)], base_timestamp=NOW, max_timestamp=NOW + 999),
        batch([kv()], attributes=LOG_APPEND_TIME, base_timestamp=NOW, max_timestamp=NOW),
        batch(gzip(kv()), count=1, attributes=GZIP, base_timestamp=NOW, max_timestamp=NOW),
    ]
    for one in sent:
        assert produce(raw, topic, one)[0] == OK
    kept = batches(raw.fetch(topic, 0))
    assert [b["records"] for b in kept] == [batches(one)[0]["records"] for one in sent]
    assert [(b["attributes"], b["max_timestamp"]) for b in kept] == [(0, NOW + 7), (0, NOW + 9), (0, NOW), (GZIP, NOW)]
    assert [b["base_offset"] for b in kept] == [0, 2, 4, 5]


@pytest.mark.parametrize("kind, codec", [("uncompressed", 0), ("gzip", GZIP), ("snappy", SNAPPY), ("lz4", LZ4), ("zstd", ZSTD)])
def test_a_topic_may_compress_in_its_own_way(raw, make, kind, codec):
    topic = make(compression_type=kind)
    plain = b"".join(record(b"k%d" % n, b"value " * 50, n) for n in range(20))
    for sent in (batch(plain, count=20), batch(gzip(plain), count=20, attributes=GZIP)):
        assert produce(raw, topic, sent)[0] == OK
    kept = batches(raw.fetch(topic, 0))
    assert [(b["attributes"], b["count"], b["last_offset_delta"]) for b in kept] == [(codec, 20, 19)] * 2
    assert all((b["records"] == plain) == (codec == 0) for b in kept)
