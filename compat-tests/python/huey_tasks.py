"""The tasks of test_redis_queues.py, imported by huey's consumer and by the tests."""

import os

from huey import PriorityRedisHuey, RedisHuey
from huey.contrib.helpers import RedisSemaphore

url = os.environ.get("COMPAT_REDIS", "redis://127.0.0.1:6379/0")
huey = RedisHuey(os.environ.get("COMPAT_NAME", "huey"), url=url)
urgent = PriorityRedisHuey(f"{huey.name}-urgent", url=url)
semaphore = RedisSemaphore(huey, "places", value=2, timeout=100)


@huey.task()
def add(x, y):
    return x + y


@huey.task(retries=2)
def works_at_the_second_attempt(path):
    with open(path, "a") as file:
        file.write("attempt\n")
    if len(open(path).readlines()) < 2:
        raise ValueError("not yet")
    return "done"


@urgent.task()
def note(path, text):
    with open(path, "a") as file:
        file.write(text)
