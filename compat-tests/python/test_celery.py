"""celery with its pyamqp transport: real worker processes, killed where a test says so.

What of AMQP this leans on: replies over exclusive queues, global prefetch raised while tasks are held for later,
fanout and reply exchanges for remote control, topic exchanges for events, priorities, dead letters, redelivery.
"""

import os
import signal
import subprocess
import sys
import time
import uuid

import celery_app
import pytest
from celery import Celery, chain, chord, group
from celery.exceptions import TaskRevokedError
from conftest import wait_for
from kombu import Exchange, Queue


class Worker:
    """`celery worker` in a process group of its own, and an application that talks to it."""

    def __init__(self, url, directory, name=None, pool="threads", concurrency=2, start=True, **environment):
        self.name = name or f"celery-{uuid.uuid4().hex[:8]}"
        self.url, self.directory, self.pool, self.concurrency = url, directory, pool, concurrency
        self.environment = {"COMPAT_NAME": self.name, "AMQP_URL": url, "COMPAT_BACKEND": "rpc://", **environment}
        self.app = Celery("celery_app", broker=url, backend=self.environment["COMPAT_BACKEND"])
        self.app.conf.update(celery_app.app.conf.changes)
        self.app.conf.update(
            broker_url=url,
            result_backend=self.environment["COMPAT_BACKEND"],
            task_queues=celery_app.queues(self.name),
            task_default_queue=self.name,
            task_default_exchange=self.name,
            task_default_routing_key=self.name,
        )
        self.process = None
        if start:
            self.start()

    def start(self, queue=None):
        command = [sys.executable, "-W", "ignore", "-m", "celery", "-A", "celery_app", "worker", "-E"]
        command += ["--pool", self.pool, "--concurrency", str(self.concurrency), "--loglevel", "INFO"]
        # Workers that look for each other wait for seconds at the start.
        command += ["--without-gossip", "--without-mingle", "-n", f"{self.name}@here", "-Q", queue or self.name]
        self.log = open(self.directory / f"{self.name}.log", "a")
        self.process = subprocess.Popen(
            command,
            env={**os.environ, **self.environment},
            cwd=os.path.dirname(__file__),
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )
        before = self.said().count("ready.")

        def ready():
            assert self.process.poll() is None, self.said()
            return self.said().count("ready.") > before or "ready." in self.said().rsplit("[tasks]", 1)[-1]

        wait_for(ready, seconds=40)

    def said(self):
        return (self.directory / f"{self.name}.log").read_text()

    def kill(self):
        """kill -9, its children included."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()

    def task(self, name):
        return self.app.signature(f"celery_app.{name}")

    def send(self, name, *arguments, **options):
        return self.app.send_task(f"celery_app.{name}", arguments, **options)

    def count(self, queue):
        with self.app.connection_for_read() as connection:
            return connection.default_channel.queue_declare(queue, passive=True).message_count

    def global_prefetch(self):
        """Whether celery raises the channel's prefetch for held tasks: from RabbitMQ 4.0 on, kombu takes it for removed."""
        with self.app.connection_for_read() as connection:
            connection.connect()
            return not connection.qos_semantics_matches_spec

    def tidy_up(self):
        with self.app.connection_for_write() as connection:
            for queue in celery_app.queues(self.name):
                connection.default_channel.queue_delete(queue.name)
            connection.default_channel.exchange_delete(self.name)


@pytest.fixture(scope="module")
def worker(amqp_url, tmp_path_factory):
    worker = Worker(amqp_url, tmp_path_factory.mktemp("celery"))
    yield worker
    worker.stop()
    worker.tidy_up()


@pytest.fixture
def own(amqp_url, tmp_path):
    """Workers of the test's own, to be killed and started by it."""
    started = []

    def make(**options):
        started.append(Worker(amqp_url, tmp_path, **options))
        return started[-1]

    yield make
    for one in started:
        one.stop()
        one.tidy_up()


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


def test_a_result_comes_back_over_rpc(worker):
    assert worker.send("add", 2, 3).get(timeout=20) == 5


