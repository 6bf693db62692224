"""The tasks of test_celery.py, imported by its workers and by the tests.

Names of queues, and where results go, come from the environment: each worker has its own.
"""

import os
import time

from celery import Celery
from celery.exceptions import Reject
from kombu import Exchange, Queue

NAME = os.environ.get("COMPAT_NAME", "compat")

app = Celery("celery_app", broker=os.environ.get("AMQP_URL"), backend=os.environ.get("COMPAT_BACKEND", "rpc://"))


def queues(name):
    """One of each kind that the tests need, all under one name."""
    exchange = Exchange(name, type="direct")
    return [
        Queue(name, exchange, routing_key=name),
        Queue(f"{name}-urgent", exchange, routing_key=f"{name}-urgent", max_priority=9),
        Queue(
            f"{name}-strict",
            exchange,
            routing_key=f"{name}-strict",
            queue_arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{name}-dead"},
        ),
        Queue(f"{name}-dead", exchange, routing_key=f"{name}-dead"),
    ]


app.conf.update(
    task_queues=queues(NAME),
    task_default_queue=NAME,
    task_default_exchange=NAME,
    task_default_routing_key=NAME,
    task_acks_late=os.environ.get("COMPAT_ACKS_LATE") == "1",
    worker_prefetch_multiplier=1,
    worker_send_task_events=True,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"confirm_publish": True},
    result_persistent=False,
)
if os.environ.get("COMPAT_QUORUM") == "1":
    app.conf.update(
        task_queues=[Queue(NAME, Exchange(NAME, type="topic"), routing_key=NAME, queue_arguments={"x-queue-type": "quorum"})],
        task_default_exchange_type="topic",
        task_default_queue_type="quorum",
        worker_detect_quorum_queues=True,
    )


@app.task
def add(x, y):
    return x + y


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def flat_total(numbers):
    return sum(sum(n) if isinstance(n, list) else n for n in numbers)


@app.task
def fails(text):
    raise ValueError(text)


@app.task(bind=True, max_retries=5)
def works_at_the_third_attempt(self):
    if self.request.retries < 2:
        raise self.retry(countdown=0.2)
    return self.request.retries


@app.task(bind=True)
def note(self, path, text, seconds=0):
    """Leaves a line in a file when it begins, and sleeps."""
    again = self.request.delivery_info.get("redelivered")
    with open(path, "a") as file:
        file.write(f"{text} {'again' if again else 'first'} {time.time()}\n")
    time.sleep(seconds)
    return text


@app.task(bind=True, acks_late=True)
def refuses(self):
    raise Reject("not for me", requeue=False)
