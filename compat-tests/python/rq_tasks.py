"""The jobs of test_redis_queues.py, imported by rq's workers."""


def add(x, y):
    return x + y


def fails(text):
    raise ValueError(text)