def test_two_hundred_results_each_to_its_asker(worker):
    results = [worker.send("add", i, i) for i in range(200)]
    assert [result.get(timeout=30) for result in results] == [2 * i for i in range(200)]


def test_an_exception_comes_back_with_its_type_and_text(worker):
    with pytest.raises(ValueError, match="no good"):
        worker.send("fails", "no good").get(timeout=20)


def test_a_task_is_retried_until_it_works(worker):
    assert worker.send("works_at_the_third_attempt").get(timeout=20) == 2


def test_a_countdown_is_kept_and_does_not_stand_in_the_way(worker, tmp_path):
    """Held tasks are unacknowledged; where celery may, it raises the channel's prefetch for each, so that others come."""
    path = tmp_path / "notes"
    began = time.time()
    held = [worker.send("note", str(path), f"held {i}", countdown=3) for i in range(8)]
    if worker.global_prefetch():
        assert worker.send("add", 1, 1).get(timeout=2.9) == 2, "eight held tasks fill a prefetch of two"
        assert lines(path) == []
        assert worker.count(worker.name) == 0
    else:
        wait_for(lambda: worker.count(worker.name) == 6)
    assert [result.get(timeout=20) for result in held] == [f"held {i}" for i in range(8)]
    assert all(float(line.split()[-1]) - began >= 2.9 for line in lines(path))


def test_groups_and_chains(worker):
    add = worker.task("add")
    assert group(add.clone((i, i)) for i in range(20)).apply_async().get(timeout=20) == [2 * i for i in range(20)]
    assert chain(add.clone((1, 2)), add.clone((3,)), add.clone((4,))).apply_async().get(timeout=20) == 10


def test_chords(own, tmp_path):
    """The rpc backend has none; with a backend of files the worker asks itself by a task that retries."""
    (tmp_path / "results").mkdir()
    worker = own(COMPAT_BACKEND=f"file://{tmp_path / 'results'}")
    add = worker.task("add")
    header = [add.clone((i, i)) for i in range(10)]
    assert chord(header, worker.task("total")).apply_async().get(timeout=40) == 90


def test_a_revoked_task_does_not_run(worker, tmp_path):
    path = tmp_path / "notes"
    result = worker.send("note", str(path), "revoked", countdown=1)
    worker.app.control.revoke(result.id, destination=[f"{worker.name}@here"], reply=True, timeout=5)
    with pytest.raises(TaskRevokedError):
        result.get(timeout=20)
    assert lines(path) == []


def test_remote_control_asks_and_is_answered(worker):
    node = f"{worker.name}@here"
    inspect = worker.app.control.inspect([node], timeout=5)
    assert inspect.ping() == {node: {"ok": "pong"}}
    assert [queue["name"] for queue in inspect.active_queues()[node]] == [worker.name]
    assert "celery_app.add" in inspect.registered()[node]


def test_consumers_are_added_and_cancelled_by_remote_control(worker, tmp_path):
    node, path, extra = f"{worker.name}@here", tmp_path / "notes", f"{worker.name}-urgent"
    worker.app.control.add_consumer(extra, destination=[node], reply=True, timeout=5)
    assert worker.send("note", str(path), "extra", queue=extra).get(timeout=20) == "extra"
    worker.app.control.cancel_consumer(extra, destination=[node], reply=True, timeout=5)

    def active():
        return [queue["name"] for queue in worker.app.control.inspect([node], timeout=5).active_queues()[node]]

    # The worker answers first, and cancels in its next turn.
    wait_for(lambda: active() == [worker.name])


def test_events_are_seen_by_who_captures_them(worker):
    seen = []
    with worker.app.connection_for_read() as connection:
        receiver = worker.app.events.Receiver(connection, handlers={"*": seen.append})
        with receiver.consumer_context() as (events, _, _):
            result = worker.send("add", 20, 22)

            def succeeded():
                try:
                    events.drain_events(timeout=0.1)
                except OSError:
                    pass
                return [event for event in seen if event["type"] == "task-succeeded" and event["uuid"] == result.id]

            assert wait_for(succeeded, seconds=20)[0]["result"] == "42"


