"""A stream job over two topics, exactly once through kills; and errors of `warren sql run`."""

import contextlib
import datetime
import itertools
import json
import os
import pathlib
import random
import subprocess
import threading
import time

import pika
import pytest

from broker import Broker
from conftest import informed

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaTimeoutError

pytestmark = pytest.mark.warren

PROCESSED = pathlib.Path(__file__).parent / "processed.sql"


def outputs(address, number, seconds=40, topic="output_topic"):
    """Everything in the topic, once `number` records are there and no more come."""
    consumer = KafkaConsumer(
        topic, bootstrap_servers=address, auto_offset_reset="earliest", group_id="check", enable_auto_commit=False
    )
    informed(consumer, topic)
    got, deadline, quiet = [], time.monotonic() + seconds, 0
    while len(got) < number or quiet < 3:
        records = [record for batch in consumer.poll(timeout_ms=200).values() for record in batch]
        got.extend(records)
        quiet = 0 if records else quiet + 1
        assert time.monotonic() < deadline, f"{len(got)} of {number} records came"
    consumer.close()
    return got


def test_each_record_is_processed(warren):
    said = warren.sql(PROCESSED)
    assert said.strip(), "it prints the jobs"
    producer = KafkaProducer(bootstrap_servers=warren.kafka, acks="all")
    for i in range(100):
        producer.send("input_topic", str(i).encode())
    producer.flush()
    producer.close()
    got = [record.value for record in outputs(warren.kafka, 100)]
    assert got == [f"processed_{i}".encode() for i in range(100)]


def test_exactly_once_through_kills_in_the_middle(warren):
    """Every acknowledged input comes out exactly once, in order; no other more than once."""
    warren.sql(PROCESSED)
    seed = int(os.environ.get("WARREN_SEED", time.time_ns() % 1_000_000))
    print(f"WARREN_SEED={seed}")
    moments = random.Random(seed)
    acknowledged, number = set(), 0
    for _ in range(3):
        # No retries: what was under way at the kill may be in or not, but never twice.
        producer = KafkaProducer(bootstrap_servers=warren.kafka, acks="all", retries=0, linger_ms=1)
        killer = threading.Timer(0.3 + moments.random() * 0.7, warren.kill)
        killer.start()
        while killer.is_alive():
            pending = []
            for _ in range(50):
                pending.append((number, producer.send("input_topic", str(number).encode())))
                number += 1
            patience = 3
            for sent, future in pending:
                try:
                    future.get(timeout=patience)
                    acknowledged.add(sent)
                except Exception:
                    # Killed under way: unknown, and the rest with it.
                    patience = 0.01
        killer.join()
        with contextlib.suppress(KafkaTimeoutError):
            # The broker is dead: what is still in the producer's buffer cannot leave.
            producer.close(timeout=0)
        warren.start()
    assert acknowledged
    producer = KafkaProducer(bootstrap_servers=warren.kafka, acks="all")
    producer.send("input_topic", b"the end").get(timeout=20)
    producer.close()
    inputs = KafkaConsumer(
        "input_topic", bootstrap_servers=warren.kafka, auto_offset_reset="earliest", consumer_timeout_ms=3000
    )
    stored = [record.value.decode() for record in inputs]
    inputs.close()
    assert {str(i) for i in acknowledged} <= set(stored), "an acknowledged input was lost"
    got = [record.value.decode() for record in outputs(warren.kafka, len(stored))]
    assert got == ["processed_" + value for value in stored]


