"""celery with its redis transport, dramatiq, huey and rq: real workers; the same against a real Redis
(WARREN_ORACLE_REDIS).

What of Redis they lean on: BRPOP over several keys, sorted sets and hashes of what nobody has acknowledged, transactions
with WATCH, channels for remote control, expiry, streams of results, and scripts.
"""

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import time

import pytest
import redis
import rq
import rq_tasks
from celery import chord, group
from conftest import wait_for
from rq.registry import FailedJobRegistry, ScheduledJobRegistry
from test_celery import Worker


@pytest.fixture(scope="module")
def client(redis_url):
    client = redis.Redis.from_url(redis_url)
    client.flushdb()
    return client


@pytest.fixture(scope="module")
def celery(client, redis_url, tmp_path_factory):
    worker = Worker(redis_url, tmp_path_factory.mktemp("celery"), COMPAT_BACKEND=redis_url)
    yield worker
    worker.stop()


def test_celery_works_and_its_results_come_back(celery):
    assert celery.send("add", 2, 3).get(timeout=20) == 5
    with pytest.raises(ValueError, match="oh"):
        celery.send("fails", "oh").get(timeout=20)
    assert celery.send("works_at_the_third_attempt").get(timeout=20) == 2


def test_celery_groups_and_chords(celery):
    add, total = celery.task("add"), celery.task("total")
    assert group(add.clone((n, n)) for n in range(10)).apply_async().get(timeout=20) == [2 * n for n in range(10)]
    assert chord([add.clone((n, 1)) for n in range(5)])(total).get(timeout=20) == 15
    # A chord of chords: the inner group's result is kept, and joined.
    inner = group(add.clone((n, n)) for n in range(3))
    assert (chord([add.clone((1, 1)), inner])(celery.task("flat_total"))).get(timeout=20) == 8


def test_a_chord_counts_each_part_once_and_one_worker_goes_on_with_it(client, name):
    scripts = importlib.import_module("celery.backends.redis")
    part, extend = map(client.register_script, [scripts.CHORD_PART_RETURN_LUA, scripts.CHORD_CLAIM_EXTEND_LUA])
    clean_up = client.register_script(scripts.CHORD_CLEANUP_LUA)
    results, grown, size, done, result, claim = [f"{name}.{key}" for key in "jtsdgc"]
    keys = [results, grown, size, done, result, claim]

    def done_by(worker, task, place):
        return part(keys=keys, args=[task, f"result of {task}", 1, place, 100, 50, 10, worker])

    client.mset({size: 2, grown: 1})
    assert done_by("w1", "a", 0) == [1, b"1", b"2", 0]
    assert done_by("w1", "a", 0) == [1, b"1", b"2", 0], "it is counted once"
    assert done_by("w1", "a", 2) == [1, b"1", b"2", 0], "one result, though at another place"
    assert done_by("w1", "b", 1) == [2, b"1", b"2", 0]
    assert done_by("w2", "c", "+inf") == [3, b"1", b"2", 1]
    assert done_by("w3", "c", "+inf") == [3, b"1", b"2", 0], "somebody goes on with it already"
    assert client.zrange(results, 0, -1) == [b"result of b", b"result of a", b"result of c"]
    assert 90 < client.ttl(results) <= 100 and client.ttl(claim) <= 10 and client.ttl(result) == -2
    assert extend(keys=[claim, size], args=["w1", 60]) == 0
    assert extend(keys=[claim, size], args=["w2", 60]) == 1 and client.ttl(claim) > 50
    client.delete(claim)
    assert extend(keys=[claim, size], args=["w1", 60]) == 1, "nobody had it any more"
    assert clean_up(keys=[claim, results, grown, size, done], args=["w2", 300]) == 0
    assert clean_up(keys=[claim, results, grown, size, done], args=["w1", 300]) == 1
    assert client.get(claim) == b"done" and client.exists(*keys) == 1
    assert done_by("w1", "d", 3) == [-1, 0, 0, 0]


def test_celery_holds_tasks_for_later(celery):
    started = time.monotonic()
    assert celery.send("add", 1, 1, countdown=1).get(timeout=20) == 2
    assert time.monotonic() - started >= 0.9