def test_what_is_not_wanted_any_more_expires(own, tmp_path):
    path = tmp_path / "notes"
    worker = own(start=False)
    with worker.app.connection_for_write() as connection:
        for queue in celery_app.queues(worker.name):
            queue.bind(connection).declare()
    late = worker.send("note", str(path), "late", expires=0.5)
    fresh = worker.send("note", str(path), "fresh")
    time.sleep(0.6)
    worker.start()
    assert fresh.get(timeout=20) == "fresh"
    assert [line.split()[0] for line in lines(path)] == ["fresh"]
    assert late.id


def test_priorities_decide_the_order(own, tmp_path):
    path = tmp_path / "notes"
    worker = own(start=False, concurrency=1)
    with worker.app.connection_for_write() as connection:
        for queue in celery_app.queues(worker.name):
            queue.bind(connection).declare()
    urgent = f"{worker.name}-urgent"
    for priority in [1, 5, 9, 3, 7, 0, 5]:
        worker.send("note", str(path), str(priority), queue=urgent, priority=priority)
    wait_for(lambda: worker.count(urgent) == 7)
    worker.start(queue=urgent)
    wait_for(lambda: len(lines(path)) == 7, seconds=30)
    assert [line.split()[0] for line in lines(path)] == ["9", "7", "5", "5", "3", "1", "0"]


def test_a_task_of_a_killed_worker_runs_again(own, tmp_path):
    path = tmp_path / "notes"
    worker = own(pool="prefork", concurrency=1, COMPAT_ACKS_LATE="1")
    worker.send("note", str(path), "slow", 30)
    wait_for(lambda: lines(path), seconds=20)
    worker.kill()
    # The broker notices the closed socket by itself, and has the message again.
    wait_for(lambda: worker.count(worker.name) == 1)
    worker.start()
    wait_for(lambda: len(lines(path)) == 2, seconds=20)
    assert [" ".join(line.split()[:2]) for line in lines(path)] == ["slow first", "slow again"]
    worker.kill()


def test_a_rejected_task_is_dead_lettered(own):
    worker = own(start=False)
    worker.start(queue=f"{worker.name}-strict")
    with worker.app.connection_for_write() as connection:
        for queue in celery_app.queues(worker.name):
            queue.bind(connection).declare()
    result = worker.send("refuses", queue=f"{worker.name}-strict")
    dead = f"{worker.name}-dead"
    wait_for(lambda: worker.count(dead) == 1, seconds=20)
    with worker.app.connection_for_read() as connection:
        message = connection.default_channel.basic_get(dead, no_ack=True)
    (death,) = message.properties["application_headers"]["x-death"]
    assert (death["queue"], death["reason"], death["count"]) == (f"{worker.name}-strict", "rejected", 1)
    assert message.properties["correlation_id"] == result.id


def test_quorum_queues_delay_by_dead_letters(own, tmp_path):
    """With quorum queues there is no global prefetch: celery makes 28 queues with TTLs that dead-letter into each other."""
    path = tmp_path / "notes"
    worker = own(start=False, COMPAT_QUORUM="1")
    for key, value in {
        "task_default_exchange_type": "topic",
        "task_default_queue_type": "quorum",
        "worker_detect_quorum_queues": True,
    }.items():
        worker.app.conf[key] = value
    quorum = Queue(
        worker.name, Exchange(worker.name, type="topic"), routing_key=worker.name, queue_arguments={"x-queue-type": "quorum"}
    )
    worker.app.conf.task_queues = [quorum]
    worker.start()
    assert worker.send("add", 2, 2).get(timeout=20) == 4
    began = time.time()
    assert worker.send("note", str(path), "delayed", countdown=3).get(timeout=30) == "delayed"
    assert 2 <= float(lines(path)[0].split()[-1]) - began < 10


@pytest.mark.warren
def test_a_worker_goes_on_when_the_broker_was_killed(warren, tmp_path):
    worker = Worker(warren.amqp_url, tmp_path)
    try:
        assert worker.send("add", 1, 2).get(timeout=20) == 3
        warren.restart()
        path = tmp_path / "notes"
        worker.send("note", str(path), "after", retry=True)
        wait_for(lambda: lines(path), seconds=40)
    finally:
        worker.stop()
