"""celery with its redis transport and rq: real workers; the same against a real Redis (WARREN_ORACLE_REDIS).

What of Redis they lean on: BRPOP over several keys, sorted sets and hashes of what nobody has acknowledged, transactions
with WATCH, channels for remote control, expiry, streams of results, locks by scripts.
"""

import os
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
