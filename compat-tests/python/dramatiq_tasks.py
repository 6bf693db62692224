"""The actors of test_redis_queues.py, imported by dramatiq's workers and by the tests."""

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import CurrentMessage
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

URL = os.environ.get("COMPAT_REDIS", "redis://127.0.0.1:6379/0")
broker = RedisBroker(url=URL, namespace=os.environ.get("COMPAT_NAME", "dramatiq"))
broker.add_middleware(Results(backend=RedisBackend(url=URL)))
broker.add_middleware(CurrentMessage())
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)
def add(x, y):
    return x + y


@dramatiq.actor(store_results=True, max_retries=2, min_backoff=1, max_backoff=1)
def works_at_the_second_attempt():
    message = CurrentMessage.get_current_message()
    if not message.options.get("retries"):
        raise ValueError("not yet")
    return message.options["retries"]


@dramatiq.actor(max_retries=0)
def fails():
    raise ValueError("oh")