def test_a_job_that_cannot_run_says_where(warren, tmp_path):
    broken = tmp_path / "broken.sql"
    broken.write_text("CREATE TABLE t (v STRING) WITH ('connector'='print');\nINSERT INTO t SELEC 1;\n")
    command = [os.environ["WARREN_BIN"], "sql", "run", str(broken), "--url", f"http://{warren.doors['admin']}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode != 0
    assert "2:" in done.stdout + done.stderr, "line and column"


WINDOWED = pathlib.Path(__file__).parent / "windowed.sql"


def windows_of(rows):
    """What the windowed job makes of its input: a small model of Flink's event time."""
    open_windows, watermark, made = {}, None, []
    for row in rows:
        end = row["at"] // 10_000 * 10_000 + 10_000
        if watermark is None or end - 1 > watermark:
            open_windows.setdefault(end, {}).setdefault(row["k"], []).append(row["v"])
        watermark = max(watermark if watermark is not None else row["at"] - 1000, row["at"] - 1000)
        for end in sorted(e for e in open_windows if e - 1 <= watermark):
            for key, values in sorted(open_windows.pop(end).items()):
                until = datetime.datetime.fromtimestamp(end / 1000, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")
                made.append(
                    {"k": key, "until": until, "n": len(values), "total": sum(values), "kinds": len(set(values))}
                )
    return made


@pytest.mark.parametrize("shards", [1, 2])
def test_windows_are_exactly_once_through_kills(warren, tmp_path, shards):
    """State, timers and watermarks come back with the offsets: windows close once, with all their rows."""
    job = tmp_path / "job.sql"
    job.write_text(f"SET 'parallelism.default' = '{shards}';\n" + WINDOWED.read_text())
    warren.sql(job)
    seed = int(os.environ.get("WARREN_SEED", time.time_ns() % 1_000_000))
    print(f"WARREN_SEED={seed}")
    chance = random.Random(seed)
    now = 1_000_000_000
    for _ in range(4):
        producer = KafkaProducer(bootstrap_servers=warren.kafka, acks="all", retries=0, linger_ms=1)
        killer = threading.Timer(0.3 + chance.random() * 0.5, warren.kill)
        killer.start()
        while killer.is_alive():
            pending = []
            for _ in range(40):
                now += chance.randrange(0, 900)
                at = now - chance.choice([0, 0, 0, 500, 2_000, 15_000])
                row = {"k": chance.choice("abc"), "v": chance.randrange(5), "at": at}
                pending.append(producer.send("clicks", json.dumps(row).encode()))
            with contextlib.suppress(Exception):
                for future in pending:
                    future.get(timeout=3)
        killer.join()
        with contextlib.suppress(KafkaTimeoutError):
            producer.close(timeout=0)
        warren.start()
    producer = KafkaProducer(bootstrap_servers=warren.kafka, acks="all")
    last = {"k": "end", "v": 0, "at": now + 1_000_000}
    producer.send("clicks", json.dumps(last).encode()).get(timeout=20)
    producer.close()
    inputs = KafkaConsumer(
        "clicks", bootstrap_servers=warren.kafka, auto_offset_reset="earliest", consumer_timeout_ms=3000
    )
    expected = windows_of([json.loads(record.value) for record in inputs])
    inputs.close()
    assert len(expected) > 10
    got = [json.loads(record.value) for record in outputs(warren.kafka, len(expected), topic="sums")]
    if shards > 1:
        # What one watermark closes, which may be several windows, comes shard by shard; rows of a key come in their order.
        got.sort(key=lambda row: row["k"])
        expected.sort(key=lambda row: row["k"])
    assert got == expected


def test_a_job_goes_on_with_another_number_of_shards(warren, tmp_path):
    """Windows that are open, with their timers, belong to the shard that has their key now."""
    job = tmp_path / "job.sql"
    producer = KafkaProducer(bootstrap_servers=warren.kafka, acks="all")
    keys = "abcdefgh"

    def send(at):
        for key in keys:
            producer.send("clicks", json.dumps({"k": key, "v": 1, "at": at}).encode())
        producer.flush()

    for number, shards in enumerate([1, 3, 2]):
        job.write_text(f"SET 'parallelism.default' = '{shards}';\n" + WINDOWED.read_text())
        command = [os.environ["WARREN_BIN"], "sql", "run", "--replace", str(job)]
        command += ["--url", f"http://{warren.doors['admin']}"]
        subprocess.run(command, check=True, timeout=30, stdout=subprocess.DEVNULL)
        send(1_000 * number)
    send(20_000)
    producer.close()
    got = [json.loads(record.value) for record in outputs(warren.kafka, len(keys), topic="sums")]
    assert sorted((row["k"], row["n"]) for row in got) == [(key, 3) for key in keys]


def test_a_job_pauses_goes_on_and_begins_again(warren):
    warren.sql(WINDOWED)
    command = [os.environ["WARREN_BIN"], "sql"]
    url = ["--url", f"http://{warren.doors['admin']}"]

    def sql(*words):
        done = subprocess.run([*command, *words, *url], capture_output=True, text=True, timeout=30, check=True)
        return done.stdout

    producer = KafkaProducer(bootstrap_servers=warren.kafka, acks="all")

    def send(at):
        producer.send("clicks", json.dumps({"k": "a", "v": 1, "at": at}).encode()).get(timeout=20)

    send(5_000)
    send(20_000)
    assert len(outputs(warren.kafka, 1, topic="sums")) == 1
    assert "paused" in sql("pause", "windowed")
    send(40_000)
    assert len(outputs(warren.kafka, 1, topic="sums")) == 1, "a paused job writes nothing"
    assert "running" in sql("resume", "windowed")
    assert len(outputs(warren.kafka, 2, topic="sums")) == 2
    assert "running" in sql("reset", "windowed", "--to", "earliest")
    assert len(outputs(warren.kafka, 4, topic="sums")) == 4, "the same windows again"
    assert "TUMBLE" in sql("export", "windowed")
    producer.close()


def test_with_sync_an_answer_comes_after_the_outputs(warren, tmp_path):
    """A test publishes and looks at the output at once: no sleeps, no polling."""
    synced = tmp_path / "synced.sql"
    synced.write_text(PROCESSED.read_text().replace("INSERT", "-- @warren sync=true\nINSERT"))
    warren.sql(synced)
    output = TopicPartition("output_topic", 0)
    reader = KafkaConsumer(bootstrap_servers=warren.kafka)

    def written():
        return reader.end_offsets([output])[output]

    producer = KafkaProducer(bootstrap_servers=warren.kafka, acks="all", linger_ms=0)
    for i in range(30):
        producer.send("input_topic", str(i).encode()).get(timeout=20)
        assert written() == i + 1
    producer.close()
    connection = pika.BlockingConnection(pika.URLParameters(f"amqp://guest:guest@{warren.doors['amqp']}/"))
    channel = connection.channel()
    channel.confirm_delivery()
    channel.queue_declare("input_topic", durable=True, arguments={"x-queue-type": "stream"})
    for i in range(30, 60):
        channel.basic_publish("", "input_topic", str(i).encode())
        assert written() == i + 1
    connection.close()
    reader.close()


def test_with_sync_the_end_of_a_transaction_comes_after_the_outputs(warren, tmp_path):
    synced = tmp_path / "synced.sql"
    synced.write_text(PROCESSED.read_text().replace("INSERT", "-- @warren sync=true\nINSERT"))
    warren.sql(synced)
    producer = KafkaProducer(bootstrap_servers=warren.kafka, transactional_id="sync", linger_ms=0)
    producer.init_transactions()
    reader, output = KafkaConsumer(bootstrap_servers=warren.kafka), TopicPartition("output_topic", 0)
    expected = []
    for round_ in range(5):
        commits = round_ % 2 == 0
        producer.begin_transaction()
        for i in range(3):
            producer.send("input_topic", f"{round_}.{i}".encode())
        if commits:
            producer.commit_transaction()
            expected += [f"processed_{round_}.{i}".encode() for i in range(3)]
        else:
            producer.abort_transaction()
        assert reader.end_offsets([output])[output] == len(expected), "there as soon as the answer was"
    producer.close()
    reader.close()
    assert [record.value for record in outputs(warren.kafka, len(expected))] == expected


def chained(*topics):
    """A job with sync=true from each topic to the next."""
    text = PROCESSED.read_text()
    for source, target in itertools.pairwise(topics):
        one = text.replace("INSERT", f"SET 'pipeline.name' = '{source}-{target}';\n-- @warren sync=true\nINSERT")
        # By their places in the text: the names would be replaced twice.
        one = one.replace("input_topic", "@source").replace("output_topic", "@target")
        yield one.replace("@source", source).replace("@target", target)


def test_with_sync_an_answer_waits_for_a_chain_of_jobs(warren, tmp_path):
    for number, text in enumerate(chained("first", "middle", "third", "fourth")):
        file = tmp_path / f"{number}.sql"
        file.write_text(text)
        warren.sql(file)
    reader = KafkaConsumer(bootstrap_servers=warren.kafka)
    last = TopicPartition("fourth", 0)
    producer = KafkaProducer(bootstrap_servers=warren.kafka, acks="all", linger_ms=0)
    for i in range(20):
        producer.send("first", str(i).encode()).get(timeout=20)
        assert reader.end_offsets([last])[last] == i + 1
    assert outputs(warren.kafka, 20, topic="fourth")[0].value == b"processed_processed_processed_0"
    producer.close()
    reader.close()
    # The chain may not be closed to a ring.
    (ring,) = chained("fourth", "first")
    file = tmp_path / "ring.sql"
    file.write_text(ring)
    command = [os.environ["WARREN_BIN"], "sql", "run", str(file), "--url", f"http://{warren.doors['admin']}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and "would wait for what jobs write to it themselves" in done.stderr


def test_an_edited_job_keeps_the_state_of_what_did_not_change(warren, tmp_path):
    text = """
        CREATE TABLE clicks (k STRING, v INT) WITH ('connector'='kafka', 'topic'='clicks',
          'properties.bootstrap.servers'='localhost:9092', 'format'='json', 'scan.startup.mode'='earliest-offset');
        CREATE TABLE counts (k STRING, n BIGINT, what STRING, PRIMARY KEY (k) NOT ENFORCED) WITH (
          'connector'='upsert-kafka', 'topic'='counts', 'properties.bootstrap.servers'='localhost:9092',
          'key.format'='raw', 'value.format'='json');
        SET 'pipeline.name' = 'counting';
        -- @warren sync=true
        INSERT INTO counts SELECT k, n, 'WHAT' FROM (SELECT k, COUNT(*) AS n FROM clicks GROUP BY k);
    """
    file = tmp_path / "counting.sql"
    producer = KafkaProducer(bootstrap_servers=warren.kafka, acks="all", linger_ms=0)
    url = ["--url", f"http://{warren.doors['admin']}"]
    for number, word in enumerate(["before", "after", "after the kill"]):
        file.write_text(text.replace("WHAT", word))
        if word == "after the kill":
            warren.restart()
        command = [os.environ["WARREN_BIN"], "sql", "run", str(file), *(["--replace"] if number else []), *url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        for _ in range(3):
            producer.send("clicks", b'{"k": "a", "v": 1}').get(timeout=20)
    producer.close()
    rows = [json.loads(record.value) for record in outputs(warren.kafka, 9, topic="counts")]
    assert [row["n"] for row in rows] == list(range(1, 10)), "the count goes on"
    assert [row["what"] for row in rows] == ["before"] * 3 + ["after"] * 3 + ["after the kill"] * 3


COPIED = """
    CREATE TABLE lines (n BIGINT, t STRING) WITH ('connector'='filesystem', 'path'='in', 'format'='csv');
    CREATE TABLE copied (n BIGINT, t STRING) WITH ('connector'='filesystem', 'path'='out', 'format'='json',
      'sink.rolling-policy.file-size'='64 kb');
    INSERT INTO copied SELECT n + 1, UPPER(t) FROM lines;
"""


def test_files_are_copied_once_through_kills(tmp_path):
    files = tmp_path / "files"
    (files / "in").mkdir(parents=True)
    number = 30_000
    for part in range(3):
        rows = range(part * number // 3, (part + 1) * number // 3)
        (files / "in" / f"{part}.csv").write_text("".join(f'{n},"text, {n}"\n' for n in rows))
    file = tmp_path / "copied.sql"
    file.write_text(COPIED)
    broker = Broker(tmp_path, "--set", f"streams.files_dir={files}")
    try:
        broker.sql(file)
        moments = random.Random(7)
        deadline = time.monotonic() + 120
        listed = [os.environ["WARREN_BIN"], "sql", "list"]
        while True:
            url = ["--url", f"http://{broker.doors['admin']}"]
            if "finished" in subprocess.run([*listed, *url], capture_output=True, text=True, timeout=30).stdout:
                break
            assert time.monotonic() < deadline, list(files.rglob("*"))
            # A moment of its own each time: what is killed is a different step.
            time.sleep(moments.random() / 4)
            broker.restart()
        assert not list((files / "out").glob(".*")), "nothing is left hidden"
        parts = sorted((files / "out").glob("part-*"), key=lambda path: int(path.name.rsplit("-", 1)[1]))
        rows = [json.loads(line) for part in parts for line in part.read_text().splitlines()]
        assert rows == [{"n": n + 1, "t": f"TEXT, {n}"} for n in range(number)]
        assert len(parts) > 3
    finally:
        broker.kill()


def test_without_a_folder_jobs_have_no_files(warren, tmp_path):
    file = tmp_path / "copied.sql"
    file.write_text(COPIED)
    command = [os.environ["WARREN_BIN"], "sql", "run", str(file), "--url", f"http://{warren.doors['admin']}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and "streams.files_dir is not set" in done.stderr


def test_jobs_with_sync_cannot_wait_for_themselves(warren, tmp_path):
    loop = tmp_path / "loop.sql"
    text = PROCESSED.read_text().replace("INSERT", "-- @warren sync=true\nINSERT")
    loop.write_text(text.replace("'output_topic'", "'input_topic'"))
    command = [os.environ["WARREN_BIN"], "sql", "run", str(loop), "--url", f"http://{warren.doors['admin']}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and "input_topic" in done.stderr
