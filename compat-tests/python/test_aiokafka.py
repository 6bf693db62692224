"""aiokafka with its default settings."""

import asyncio
import time

import pytest

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 60))


async def read(consumer, number):
    """The next `number` records of a consumer, which is stopped after them."""
    async with consumer:
        return [await asyncio.wait_for(consumer.getone(), 20) for _ in range(number)]


def consumer(address, *topics, **options):
    options = {"auto_offset_reset": "earliest", **options}
    return AIOKafkaConsumer(*topics, bootstrap_servers=address, **options)


async def produce(address, topic, values, **options):
    async with AIOKafkaProducer(bootstrap_servers=address, **options) as producer:
        return [await producer.send_and_wait(topic, value) for value in values]


def test_hello(kafka_address, name):
    # An hour ago: what is older than the topic's retention may be gone before it is read.
    timestamp = int(time.time() * 1000) - 3_600_000

    async def main():
        async with AIOKafkaProducer(bootstrap_servers=kafka_address) as producer:
            headers = [("h", b"1")]
            sent = await producer.send_and_wait(name, b"v", b"k", headers=headers, timestamp_ms=timestamp)
        assert (sent.partition, sent.offset) == (0, 0)
        [record] = await read(consumer(kafka_address, name), 1)
        assert (record.key, record.value, record.headers) == (b"k", b"v", (("h", b"1"),))
        assert record.timestamp == timestamp

    run(main())


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_every_codec(kafka_address, name, codec):
    async def main():
        await produce(kafka_address, name, [b"compressible %d" % i for i in range(20)], compression_type=codec)
        assert (await read(consumer(kafka_address, name), 20))[19].value == b"compressible 19"

    run(main())


def test_a_group_goes_on_where_it_committed(kafka_address, name):
    async def main():
        await produce(kafka_address, name, [b"%d" % i for i in range(10)])
        assert len(await read(consumer(kafka_address, name, group_id=name), 10)) == 10
        await produce(kafka_address, name, [b"after"])
        assert (await read(consumer(kafka_address, name, group_id=name), 1))[0].value == b"after"

    run(main())


def test_members_come_and_go(kafka_address, name):
    async def main():
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka_address)
        await admin.start()
        await admin.create_topics([NewTopic(name, 4, 1)])
        with pytest.raises(TopicAlreadyExistsError):
            answer = await admin.create_topics([NewTopic(name, 4, 1)])
            for _, code, *_ in answer.topic_errors:
                if code == TopicAlreadyExistsError.errno:
                    raise TopicAlreadyExistsError
        await admin.close()
        first = consumer(kafka_address, name, group_id=name)
        second = consumer(kafka_address, name, group_id=name)
        await first.start()
        await second.start()
        while sorted(map(len, (first.assignment(), second.assignment()))) != [2, 2]:
            await asyncio.sleep(0.05)
        await first.stop()
        while len(second.assignment()) != 4:
            await asyncio.sleep(0.05)
        await second.stop()

    run(main())


def test_transactions(kafka_address, name):
    async def main():
        await produce(kafka_address, name, [b"before"])
        async with AIOKafkaProducer(bootstrap_servers=kafka_address, transactional_id=name) as producer:
            with pytest.raises(ZeroDivisionError):
                async with producer.transaction():
                    await producer.send_and_wait(name, b"aborted")
                    raise ZeroDivisionError
            async with producer.transaction():
                await producer.send_and_wait(name, b"committed")
                await producer.send_offsets_to_transaction({TopicPartition(name, 0): 1}, name + "-group")
        records = await read(consumer(kafka_address, name, isolation_level="read_committed"), 2)
        assert [record.value for record in records] == [b"before", b"committed"]
        reader = consumer(kafka_address, group_id=name + "-group")
        async with reader:
            assert await reader.committed(TopicPartition(name, 0)) == 1

    run(main())


def test_seek_and_offsets(kafka_address, name):
    async def main():
        await produce(kafka_address, name, [b"%d" % i for i in range(5)])
        reader = consumer(kafka_address)
        async with reader:
            partition = TopicPartition(name, 0)
            reader.assign([partition])
            assert await reader.beginning_offsets([partition]) == {partition: 0}
            assert await reader.end_offsets([partition]) == {partition: 5}
            reader.seek(partition, 3)
            assert (await asyncio.wait_for(reader.getone(), 20)).value == b"3"

    run(main())