def test_celery_is_controlled_over_channels(celery):
    replies = wait_for(lambda: celery.app.control.ping(timeout=1))
    assert replies[0][f"{celery.name}@here"] == {"ok": "pong"}
    assert f"{celery.name}@here" in celery.app.control.inspect(timeout=2).registered()


def test_celery_does_again_what_a_killed_worker_had(client, redis_url, tmp_path):
    worker = Worker(redis_url, tmp_path, COMPAT_BACKEND=redis_url, COMPAT_ACKS_LATE="1", concurrency=1)
    try:
        marks = tmp_path / "marks"
        result = worker.send("note", str(marks), "task", 3)
        wait_for(marks.exists, seconds=20)
        worker.kill()
        # What it had is in the hash of the unacknowledged, until somebody's visibility timeout or a restore.
        assert client.hlen("unacked") == 1
        with worker.app.connection_for_write() as connection:
            for tag in client.zrange("unacked_index", 0, -1):
                connection.default_channel.qos.restore_by_tag(tag.decode())
        worker.start()
        assert result.get(timeout=30) == "task"
        assert len(marks.read_text().splitlines()) == 2
    finally:
        worker.stop()


@pytest.fixture
def queue(client, name):
    return rq.Queue(name, connection=client)


def work(queue, redis_url, *options):
    """A burst of rq's own worker, in a process of its own."""
    command = [sys.executable, "-m", "rq.cli", "worker", "--burst", "--url", redis_url, *options, queue.name]
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(__file__)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_rq_works_and_its_results_come_back(queue, redis_url):
    job = queue.enqueue(rq_tasks.add, 2, 3)
    second = queue.enqueue(rq_tasks.add, 4, 5, depends_on=job)
    assert queue.job_ids == [job.id] and job.get_status() == "queued"
    work(queue, redis_url)
    assert job.is_finished and job.return_value() == 5 and job.latest_result().return_value == 5
    assert second.refresh() is None and second.return_value() == 9
    assert queue.count == 0


def test_rq_keeps_what_failed(queue, redis_url):
    job = queue.enqueue(rq_tasks.fails, "oh", retry=rq.Retry(max=1))
    work(queue, redis_url)
    assert job.get_status() == "failed" and "ValueError: oh" in job.latest_result().exc_string
    failed = FailedJobRegistry(queue=queue)
    assert failed.get_job_ids() == [job.id]
    failed.requeue(job)
    assert queue.job_ids == [job.id] and queue.empty() == 1 and not client_has(queue, job)


def client_has(queue, job):
    return queue.connection.exists(job.key)


def test_rq_schedules_and_refuses_duplicates(queue, redis_url):
    from datetime import timedelta

    later = queue.enqueue_in(timedelta(hours=1), rq_tasks.add, 1, 1)
    assert ScheduledJobRegistry(queue=queue).get_job_ids() == [later.id]
    first = queue.enqueue(rq_tasks.add, 1, 1, job_id="only-one", unique=True)
    with pytest.raises(rq.exceptions.DuplicateJobError):
        queue.enqueue(rq_tasks.add, 1, 1, job_id="only-one", unique=True)
    work(queue, redis_url, "--with-scheduler")
    assert first.return_value() == 2


