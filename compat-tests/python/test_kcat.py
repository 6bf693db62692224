"""kcat, which people reach for first: what it produces, lists and consumes, and its logins. Skipped where there is none
(Debian: the package kcat)."""

import json
import shutil
import subprocess

import pytest

from broker import Broker

pytestmark = pytest.mark.skipif(not shutil.which("kcat"), reason="kcat is not installed")


def kcat(address, *arguments, given=""):
    command = ["kcat", "-b", address, *arguments]
    return subprocess.run(command, input=given, capture_output=True, text=True, timeout=60)


def lines(done):
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_what_is_produced_is_consumed(kafka_address, name):
    lines(kcat(kafka_address, "-P", "-t", name, "-K", ":", "-H", "h=v", given="a:1\nb:2\n"))
    consumed = lines(kcat(kafka_address, "-C", "-t", name, "-e", "-q", "-f", "%o %k %s %h\n"))
    assert consumed == ["0 a 1 h=v", "1 b 2 h=v"]
    assert lines(kcat(kafka_address, "-C", "-t", name, "-o", "-1", "-e", "-q")) == ["2"]
    assert lines(kcat(kafka_address, "-Q", "-t", f"{name}:0:-1")) == [f"{name} [0] offset 2"]


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_compressed_and_idempotent(kafka_address, name, codec):
    given = "".join(f"{number}\n" for number in range(100))
    lines(kcat(kafka_address, "-P", "-t", name, "-z", codec, "-X", "enable.idempotence=true", given=given))
    assert lines(kcat(kafka_address, "-C", "-t", name, "-e", "-q")) == given.split()


def test_a_group_goes_on_where_it_was(kafka_address, name):
    def read():
        reset = ["-X", "auto.offset.reset=earliest"]
        return lines(kcat(kafka_address, *reset, "-q", "-c", "2", "-G", name, name))

    lines(kcat(kafka_address, "-P", "-t", name, given="1\n2\n3\n4\n"))
    assert (read(), read()) == (["1", "2"], ["3", "4"])


def test_metadata(kafka_address, name):
    lines(kcat(kafka_address, "-P", "-t", name, given="x\n"))
    told = json.loads("\n".join(lines(kcat(kafka_address, "-L", "-J", "-t", name))))
    assert [(one["topic"], len(one["partitions"])) for one in told["topics"]] == [(name, 1)]


@pytest.mark.warren
def test_logins(tmp_path):
    """SASL PLAIN alone: librdkafka before 2.6.1 sends its nonce twice in SCRAM, which Kafka 4.3.1 refuses, as we do
    (seen with the kcat of Debian 12, which has 2.0.2)."""
    broker = Broker(tmp_path, "--set", "kafka.sasl=true")

    def login(password):
        settings = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "guest"}
        options = [f"-X{key}={value}" for key, value in (settings | {"sasl.password": password}).items()]
        return kcat(broker.kafka, *options, "-L", "-m", "5")

    try:
        assert lines(login("guest"))
        refused = login("wrong")
        assert refused.returncode != 0 and "Authentication failed" in refused.stderr
    finally:
        broker.kill()