@contextlib.contextmanager
def at_work(redis_url, name, log, *command):
    """A process that works for as long as the test looks."""
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(__file__), "COMPAT_REDIS": redis_url, "COMPAT_NAME": name}
    with open(log, "w") as output:
        process = subprocess.Popen(
            [sys.executable, *command],
            env=environment,
            cwd=log.parent,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def named(monkeypatch, redis_url, name):
    """Tasks under the test's own name: imported by it as by its workers."""
    monkeypatch.setenv("COMPAT_REDIS", redis_url)
    monkeypatch.setenv("COMPAT_NAME", name)

    def load(module):
        sys.modules.pop(module, None)
        return importlib.import_module(module)

    return load


def test_dramatiq_works_and_does_again_what_failed(client, redis_url, named, name, tmp_path):
    tasks = named("dramatiq_tasks")
    sums = [tasks.add.send(n, n) for n in range(10)]
    later = tasks.add.send_with_options(args=(1, 1), delay=500)
    again, lost = tasks.works_at_the_second_attempt.send(), tasks.fails.send()
    command = ["-m", "dramatiq", "dramatiq_tasks", "--processes", "1", "--threads", "2"]
    with at_work(redis_url, name, tmp_path / "log", *command):
        assert [sum.get_result(block=True, timeout=20_000) for sum in sums] == [2 * n for n in range(10)]
        assert later.get_result(block=True, timeout=20_000) == 2
        assert again.get_result(block=True, timeout=20_000) == 1
        tasks.broker.join("default", timeout=20_000)
        dead = wait_for(lambda: client.zrange(f"{name}:default.XQ", 0, -1), seconds=20)
    assert dead == [lost.options["redis_message_id"].encode()] and client.hlen(f"{name}:default.msgs") == 0


def test_dramatiq_does_again_what_a_killed_worker_had(client, named, name):
    tasks = named("dramatiq_tasks")
    broker = tasks.broker
    message = tasks.add.send(2, 3)
    taken = broker.do_fetch("default", 5)
    assert len(taken) == 1 and broker.do_fetch("default", 5) == []
    # Another one, which has not heard of the first for a minute.
    other = type(broker)(client=client, namespace=name, heartbeat_timeout=0, maintenance_chance=1_000_000)
    assert other.do_qsize("default") == 1
    wait_for(lambda: other.do_fetch("default", 5) == taken)
    other.do_ack("default", message.options["redis_message_id"])
    assert client.keys(f"{name}:*") == [f"{name}:__heartbeats__".encode()]


def test_huey_works_on_time(client, redis_url, named, name, tmp_path):
    tasks = named("huey_tasks")
    sums = [tasks.add(n, n) for n in range(10)]
    later = tasks.add.schedule((1, 1), delay=1)
    again = tasks.works_at_the_second_attempt(str(tmp_path / "marks"))
    command = ["-m", "huey.bin.huey_consumer", "huey_tasks.huey", "-w", "2", "-d", "0.1"]
    with at_work(redis_url, name, tmp_path / "log", *command):
        assert [sum(blocking=True, timeout=20) for sum in sums] == [2 * n for n in range(10)]
        assert later(blocking=True, timeout=20) == 2
        assert again(blocking=True, timeout=20) == "done"
    assert tasks.huey.pending_count() == 0 and tasks.huey.scheduled_count() == 0


def test_huey_takes_what_is_urgent_first(redis_url, named, name, tmp_path):
    tasks = named("huey_tasks")
    marks = str(tmp_path / "marks")
    for priority in (1, 3, 2):
        tasks.note(marks, str(priority), priority=priority)
    command = ["-m", "huey.bin.huey_consumer", "huey_tasks.urgent", "-w", "1", "-d", "0.1"]
    with at_work(redis_url, name, tmp_path / "log", *command):
        wait_for(lambda: os.path.exists(marks) and open(marks).read() == "321", seconds=20)
        # Now it waits (BZPOPMIN).
        tasks.note(marks, "!", priority=1)
        wait_for(lambda: open(marks).read() == "321!", seconds=20)


def test_huey_s_semaphore_has_so_many_places(client, named, name):
    semaphore = named("huey_tasks").semaphore
    assert (semaphore.acquire("a"), semaphore.acquire("b"), semaphore.acquire("c")) == ("a", "b", None)
    assert semaphore.acquire("a") == "a" and semaphore.renew("b") and not semaphore.renew("c")
    client.zadd(semaphore.key, {"a": 1})
    # It was not seen for a long time.
    assert semaphore.acquire("c") == "c" and not semaphore.renew("a")
    assert (semaphore.release("c"), semaphore.release("c")) == (1, 0)


def test_locks_are_taken_kept_and_let_go(client, name):
    lock = client.lock(name, timeout=100)
    assert lock.acquire(blocking=False) and not client.lock(name).acquire(blocking=False)
    assert lock.extend(50) and 140 < client.ttl(name) <= 150
    assert lock.extend(20, replace_ttl=True) and client.ttl(name) <= 20
    assert lock.reacquire() and client.ttl(name) > 90
    lock.release()
    assert not client.exists(name)
    lock.acquire()
    client.set(name, "somebody else")
    with pytest.raises(redis.exceptions.LockNotOwnedError):
        lock.release()
